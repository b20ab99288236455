"""Answers in the format of the Subsonic API, XML or JSON; errors have HTTP status 200, too."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

import deepgenre
from deepgenre.server.responses import as_json

API_VERSION = "1.16.1"  # of the Subsonic API, the last one
NAMESPACE = "http://subsonic.org/restapi"
FORMATS = ("xml", "json")
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
GENERIC, MISSING, WRONG_USER, UNSUPPORTED, CONFLICTING, WRONG_KEY, NOT_FOUND = (
    0, 10, 40, 42, 43, 44, 70,
)  # fmt: skip
Json = dict[str, Any]


class SubsonicError(Exception):
    """A request that gets no result: a code of the Subsonic API, and a sentence for the user."""

    def __init__(self, code: int, sentence: str) -> None:
        """code: one of those above."""
        super().__init__(sentence)
        self.code = code


def succeeded(value: Mapping[str, Any], format_name: str) -> Response:
    """Returns the response with a result. format_name: one of FORMATS."""
    return _response("ok", value, format_name)


def failed(error: SubsonicError, format_name: str) -> Response:
    """Returns the response to a request that gets no result."""
    return _response("failed", {"error": {"code": error.code, "message": str(error)}}, format_name)


def _response(status: str, value: Mapping[str, Any], format_name: str) -> Response:
    answer = {
        "status": status,
        "version": API_VERSION,
        "type": "deepgenre",
        "serverVersion": deepgenre.__version__,
        "openSubsonic": True,
        **value,
    }
    if format_name == "json":
        return as_json({"subsonic-response": answer})
    root = element("subsonic-response", {"xmlns": NAMESPACE, **answer})
    text = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return Response(text, media_type="application/xml")


def element(name: str, value: Mapping[str, Any]) -> ET.Element:
    """Returns the XML of a JSON object: numbers and texts are attributes, the others children."""
    found = ET.Element(name)
    for key, each in value.items():
        if isinstance(each, Mapping):
            found.append(element(key, each))
        elif isinstance(each, list):
            found.extend(_child(key, item) for item in each)
        else:
            found.set(key, _text(each))
    return found


def _child(name: str, value: object) -> ET.Element:
    if isinstance(value, Mapping):
        return element(name, value)
    found = ET.Element(name)
    found.text = _text(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return NOT_XML.sub("\ufffd", str(value))

"""JSON lines with a checksum, for files that the program itself reads again.

A sealed line is an object whose last key is "crc32": the CRC-32, as eight hexadecimal digits, of
the line without that key, in UTF-8. A changed digit is thus found, which no other check would find.
Lines of earlier versions have no such key and are taken as they are.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from deepgenre.files import parse_json

KEY = "crc32"
_BEFORE, _AFTER = b', "crc32": "', b'"}'
_NUM_BYTES = len(_BEFORE) + 8 + len(_AFTER)
_NEARLY = 8  # bytes of _BEFORE at their places: a seal, of which some bits are others


def sealed(value: Mapping[str, Any]) -> str:
    """Returns the line of an object with at least one key, which UTF-8 can encode.

    Surrogates of undecodable names are escapes.
    """
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return (text[:-1] + _seal(text)).decode() + "\n"


def unsealed(line: bytes) -> Any:
    """Returns the value of a line, of an object without its checksum.

    Raises ValueError where it is no JSON, or does not match its checksum.
    """
    text = line.rstrip(b"\r\n")
    start = len(text) - _NUM_BYTES
    found = text[start : start + len(_BEFORE)] if start > 0 else b""
    if sum(map(int.__eq__, found, _BEFORE)) >= _NEARLY:
        text, seal = text[:start] + b"}", text[start:]
        if seal != _seal(text):
            raise ValueError("does not match its checksum")
    return parse_json(text)


def _seal(text: bytes) -> bytes:
    return _BEFORE + b"%08x" % zlib.crc32(text) + _AFTER

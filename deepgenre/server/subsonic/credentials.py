"""Who may use the Subsonic API: those with the token of the server.

As `apiKey`, or as the password of any user, of which the client sends the MD5 with a salt.
"""

import hashlib
import secrets
from collections.abc import Mapping

from deepgenre.server.subsonic.answers import (
    CONFLICTING,
    MISSING,
    UNSUPPORTED,
    WRONG_KEY,
    WRONG_USER,
    SubsonicError,
)

OF_USERS = ("u", "p", "t", "s")


def check(parameters: Mapping[str, str], token: str) -> None:
    """Raises SubsonicError unless the parameters hold the token. token: '' for none."""
    if "apiKey" in parameters:
        if any(name in parameters for name in OF_USERS):
            raise SubsonicError(CONFLICTING, "Give apiKey, or u, t and s; not both.")
        if token and not _equal(parameters["apiKey"], token):
            raise SubsonicError(WRONG_KEY, "The apiKey is not the token that the server printed.")
    elif token:
        _check_user(parameters, token)


def _check_user(parameters: Mapping[str, str], token: str) -> None:
    if "p" in parameters:
        raise SubsonicError(UNSUPPORTED, "Passwords are not taken; give apiKey, or u, t and s.")
    if missing := [name for name in ("u", "t", "s") if not parameters.get(name)]:
        raise SubsonicError(MISSING, f"{missing[0]} is missing; give apiKey, or u, t and s.")
    salted = f"{token}{parameters['s']}".encode("utf-8", "replace")
    expected = hashlib.md5(salted, usedforsecurity=False).hexdigest()
    if not _equal(parameters["t"].lower(), expected):
        raise SubsonicError(WRONG_USER, "The password is not the token that the server printed.")


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), expected.encode())

"""Refuses requests that come from elsewhere: other sites' pages, other names, without the token.

A page of another site can send requests to this machine, also under a name that it makes lead here
(DNS rebinding): hence the checks of Host, Origin and Sec-Fetch-Site, also where only this machine
can connect. Every response forbids scripts, styles and requests from elsewhere.
"""

import ipaddress
import platform
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "deepgenre_token"
SUBSONIC = "/rest/"  # asks for the token in its own way, see `subsonic.credentials`
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can connect to an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Checks every request before the application, and adds headers to every response."""

    def __init__(self, app: ASGIApp, *, host: str, token: str) -> None:
        """host: the address that the server binds. token: '' for none."""
        self._app, self._host, self._token = app, host, token
        self._names = {"localhost"}
        if not is_loopback(host):
            self._names |= {host, platform.node()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a refused request, or gives it to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope["nonce"] = nonce

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
            await send(message)

        refused = self._refused(scope)
        await (refused or self._app)(scope, receive, send_guarded)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _refusal(421, "This server is not reached by this name; use its address.")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return _refusal(403, "Requests of other sites are refused.")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            is_link = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
            if not is_link or scope["method"] != "GET":
                return _refusal(403, "Requests of other sites are refused.")
        if not self._token or scope["path"].startswith(SUBSONIC):
            return None
        return self._without_token(scope, headers)

    def _is_ours(self, host: str) -> bool:
        """Returns whether a Host header names this server by an address, or by its own name."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in {known.lower() for known in self._names}
        return address.is_loopback or not is_loopback(self._host)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Returns the response to a request without the token; one with it in '?token=' gets it.

        As a cookie, which the browser sends with the requests of the page only.
        """
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer.strip()):
            return None
        if self._is_token(_cookie(headers)):
            return None
        url = URL(scope=scope)
        given = [v for k, _, v in (p.partition("=") for p in url.query.split("&")) if k == "token"]
        if scope["method"] == "GET" and url.path == "/" and given and self._is_token(given[0]):
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return response
        return _refusal(401, "Open the address with the token that the server printed.")

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)

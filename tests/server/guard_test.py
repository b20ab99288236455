"""Requests of other sites, by other names, or without the token are refused."""

import asyncio
from typing import Any

import pytest
from serving import Server

guards = pytest.importorskip("deepgenre.server.guard", reason="pip install 'deepgenre[serve]'")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "192.168.1.7:8000"}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:9000"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_requests_from_elsewhere_are_refused(server: Server, headers, status):
    found, body, answered = server.request("GET", "/v1/status", **headers)
    assert found == status, body
    policy = answered["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert answered["x-content-type-options"] == "nosniff"


def test_a_link_of_another_site_leads_to_the_page_only(server: Server):
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert server.request("GET", "/", **link)[0] == 200
    assert server.request("GET", "/v1/songs", **link)[0] == 403
    assert server.request("POST", "/v1/songs", b"x", **link)[0] == 403


def answer(path: str, query: str = "", token: str = "secret", **headers: str) -> Any:
    """Returns the status and headers that a guard for all addresses answers with."""
    sent: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": "192.168.1.7:8000", **headers}
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    guard = guards.Guard(inner, host="0.0.0.0", token=token)
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}


def test_other_addresses_need_the_token():
    for path, query, headers, status in (
        ("/", "", {}, 401),
        ("/v1/status", "", {}, 401),
        ("/", "token=wrong", {}, 401),
        ("/", "token=secr", {}, 401),
        ("/v1/status", "token=secret", {}, 401),  # only the page takes it from the address
        ("/v1/status", "", {"authorization": "Bearer secret"}, 200),
        ("/v1/status", "", {"authorization": "Bearer wrong"}, 401),
        ("/v1/status", "", {"cookie": "deepgenre_token=secret"}, 200),
        ("/v1/status", "", {"cookie": "deepgenre_token=wrong; x"}, 401),
        ("/v1/status", "", {"cookie": "deepgenre_token=secret", "host": "evil.example"}, 421),
        ("/rest", "", {}, 401),
        ("/rest/ping", "", {}, 200),  # asks for it itself
        ("/rest/ping", "apiKey=secret", {"host": "evil.example"}, 421),
        ("/rest/ping", "apiKey=secret", {"origin": "http://evil.example"}, 403),
    ):
        assert answer(path, query, **headers)[0] == status, (path, query, headers)


def test_the_page_gets_the_token_as_a_cookie():
    status, headers = answer("/", "token=secret")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"].lower()
    assert "deepgenre_token=secret" in cookie
    assert "httponly" in cookie and "samesite=strict" in cookie

"""The Subsonic API of a running server: similar songs, paths, songs, the token, errors."""

import asyncio
import hashlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from serving import Server

guards = pytest.importorskip("deepgenre.server.guard", reason="pip install 'deepgenre[serve]'")

from deepgenre.server.app import application  # noqa: E402
from deepgenre.server.jobs import Jobs  # noqa: E402
from deepgenre.server.settings import Settings  # noqa: E402
from deepgenre.server.songs import Songs  # noqa: E402
from deepgenre.server.state import State  # noqa: E402
from deepgenre.server.subsonic import answers, credentials  # noqa: E402

XMLNS = "{http://subsonic.org/restapi}"


def ask(server: Server, method: str, **parameters: Any) -> dict[str, Any]:
    """Returns the JSON answer of a method."""
    query = urlencode({"u": "me", "v": "1.16.1", "c": "test", "f": "json", **parameters})
    return server.get(f"/rest/{method}?{query}")["subsonic-response"]


def ask_xml(server: Server, method: str, **parameters: Any) -> ET.Element:
    """Returns the XML answer of a method."""
    query = urlencode(parameters)
    status, body, headers = server.request("GET", f"/rest/{method}?{query}")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "application/xml")
    return ET.fromstring(body)


@pytest.fixture(scope="module")
def songs(server: Server) -> list[dict[str, Any]]:
    """The songs of the library as the JSON API lists them."""
    return server.get("/v1/songs")["songs"]


def test_every_answer_names_the_server(server):
    found = ask(server, "ping.view")
    assert found["status"] == "ok" and found["version"] == "1.16.1" and found["openSubsonic"]
    assert found["type"] == "deepgenre" and found["serverVersion"]
    root = ask_xml(server, "ping")
    assert root.tag == f"{XMLNS}subsonic-response"
    assert (root.get("status"), root.get("openSubsonic")) == ("ok", "true")
    names = [each["name"] for each in ask(server, "getOpenSubsonicExtensions")[
        "openSubsonicExtensions"]]  # fmt: skip
    assert "sonicSimilarity" in names and "apiKeyAuthentication" in names
    listed = ask_xml(server, "getOpenSubsonicExtensions").findall(f"{XMLNS}openSubsonicExtensions")
    assert [each.get("name") for each in listed] == names
    assert [each.findtext(f"{XMLNS}versions") for each in listed] == ["1"] * len(names)
    assert ask(server, "getLicense")["license"]["valid"] is True


def test_similar_tracks_are_those_of_the_json_api(server, songs):
    expected = server.post("/v1/similar", song=songs[1]["id"], count=3)[1]["songs"]
    found = ask(server, "getSonicSimilarTracks", id=songs[1]["id"], count=3)["sonicMatch"]
    assert [one["entry"]["id"] for one in found] == [one["song"]["id"] for one in expected]
    assert [2 * one["similarity"] - 1 for one in found] == pytest.approx(
        [one["cosine"] for one in expected], abs=3e-4
    )
    matches = ask_xml(server, "getSonicSimilarTracks", id=songs[1]["id"], count=3)
    assert [
        (float(match.get("similarity", "")), match.find(f"{XMLNS}entry").get("id"))  # pyright: ignore
        for match in matches
    ] == [(one["similarity"], one["entry"]["id"]) for one in found]
    for method, name in (
        ("getSimilarSongs", "similarSongs"),
        ("getSimilarSongs2", "similarSongs2"),
    ):
        listed = ask(server, method, id=songs[1]["id"], count=3)[name]["song"]
        assert listed == [one["entry"] for one in found]
    assert ask(server, "getSonicSimilarTracks", id=songs[1]["id"], count=0)["sonicMatch"] == []


def test_a_sonic_path_has_both_ends(server, songs):
    ends = {"startSongId": songs[0]["id"], "endSongId": songs[-1]["id"]}
    found = ask(server, "findSonicPath", **ends)["sonicMatch"]  # 25 songs, at most
    ids = [one["entry"]["id"] for one in found]
    assert (ids[0], ids[-1]) == (songs[0]["id"], songs[-1]["id"])
    assert 2 <= len(ids) == len({*ids}) <= 6
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert all(0 <= one["similarity"] <= 1 for one in found)
    assert len(ask(server, "findSonicPath", **ends, count=2)["sonicMatch"]) == 2


def test_songs_are_found_and_played_by_their_ids(server, songs):
    every = ask(server, "search3", query="", songCount=500)["searchResult3"]["song"]
    assert [one["id"] for one in every] == [song["id"] for song in songs]
    assert ask(server, "search3", query='""')["searchResult3"]["song"] == every
    paged = ask(server, "search3", query="", songCount=2, songOffset=5)["searchResult3"]["song"]
    assert paged == every[5:]
    (song,) = ask(server, "search3", query="TONE even 2")["searchResult3"]["song"]
    assert (song["title"], song["path"], song["suffix"]) == ("tone 2", "even/tone 2.mp3", "mp3")
    assert (song["contentType"], song["isDir"]) == ("audio/mpeg", False)
    content = (server.library / song["path"]).read_bytes()
    assert song["size"] == len(content)
    assert ask(server, "getSong", id=song["id"])["song"] == song
    status, audio, headers = server.request(
        "GET", f"/rest/stream.view?id={song['id']}", Range="bytes=2-5"
    )
    assert (status, audio, headers["content-type"]) == (206, content[2:6], "audio/mpeg")
    assert server.request("GET", f"/rest/download?id={song['id']}")[1] == content


def test_a_form_in_the_body_is_read(server, songs):
    body = urlencode({"id": songs[0]["id"], "f": "json"})
    form = "application/x-www-form-urlencoded"
    status, found, _ = server.request("POST", "/rest/getSong", body, Content_Type=form)
    assert status == 200
    assert json.loads(found)["subsonic-response"]["song"]["id"] == songs[0]["id"]


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("getSong", {}, 10),
        ("getSong", {"id": "../../etc/passwd"}, 70),
        ("getSong", {"id": ""}, 70),
        ("stream", {"id": "/etc/passwd"}, 70),
        ("search3", {}, 10),
        ("search3", {"query": "a", "songCount": "many"}, 0),
        ("getSonicSimilarTracks", {"id": "unknown"}, 70),
        ("getSonicSimilarTracks", {}, 10),
        ("findSonicPath", {"startSongId": "x"}, 70),
        ("findSonicPath", {}, 10),
        ("getPodcasts", {}, 0),
        ("ping", {"f": "jsonp"}, 0),
        ("ping", {"apiKey": "x", "u": "me"}, 43),
    ],
)
def test_errors_are_those_of_subsonic(server, method, parameters, code):
    root = ask_xml(server, method, **parameters)
    error = root.find(f"{XMLNS}error")
    assert root.get("status") == "failed" and error is not None
    assert int(error.get("code", "")) == code
    assert error.get("message", "").endswith(".")


def test_uploads_are_not_there(server):
    song = server.send("/v1/songs", server.song.read_bytes())[1]["id"]
    for method in ("getSong", "stream", "getSonicSimilarTracks"):
        assert ask(server, method, id=song)["error"]["code"] == 70


def test_a_path_to_the_same_song_is_an_error(server, songs):
    ends = {"startSongId": songs[0]["id"], "endSongId": songs[0]["id"]}
    assert ask(server, "findSonicPath", **ends)["error"]["code"] == 0


def test_other_sites_are_refused(server):
    assert server.request("GET", "/rest/ping", Origin="http://evil.example")[0] == 403
    assert server.request("GET", "/rest/ping", Host="evil.example")[0] == 421


SALTED = hashlib.md5(b"secretpepper").hexdigest()


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"apiKey": "secret"}, None),
        ({"u": "anyone", "t": SALTED, "s": "pepper"}, None),
        ({"u": "anyone", "t": SALTED.upper(), "s": "pepper"}, None),
        ({"apiKey": "wrong"}, 44),
        ({"apiKey": ""}, 44),
        ({"apiKey": "sécret"}, 44),
        ({"u": "anyone", "t": SALTED, "s": "salt"}, 40),
        ({"u": "anyone", "t": "", "s": "pepper"}, 10),
        ({"t": SALTED, "s": "pepper"}, 10),
        ({"u": "anyone", "p": "secret"}, 42),
        ({"apiKey": "secret", "u": "anyone"}, 43),
        ({}, 10),
    ],
)
def test_the_token_is_the_key_or_the_password(parameters: Mapping[str, str], code: int | None):
    if code is None:
        credentials.check(parameters, "secret")
        return
    with pytest.raises(answers.SubsonicError) as raised:
        credentials.check(parameters, "secret")
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("ping", "failed"),
        ("stream?id=x", "failed"),
        ("unknown", "failed"),
        ("ping?apiKey=secret", "ok"),
        ("ping?apiKey=secret1", "failed"),
        (f"tokenInfo?u=me&t={SALTED}&s=pepper", "ok"),
        ("getOpenSubsonicExtensions", "ok"),  # public, so that clients know how to log in
    ],
)
def test_a_server_with_a_token_asks_for_it(address, status, tmp_path):
    settings = Settings(weights={}, host="0.0.0.0")
    state = State(settings, Songs(tmp_path, settings.limits), Jobs(settings, None), {}, None)  # pyright: ignore
    path, _, query = address.partition("?")
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "GET", "path": f"/rest/{path}", "query_string": query.encode(),
        "scheme": "http", "headers": [(b"host", b"192.168.1.7:8000")],
    }  # fmt: skip

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await application(state, "secret")(scope, receive, send)

    asyncio.run(run())
    assert ET.fromstring(sent[1]["body"]).get("status") == status


def test_no_name_of_a_file_breaks_the_xml():
    value = {"title": 'a\0b\x1b<&">\ud800', "versions": [1, 2], "song": [{"ok": True}]}
    found = ET.fromstring(ET.tostring(answers.element("song", value), encoding="UTF-8"))
    assert found.get("title") == 'a\ufffdb\ufffd<&">\ufffd'
    assert [each.text for each in found.findall("versions")] == ["1", "2"]
    assert found.find("song").get("ok") == "true"  # pyright: ignore

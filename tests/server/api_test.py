"""The JSON API of a running server: results, hostile requests, tags in files."""

import base64
import hashlib
import http.client
import io
import json
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from flax import traverse_util
from serving import Server

import deepgenre
from deepgenre.library import file_tags
from deepgenre.library.similar import COPY_COSINE
from deepgenre.weights import weight_file


@pytest.fixture(scope="module")
def uploaded(server: Server) -> str:
    """The id of a song that is kept on the server."""
    status, song = server.send("/v1/songs", server.song.read_bytes())
    assert status == 201
    return song["id"]


def test_scores_and_embedding_are_those_of_the_python_interface(server, uploaded, trained):
    tagger = deepgenre.load(trained)
    expected, embedding = tagger(server.song), tagger.embed(server.song)
    for status, found in (
        server.send("/v1/predict", server.song.read_bytes()),
        server.post("/v1/predict", song=uploaded),
    ):
        assert status == 200
        assert found["scores"] == pytest.approx(expected, abs=1e-5)
        assert [*found["scores"]] == [*expected]
        assert found["tags"][0]["name"] == next(iter(expected))
        assert found["seconds"] == pytest.approx(12.0, abs=0.1)
        assert {*found["descriptors"]} == {"tempo_bpm", "key"}
        found_scores = found["scores"]
    status, found = server.post("/v1/embed", song=uploaded)
    assert np.allclose(found["embedding"], embedding, atol=1e-5)
    other = server.post("/v1/predict", song=uploaded, weights="other")[1]
    assert (other["weights"], other["scores"]) == ("other", found_scores)


def test_taggram_and_waveform_cover_the_song(server, uploaded):
    found = server.post("/v1/taggram", song=uploaded)[1]
    assert len(found["starts"]) == len(found["lengths"]) == len(found["scores"]) >= 8
    assert len(found["scores"][0]) == len(found["tags"]) == 3
    assert found["starts"][0] == 0
    assert found["segments"][0]["start"] == 0
    assert found["segments"][-1]["end"] == pytest.approx(12.0, abs=0.1)
    wave = server.post("/v1/waveform", song=uploaded)[1]
    assert len(wave["lowest"]) * wave["column_seconds"] == pytest.approx(12.0, abs=0.2)
    assert -0.5 < min(wave["lowest"]) < 0 < max(wave["highest"]) < 0.5


def test_similar_songs_are_the_nearest_by_embedding_without_copies(server, trained):
    songs = server.get("/v1/songs")["songs"]
    assert [(song["name"], song["folder"]) for song in songs][:2] == [
        ("tone 0.mp3", "even"),
        ("tone 2.mp3", "even"),
    ]
    embed = deepgenre.load(trained).embed
    vectors = {s["name"]: embed(server.library / s["folder"] / s["name"]) for s in songs}
    units = {name: vector / np.linalg.norm(vector) for name, vector in vectors.items()}
    cosines = {name: float(units["tone 2.mp3"] @ units[name]) for name in units}
    expected = {n: c for n, c in cosines.items() if n != "tone 2.mp3" and c < COPY_COSINE}
    status, found = server.post("/v1/similar", song=songs[1]["id"], count=5)
    assert status == 200
    assert {one["song"]["name"]: one["cosine"] for one in found["songs"]} == pytest.approx(
        expected, abs=2e-3
    )
    listed = [one["cosine"] for one in found["songs"]]
    assert listed == sorted(listed, reverse=True)
    fewer = server.post("/v1/similar", song=songs[1]["id"], count=1)[1]
    assert fewer["songs"] == found["songs"][:1]
    status, audio, _ = server.request(
        "GET", f"/v1/songs/{found['songs'][0]['song']['id']}/audio", Range="bytes=2-5"
    )
    assert status == 206
    nearest = found["songs"][0]["song"]
    assert audio == (server.library / nearest["folder"] / nearest["name"]).read_bytes()[2:6]
    assert len(server.get("/v1/map")["songs"]) == 6


def test_a_path_is_that_of_the_command_line(server, trained, monkeypatch, tmp_path):
    songs = server.get("/v1/songs")["songs"]
    first, last = songs[0], songs[-1]
    index, output = server.library.parent / "songs.npz", tmp_path / "path.jsonl"
    arguments = ("similar", server.library / first["folder"] / first["name"], "--top_k=4")
    other = server.library / last["folder"] / last["name"]
    options = (f"--path_to={other}", f"--index={index}", f"--output={output}")
    assert tiny.call(monkeypatch, *arguments, *options, f"--weights={trained}") == 0
    expected = [json.loads(line) for line in output.read_text().splitlines()]
    ends = {"from": first["id"], "to": last["id"], "count": 4}
    status, found = server.post("/v1/path", **ends)
    assert status == 200
    names = [one["song"]["name"] for one in found["songs"]]
    assert names == [Path(one["path"]).name for one in expected] and len(names) == 4
    cosines = [one["cosine"] for one in expected]
    assert [one["cosine"] for one in found["songs"]] == pytest.approx(cosines, abs=1e-4)
    headers = {"Content_Type": "application/json", "Accept": "audio/x-mpegurl"}
    status, text, answered = server.request("POST", "/v1/path", json.dumps(ends), **headers)
    lines = text.decode().splitlines()
    assert (status, answered["content-type"]) == (200, "audio/x-mpegurl")
    assert lines[1] == "#PLAYLIST:From tone 0 to tone 5"
    assert lines[3::2] == [one["path"] for one in expected]


def test_a_path_from_an_upload_and_one_longer_than_the_index(server, uploaded):
    last = server.get("/v1/songs")["songs"][0]["id"]
    status, found = server.post("/v1/path", **{"from": uploaded, "to": last, "count": 200})
    ids = [one["song"]["id"] for one in found["songs"]]
    assert status == 200 and (ids[0], ids[-1]) == (uploaded, last)
    assert 2 <= len(ids) == len({*ids}) <= 7
    body = json.dumps({"from": uploaded, "to": last})
    headers = {"Content_Type": "application/json", "Accept": "audio/x-mpegurl"}
    assert server.request("POST", "/v1/path", body, **headers)[0] == 400
    for fields, status in (
        ({"from": last, "to": last}, 400),
        ({"from": last}, 404),
        ({"from": last, "to": "../../etc/passwd"}, 404),
        ({"from": last, "to": uploaded, "count": 2}, 400),
        ({"from": last, "to": uploaded, "count": 201}, 400),
    ):
        assert server.post("/v1/path", **fields)[0] == status, fields


def test_explanation_has_a_picture_and_a_sound(server, uploaded):
    status, found = server.post("/v1/explain", song=uploaded, **{"class": "high"})
    assert status == 200
    assert found["target"] == "high"
    assert found["frames"] > 10
    assert found["sound"]
    nearest = server.post("/v1/explain", song=uploaded, start_seconds=4.4, **{"class": "low"})[1]
    assert abs(nearest["start_seconds"] - 4.4) <= 0.8


def test_events_tell_of_progress_then_the_result(server):
    headers = {"Accept": "text/event-stream", "Content_Type": "audio/mpeg"}
    body = server.song.read_bytes()
    status, content, found = server.request("POST", "/v1/predict", body, **headers)
    events = [part.split("\n") for part in content.decode().strip().split("\n\n")]
    names = [name.removeprefix("event: ") for name, _ in events]
    values = [json.loads(data.removeprefix("data: ")) for _, data in events]
    assert (status, found["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert names == ["progress"] * (len(names) - 1) + ["result"]
    stages = [value["stage"] for value in values[:-1]]
    assert [*dict.fromkeys(stages)] == ["waiting", "decoding", "scoring"]
    assert values[-1]["seconds"] == pytest.approx(12.0, abs=0.1)
    refused = server.request("POST", "/v1/predict", b"no audio", **headers)[1].decode()
    assert refused.split("\n\n")[-2].startswith("event: refused")


NO_AUDIO = "not audio"
TOO_LONG = "longer than 2 minutes"


@pytest.mark.parametrize(
    ("content", "status", "part"),
    [
        (b"", 422, "is empty"),
        (b"a text, not music\n" * 100, 422, NO_AUDIO),
        (b"#EXTM3U\nfile:///etc/passwd\n", 422, NO_AUDIO),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", 422, ""),
        (bytes(100_000), 422, ""),
        (b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + b"\xff" * 1000, 422, ""),
        (b"\xff\xfb\x90\x64" * 20_000, 422, ""),
    ],
)
def test_a_bad_upload_gets_a_sentence_and_leaves_nothing(server, content, status, part):
    (folder,) = server.temporary.glob("deepgenre-serve-*")
    before = {*folder.iterdir()}
    found, answer = server.send("/v1/predict", content)
    assert (found, [*answer]) == (status, ["error"])
    assert part in answer["error"]
    assert answer["error"][0].isupper() and answer["error"].endswith(".")
    assert str(folder) not in answer["error"]
    assert {*folder.iterdir()} == before
    assert folder.stat().st_mode & 0o077 == 0


def test_long_and_large_uploads_are_refused(server):
    stream = io.BytesIO()
    soundfile.write(stream, np.tile(tiny.tone(440, 1, 0)[::8], 125), 2756, format="FLAC")
    status, found = server.send("/v1/predict", stream.getvalue())
    assert status == 422 and TOO_LONG in found["error"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("POST", "/v1/songs")
    connection.putheader("Content-Length", str(10**15))
    connection.putheader("Content-Type", "audio/mpeg")
    connection.endheaders()
    assert connection.getresponse().status == 413  # before anything was sent
    chunks = (bytes(1 << 20) for _ in range(6))
    answer = server.request("POST", "/v1/songs", chunks, Content_Type="audio/mpeg")
    assert answer[0] == 413 and b"larger than 4 MB" in answer[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/songs/..%2f..%2fetc%2fpasswd/audio", None, 404),
        ("GET", "/v1/songs/%2e%2e/audio", None, 404),
        ("GET", "/static/../run.py", None, 404),
        ("GET", "/static/vendor/update.sh", None, 404),
        ("POST", "/v1/predict", b"{", 400),
        ("POST", "/v1/predict", b"[1]", 400),
        ("POST", "/v1/predict", b"[" * 100_000, 400),
        ("POST", "/v1/predict", b'{"song": "/etc/passwd"}', 404),
        ("POST", "/v1/predict", b'{"song": ["x"]}', 404),
        ("POST", "/v1/predict", b'{"song": "x", "a": "' + b"x" * (1 << 20) + b'"}', 413),
        ("POST", "/v1/playlist", b'{"songs": []}', 400),
        ("DELETE", "/v1/songs/unknown", None, 404),
        ("PUT", "/v1/predict", b"", 405),
    ],
)
def test_wrong_requests_get_a_sentence(server, method, path, body, status):
    found = server.request(method, path, body, Content_Type="application/json")
    assert found[0] == status
    assert json.loads(found[1])["error"]


def test_wrong_fields_get_a_sentence(server, uploaded):
    for path, fields in (
        ("predict", {"weights": "unknown"}),
        ("predict", {"weights": 3}),
        ("explain", {"class": "unknown"}),
        ("explain", {"start_seconds": 1e9}),
        ("explain", {"start_seconds": True}),
        ("similar", {"count": 0}),
    ):
        status, found = server.post(f"/v1/{path}", song=uploaded, **fields)
        assert status == 400, (fields, found)
    status, found = server.post("/v1/explain", song=uploaded, method="guess")
    assert status == 422 and "known: " in found["error"]


def test_a_closed_connection_ends_its_work(server):
    body = server.song.read_bytes()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    open_ones = []
    for _ in range(12):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(head.encode() + body)
        open_ones.append(connection)
    for connection in open_ones:
        connection.close()
    deadline = time.monotonic() + 20
    while server.get("/v1/status")["waiting"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.send("/v1/predict", body)[0] == 200


def test_tags_are_shown_written_and_taken_back(server):
    song = server.get("/v1/songs")["songs"][0]
    path = server.library / song["folder"] / song["name"]
    before = hashlib.sha256(path.read_bytes()).digest()
    request = {"song": song["id"], "tags": ["trip hop", "Low"]}
    status, found = server.post("/v1/tags", **request)
    assert (status, found["written"]) == (200, False)
    assert found["change"] == {"old": [], "new": ["Trip-Hop", "Low"]}
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert server.post("/v1/tags", **request, write=True)[1]["written"]
    assert file_tags.read(path)["genre"] == ("Trip-Hop", "Low")
    assert server.post("/v1/tags/undo", song=song["id"])[1]["restored"]
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_tags_are_not_written_into_uploads_and_must_be_texts(server, uploaded):
    status, found = server.post("/v1/tags", song=uploaded, tags=["x"], write=True)
    assert status == 403 and "library only" in found["error"]
    song = server.get("/v1/songs")["songs"][0]["id"]
    for tags in ([""], [3], ["a\nb"], ["x" * 101], ["a"] * 33, "text\0"):
        assert server.post("/v1/tags", song=song, tags=tags)[0] == 400, tags


def test_own_genres_are_learned_as_in_the_terminal(server, monkeypatch):
    genres = {
        name: [song["id"] for song in songs]
        for name, songs in server.get("/v1/fewshot")["genres"].items()
    }
    assert [*genres] == ["bright", "deep"]
    status, found = server.post("/v1/fewshot", genres=genres, ask=1)
    assert status == 200
    assert found["accuracy"] == 1
    # Wilson's interval of 4 of 4 groups.
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((0.5101, 1), abs=1e-4)
    assert found["how"] == "leave-one-artist-out (4 groups)"
    assert [(one["name"], one["songs"], one["recall"]) for one in found["genres"]] == [
        ("bright", 2, 1.0), ("deep", 2, 1.0)
    ]  # fmt: skip
    (question,) = found["questions"]
    assert question["song"]["name"] in ("tone 2.mp3", "tone 3.mp3")
    skipped = [question["song"]["id"]]
    other = server.post("/v1/fewshot", genres=genres, ask=9, skipped=skipped)[1]["questions"]
    assert {one["song"]["name"] for one in other} == {"tone 2.mp3", "tone 3.mp3"} - {
        question["song"]["name"]
    }
    folder = server.library.parent
    (folder / "page.safetensors").write_bytes(base64.b64decode(found["file"]))
    given = [f"--examples={folder / 'examples.csv'}", f"--weights={folder / 'run.safetensors'}"]
    output = folder / "terminal.safetensors"
    assert tiny.call(monkeypatch, "--mode=fewshot", *given, f"--output={output}") == 0
    of_page, of_terminal = (
        traverse_util.flatten_dict(weight_file.read(folder / name).variables)
        for name in ("page.safetensors", "terminal.safetensors")
    )
    assert {*of_page} == {*of_terminal}
    for name, values in of_page.items():  # examples in another order
        flat = (np.sort(np.asarray(one), axis=None) for one in (values, of_terminal[name]))
        assert np.allclose(*flat, atol=1e-4)


def test_wrong_examples_get_a_sentence(server, uploaded):
    first, second = (song["id"] for song in server.get("/v1/songs")["songs"][:2])
    for fields, status in (
        ({}, 400),
        ({"genres": {"one": [first]}}, 400),
        ({"genres": {"one": [first], "two": []}}, 400),
        ({"genres": {"one": [first], "two": [first]}}, 400),
        ({"genres": {"one": [first], "": [second]}}, 400),
        ({"genres": {"one": [first], "two": ["unknown"]}}, 404),
        ({"genres": {"one": [first], "two": [second]}, "ask": 51}, 400),
        ({"genres": {"one": [first], "two": [second]}, "weights": "other"}, 422),  # is a run
    ):
        found, answer = server.post("/v1/fewshot", **fields)
        assert found == status, (fields, answer)
        assert answer["error"]


def test_tags_of_files_and_predictions_are_shown(server):
    names = {song["id"]: song["name"] for song in server.get("/v1/songs")["songs"]}
    rows: list = []
    while len(rows) < len(names):
        found = server.get(f"/v1/library/tags?after={len(rows)}")
        assert found["total"] == len(names) and found["songs"]
        rows += found["songs"]
    of_name = {names[row["id"]]: row for row in rows}
    assert [row["id"] for row in rows] == [*names]
    assert of_name["tone 3.mp3"]["tags"] == ["Drone"]
    assert of_name["tone 4.mp3"]["predicted"] == ["mid"]  # chosen from the scores
    assert of_name["tone 2.mp3"]["predicted"] == ["waltz"]  # of other weights: as they stand
    assert of_name["tone 0.mp3"] == {
        "id": rows[0]["id"], "artist": "", "tags": [], "predicted": []
    }  # fmt: skip
    assert server.get("/v1/library/tags?after=99")["songs"] == []
    assert server.request("GET", "/v1/library/tags?after=x")[0] == 400


def test_maps_that_are_not_offered_are_refused(server):
    assert server.get("/v1/status")["maps"] == ["pca"]  # too few songs for UMAP
    assert server.get("/v1/map?method=pca")["method"] == "pca"
    for method in ("umap", "guess"):
        status, body, _ = server.request("GET", f"/v1/map?method={method}")
        assert status == 400 and b"must be pca" in body


def test_playlist_lists_the_chosen_songs(server):
    songs = server.get("/v1/songs")["songs"][:2]
    body = json.dumps({"songs": [song["id"] for song in songs], "name": "Two"})
    status, text, _ = server.request("POST", "/v1/playlist", body)
    lines = text.decode().splitlines()
    assert status == 200 and lines[:2] == ["#EXTM3U", "#PLAYLIST:Two"]
    assert lines[3::2] == [str(server.library / s["folder"] / s["name"]) for s in songs]


def test_every_endpoint_is_documented(server):
    found = server.get("/openapi.json")
    assert found["openapi"].startswith("3.1")
    assert {"/v1/predict", "/v1/embed", "/v1/similar", "/v1/path"} <= {*found["paths"]}
    assert server.request("GET", "/docs")[0] == 200

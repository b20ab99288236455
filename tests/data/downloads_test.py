"""Downloads from a local server that stalls, truncates, lies and refuses; archives that are unsafe.

The server takes one behaviour per request from a list, then answers as it should.
"""

import contextlib
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from deepgenre.data.downloads import archives, catalogue, fetch, transfer
from deepgenre.data.downloads.catalogue import Download, Item
from deepgenre.data.downloads.transfer import Patience
from deepgenre.errors import UserError

BYTES = np.random.default_rng(0).integers(0, 256, 20 * transfer.CHUNK_BYTES, np.uint8).tobytes()
QUICK = Patience(stall_seconds=0.3, attempts=3, wait_seconds=0.01)


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by name; `behaviours` are those of the next requests."""

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.behaviours: list[str] = []
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        self.etag = '"1"'
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/copies"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        content = self.server.files.get(self.path.rpartition("/")[2])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()

    def do_GET(self) -> None:
        server = self.server
        behaviour = server.behaviours.pop(0) if server.behaviours else ""
        content = server.files.get(self.path.rpartition("/")[2])
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if behaviour.isdecimal() or content is None:
            self.send_response(int(behaviour or 404))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if behaviour == "wrong bytes":
            content = content[::-1]
        same = self.headers.get("If-Range") in (None, server.etag)
        begin = int(asked[6:-1]) if asked and same and behaviour != "ignores range" else 0
        if begin and begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rest = content[begin:]
        stated = len(rest) + {"states less": -1000, "states more": 1000}.get(behaviour, 0)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", server.etag)
        if behaviour == "web page":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(stated))
        self.end_headers()
        if behaviour in ("truncates", "stalls"):
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            if behaviour == "stalls":
                server.released.wait(20)
            self.close_connection = True
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(rest[:stated])
        self.close_connection = behaviour.startswith("states")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        server.files["file.bin"] = BYTES
        yield server
        server.released.set()
        server.shutdown()


def download(server: Server, part: Path) -> int:
    """Returns the bytes that arrived, with those that were given up subtracted."""
    arrived: list[int] = []
    transfer.transfer(f"{server.address}/file.bin", part, arrived.append, QUICK)
    return sum(arrived)


@pytest.mark.parametrize(
    ("behaviours", "ranges"),
    [
        ([], [None]),
        (["truncates"], [None, "bytes=163840-"]),
        (["stalls"], [None, "bytes=163840-"]),
        (["truncates", "truncates"], [None, "bytes=163840-", "bytes=245760-"]),
        (["truncates", "ignores range"], [None, "bytes=163840-"]),
        (["states more"], [None, "bytes=327680-"]),
        (["503", "429"], [None] * 3),
        # Three failures in succession end it, more of them with progress in between do not.
        (["500", "500", "truncates", "500", "500"], [None] * 3 + ["bytes=163840-"] * 3),
    ],
)
def test_file_is_whole_whatever_the_server_does(server, tmp_path, behaviours, ranges):
    server.behaviours = [*behaviours]
    part = tmp_path / "file.bin.part"
    assert download(server, part) == len(BYTES)
    assert part.read_bytes() == BYTES
    assert server.ranges == ranges
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.part"]


def test_partial_file_is_kept_and_continued_by_the_next_call(server, tmp_path):
    part = tmp_path / "file.bin.part"
    server.behaviours = ["truncates", "500", "500", "500"]
    with pytest.raises(UserError, match=r"answers 500 .*3 times .* 163840 bytes are kept"):
        download(server, part)
    assert part.read_bytes() == BYTES[:163_840]
    assert download(server, part) == 163_840
    assert part.read_bytes() == BYTES


def test_part_of_another_version_is_not_continued(server, tmp_path):
    part = tmp_path / "file.bin.part"
    server.behaviours = ["truncates", "500", "500", "500"]
    with pytest.raises(UserError):
        download(server, part)
    server.files["file.bin"], server.etag = BYTES[::-1], '"2"'
    download(server, part)
    assert part.read_bytes() == BYTES[::-1]


@pytest.mark.parametrize("kept", [BYTES, BYTES + b"more"])
def test_complete_and_longer_parts(server, tmp_path, kept):
    part = tmp_path / "file.bin.part"
    part.write_bytes(kept)
    download(server, part)
    assert part.read_bytes() == BYTES


@pytest.mark.parametrize(
    ("name", "behaviour", "message"),
    [
        ("absent.bin", "", "answers 404 .*--mirror=URL"),
        ("file.bin", "403", "answers 403"),
        ("file.bin", "web page", "sends a web page"),
    ],
)
def test_refusal_is_reported_at_once(server, tmp_path, name, behaviour, message):
    server.behaviours = [behaviour]
    with pytest.raises(UserError, match=message):
        transfer.transfer(f"{server.address}/{name}", tmp_path / "p", lambda _: None, QUICK)
    assert len(server.ranges) == 1
    assert not [*tmp_path.iterdir()]


def test_disk_space_is_checked_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"needs 0.21 GB, and the disk has 1.0 MB free"):
        download(server, tmp_path / "file.bin.part")
    assert not [*tmp_path.iterdir()]


# The command: a dataset of two files, a table and a zip in three parts.


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


SONGS = {"0/a-1-30.mp3": BYTES[:50_000], "f/b-1-30.mp3": BYTES[50_000:90_000], "._x": b"junk"}
TABLE = b"clip_id\tmp3_path\n"


@pytest.fixture
def hosted(server, monkeypatch):
    archive = zipped(SONGS)
    third = len(archive) // 3
    parts = archive[:third], archive[third : 2 * third], archive[2 * third :]
    server.files |= {f"mp3.zip.00{n}": part for n, part in enumerate(parts, 1)}
    server.files["annotations_final.csv"] = TABLE
    urls = tuple(f"http://published.example/mp3.zip.00{n}" for n in (1, 2, 3))
    md5 = hashlib.md5(archive).hexdigest()
    row = Download(
        "mtat",
        (
            Item(("http://published.example/annotations_final.csv",), extract=False),
            Item(urls, f"md5:{md5}", folder="mp3"),
        ),
        "its test",
    )
    monkeypatch.setattr(fetch, "DOWNLOADS", {"mtat": row})
    return server


def fetched(server: Server, data_dir: Path) -> int:
    return fetch.run(["mtat"], fetch.Options(data_dir, server.address, QUICK))


def test_zip_in_parts_is_joined_checked_and_unpacked(hosted, tmp_path, capsys):
    hosted.behaviours = ["", "truncates", "", "stalls"]
    assert fetched(hosted, tmp_path) == 0
    assert (tmp_path / "annotations_final.csv").read_bytes() == TABLE
    found = {p.relative_to(tmp_path / "mp3").as_posix(): p for p in (tmp_path / "mp3").rglob("*.*")}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        name: content for name, content in SONGS.items() if name != "._x"
    }
    told = capsys.readouterr().err
    assert "annotations_final.csv: no hash is published" in told
    assert "licence: audio CC BY-NC-SA" in told
    assert f"next: deepgenre prepare --config=mtat --data_dir={tmp_path}" in told
    # Again: nothing is requested, although the archives are gone.
    for path in (tmp_path / fetch.STORE).glob("mp3.zip.0*"):
        path.unlink()
    requests = len(hosted.ranges)
    assert fetched(hosted, tmp_path) == 0
    assert len(hosted.ranges) == requests


def test_wrong_bytes_are_downloaded_again_once_then_refused(hosted, tmp_path):
    for wrong in ("wrong bytes", "states less"):
        hosted.behaviours = ["", "", wrong]
        assert fetched(hosted, tmp_path / wrong) == 0
    hosted.files["mp3.zip.002"] = b"other"
    with pytest.raises(UserError, match=r"mp3.zip: its hash is md5:\w+, not md5:\w+ \(its test\)"):
        fetched(hosted, tmp_path / "always")
    left = {path.name for path in (tmp_path / "always").rglob("*") if path.is_file()}
    assert left == {"annotations_final.csv", "annotations_final.csv.done"}


def test_extraction_that_was_interrupted_is_completed(hosted, tmp_path):
    assert fetched(hosted, tmp_path) == 0
    (tmp_path / fetch.STORE / "mp3.zip.done").unlink()
    kept, lost = tmp_path / "mp3/0/a-1-30.mp3", tmp_path / "mp3/f/b-1-30.mp3"
    lost.unlink()
    written = kept.stat().st_mtime_ns
    assert fetched(hosted, tmp_path) == 0
    assert lost.read_bytes() == SONGS["f/b-1-30.mp3"]
    assert kept.stat().st_mtime_ns == written


def test_whole_download_is_weighed_against_the_disk(hosted, tmp_path, monkeypatch):
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=transfer.SPARE_BYTES + 100_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"the download needs .* make room"):
        fetched(hosted, tmp_path)
    assert not hosted.ranges


def test_command_line(hosted, tmp_path, monkeypatch, capsys):
    flags = [f"--data_dir={tmp_path / 'data'}", f"--mirror={hosted.address}"]
    assert tiny.call(monkeypatch, "download", "mtat", *flags) == 0
    assert (tmp_path / "data/mp3/0/a-1-30.mp3").is_file()
    for wrong, message in (
        (["mtt", *flags], "'mtt' is unknown; did you mean 'mtat'?"),
        ([*flags], "give one dataset, of mtat"),
        (["mtat", flags[0], "--mirror=/copies"], "--mirror: '/copies' is no address"),
    ):
        assert tiny.call(monkeypatch, "download", *wrong) == 1
        assert message in capsys.readouterr().err


# Archives


def extracted(path: Path, content: bytes, folder: Path) -> int:
    path.write_bytes(content)
    return archives.extract([path], path.name, folder)


def tarred(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_link() -> bytes:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, "/etc")
    return stream.getvalue()


UNSAFE = {
    "up.zip": zipped({"ok.mp3": b"1", "../out.mp3": b"2"}),
    "absolute.zip": zipped({"/out.mp3": b"2"}),
    "drive.zip": zipped({"C:/out.mp3": b"2"}),
    "backslash.zip": zipped({"a\\..\\..\\out.mp3": b"2"}),
    "link.zip": zip_link(),
    "bomb.zip": zipped({"zeros.wav": bytes(30_000_000)}),
    "up.tar.gz": tarred([(entry("a/../../out.mp3"), b"2")]),
    "absolute.tar.gz": tarred([(entry("/out.mp3"), b"2")]),
    "link.tar.gz": tarred([(entry("x", tarfile.SYMTYPE, ".."), b""), (entry("x/out.mp3"), b"2")]),
    "hard.tar.gz": tarred([(entry("x", tarfile.LNKTYPE, "../secret"), b"")]),
    "pipe.tar.gz": tarred([(entry("x", tarfile.FIFOTYPE), b"")]),
    "bomb.tar.gz": tarred([(entry("zeros.wav"), bytes(30_000_000))]),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_archives_write_nothing(tmp_path, name):
    folder = tmp_path / "data" / "music"
    with pytest.raises(UserError, match=rf"^{name}: .*not the published archive"):
        extracted(tmp_path / name, UNSAFE[name], folder)
    assert {path for path in tmp_path.rglob("*") if not path.is_dir()} == {tmp_path / name}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_damaged_archives_leave_no_half_file(tmp_path, name):
    files = {f"{n}.wav": BYTES[n * 1000 : n * 1000 + 40_000] for n in range(4)}
    content = (
        zipped(files) if name == "a.zip" else tarred([(entry(n), c) for n, c in files.items()])
    )
    for number, damaged in enumerate((content[:60_000], content[:50] + b"x" * 99 + content[149:])):
        folder = tmp_path / str(number)
        with pytest.raises(UserError, match=rf"^{name}: is damaged"):
            extracted(tmp_path / name, damaged, folder)
        for path in folder.rglob("*"):
            assert path.read_bytes() == files[path.name]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.binary(max_size=30), min_size=1, max_size=5),
    st.integers(0, 150),
    st.integers(1, 40),
)
def test_joined_file_reads_like_one(tmp_path_factory, contents, offset, count):
    folder = tmp_path_factory.mktemp("joined")
    paths = [folder / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    whole = io.BytesIO(b"".join(contents))
    with io.BufferedReader(archives.JoinedFile(paths)) as joined:
        assert joined.read() == whole.read()
        for stream in (joined, whole):
            stream.seek(offset)
        assert joined.read(count) == whole.read(count)
        joined.seek(-1 if whole.getvalue() else 0, io.SEEK_END)
        assert joined.read() == whole.getvalue()[-1:]


def test_catalogue_is_consistent():
    for name, download in catalogue.DOWNLOADS.items():
        for item in download.items:
            assert not item.extract or item.name.endswith((".zip", ".tar.gz")), name
            algorithm, _, digest = item.known_hash.partition(":")
            if item.known_hash:
                assert len(digest) == 2 * hashlib.new(algorithm).digest_size

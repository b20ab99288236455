"""Test helpers: a running server, and requests to it."""

import contextlib
import csv
import dataclasses
import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.library import file_tags
from deepgenre.weights import export, loading


@dataclasses.dataclass(frozen=True)
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    library: Path
    song: Path  # a song outside the library
    temporary: Path  # the folder of temporary files

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Returns status, body and headers of the answer; '_' in a header's name stands for '-'."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())

    def get(self, path: str) -> Any:
        """Returns the JSON of an answer."""
        status, body, _ = self.request("GET", path)
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, **fields: Any) -> tuple[int, Any]:
        """Posts fields as JSON; returns the status and the JSON of the answer."""
        content = json.dumps(fields)
        status, body, _ = self.request("POST", path, content, Content_Type="application/json")
        return status, json.loads(body)

    def send(self, path: str, content: bytes) -> tuple[int, Any]:
        """Posts bytes; returns the status and the JSON of the answer."""
        status, body, _ = self.request("POST", path, content, Content_Type="audio/mpeg")
        return status, json.loads(body)


def write_library(folder: Path) -> Path:
    """Writes six tones as mp3 in two folders; returns the folder."""
    for number, hz in enumerate((110, 120, 880, 900, 5000, 5200)):
        path = folder / ("even", "odd")[number % 2] / f"tone {number}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tiny.tone(hz, 4.0, number), tiny.RATE_HZ)
    file_tags.write(folder / "odd" / "tone 3.mp3", {"genre": ("Drone",)})
    return folder


def write_predictions(library: Path) -> Path:
    """Writes predictions of two songs, of the weights of `trained` and of others."""
    lines = [
        {"path": str(library / "even" / "tone 4.mp3"), "tags": ["low"],
         "scores": {"low": 0.1, "mid": 0.8, "high": 0.1}},
        {"path": str(library / "even" / "tone 2.mp3"), "tags": ["waltz"], "scores": {"waltz": 1}},
    ]  # fmt: skip
    path = library.parent / "predictions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_examples(library: Path) -> Path:
    """Writes a manifest of two genres with two songs each, by four artists."""
    path = library.parent / "examples.csv"
    songs = {"odd/tone 1.mp3": "deep", "even/tone 0.mp3": "deep",
             "odd/tone 5.mp3": "bright", "even/tone 4.mp3": "bright"}  # fmt: skip
    with path.open("w", newline="") as stream:
        rows = [[library / name, genre, f"artist of {name}"] for name, genre in songs.items()]
        csv.writer(stream).writerows([["path", "labels", "artist"], *rows])
    return path


@contextlib.contextmanager
def serving(weights: Path, folder: Path) -> Iterator[Server]:
    """Runs the server on a library with an index, and stops it."""
    library, temporary = write_library(folder / "library"), folder / "temporary"
    temporary.mkdir()
    song = folder / "dropped.mp3"
    samples = np.concatenate([tiny.tone(880, 6.0, 1), tiny.tone(110, 6.0, 2)])
    soundfile.write(song, samples, tiny.RATE_HZ)
    index, run = folder / "songs.npz", folder / "run.safetensors"
    export.run(loading.load(str(weights)), run, "float32")
    predictions, examples = write_predictions(library), write_examples(library)
    with pytest.MonkeyPatch.context() as patch:
        assert tiny.call(patch, "embed", library, f"--weights={run}", f"--output={index}") == 0
    other = shutil.copytree(weights, folder / "other")
    arguments = [
        *("serve", library, f"--weights={run},{other}", f"--index={index}"),
        *(f"--predictions={predictions}", f"--examples={examples}"),
        *("--write", f"--output={folder / 'organized'}", "--port=0", "--upload_mb=4"),
        "--song_minutes=2",
    ]
    with _environment(TMPDIR=str(temporary)):
        process = tiny.start(*arguments, cwd=folder)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), process.communicate()
        port = int(line.strip().strip("/").rpartition(":")[2])
        yield Server(process, port, library, song, temporary)
    finally:
        process.send_signal(signal.SIGTERM)
        assert tiny.finish(process, 60)[0] == 0
    assert not [*temporary.glob("deepgenre-serve-*")]


@contextlib.contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """Changes environment variables within the block."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

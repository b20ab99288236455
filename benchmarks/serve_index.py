"""Milliseconds of requests about songs of a large index, by HTTP: one client, one after another.

    python benchmarks/serve_index.py --songs=100000 --features=200

Makes an index of random embeddings around random centres, of files that are links to one empty
file, starts `deepgenre serve` with it, and asks for what is near random songs. Prints, per kind of
request, the median, the 95th percentile and the longest time, and the mean processor time of the
server, which other work on the machine changes less; exits with 1 where an answer is wrong: another
status, or not the songs that an exact search in float64 finds.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from deepgenre.files import fingerprint
from deepgenre.inference import song_index
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.server.settings import Limits
from deepgenre.server.songs import Songs
from deepgenre.weights import loading
from deepgenre.weights.digest import model_digest

_SONGS = flags.DEFINE_integer("songs", 100_000, "Number of songs.")
_FEATURES = flags.DEFINE_integer("features", 200, "Length of an embedding.")
_REQUESTS = flags.DEFINE_integer("requests", 200, "Number of requests of each kind.")

WEIGHTS = "gtzan"  # not used by requests about songs of the index
CENTRES = 300
COUNT = 10
Ask = Callable[[int, int], tuple[str, dict[str, Any] | None]]  # of two songs: path, body


def write_index(folder: Path) -> tuple[Path, np.ndarray, list[str]]:
    """Returns an index, its embeddings of length 1, float64 (songs, features), and its ids."""
    rng = np.random.default_rng(0)
    shape = (_SONGS.value, _FEATURES.value)
    centres = rng.standard_normal((CENTRES, shape[1]))[rng.integers(CENTRES, size=shape[0])]
    vectors = (centres + rng.standard_normal(shape)).astype(np.float32)
    source = folder / "empty"
    source.touch()
    songs, known = [], Songs(folder, Limits())
    for number, vector in enumerate(vectors):
        path = folder / f"{number // 1000}" / f"{number}.mp3"
        path.parent.mkdir(exist_ok=True)
        if number % 10_000 == 0:  # file systems limit the links to a file
            source = path
            source.touch()
        else:
            os.link(source, path)
        songs.append(Song(path, fingerprint(path), vector))
    index = folder / "songs.npz"
    song_index.write_index(index, SongIndex(model_digest(loading.load(WEIGHTS)), tuple(songs)))
    units = vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    return index, units, [known.of_file(song.path).id for song in songs]


def kinds(ids: Sequence[str]) -> dict[str, Ask]:
    """Returns the requests by name."""
    return {
        "POST /v1/similar": lambda i, j: ("/v1/similar", {"song": ids[i], "count": COUNT}),
        "POST /v1/similar, 200 songs": lambda i, j: ("/v1/similar", {"song": ids[i], "count": 200}),
        "getSonicSimilarTracks": lambda i, j: (
            f"/rest/getSonicSimilarTracks?f=json&count={COUNT}&id={ids[i]}", None
        ),
        "POST /v1/path": lambda i, j: (
            "/v1/path", {"from": ids[i], "to": ids[j], "count": COUNT}
        ),
        "findSonicPath": lambda i, j: (
            f"/rest/findSonicPath?f=json&startSongId={ids[i]}&endSongId={ids[j]}", None
        ),
        "search3": lambda i, j: (f"/rest/search3?f=json&query={i}", None),
    }  # fmt: skip


def ask(connection: http.client.HTTPConnection, path: str, body: Any) -> dict[str, Any]:
    """Returns the JSON of an answer; raises SystemExit where there is none."""
    headers = {"Content-Type": "application/json"}
    method, content = ("GET", None) if body is None else ("POST", json.dumps(body))
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    value = json.loads(answer.read())
    if answer.status != 200 or value.get("subsonic-response", {}).get("status") == "failed":
        raise SystemExit(f"{path}: {answer.status} {value}")
    return value


def processor_ms(pid: int) -> float:
    """Returns the processor time that a process has used, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check(found: dict[str, Any], units: np.ndarray, row: int, ids: Sequence[str]) -> bool:
    """Returns whether the found songs have the cosines of the exact nearest."""
    cosines = units @ units[row]
    cosines[row] = -1
    expected = np.sort(cosines)[::-1][:COUNT]
    by_id = [units[ids.index(one["song"]["id"])] @ units[row] for one in found["songs"]]
    return np.allclose(by_id, expected, atol=1e-5)


def main(argv: Sequence[str]) -> int:
    """Measures and prints the table; returns the exit code."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        index, units, ids = write_index(Path(name))
        started = time.perf_counter()
        command = ("serve", f"--index={index}", f"--weights={WEIGHTS}", "--port=0")
        server = subprocess.Popen(
            [sys.executable, "-m", "deepgenre.main", *command], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            port = int(server.stdout.readline().strip().strip("/").rpartition(":")[2])
            print(f"started in {time.perf_counter() - started:.1f} s\n")
            print("| request | median, ms | 95 %, ms | longest, ms | processor, ms |")
            print("| --- | --- | --- | --- | --- |")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            wrong = 0
            for kind, request in kinds(ids).items():
                times, before = [], processor_ms(server.pid)
                for _ in range(_REQUESTS.value):
                    row, other = rng.choice(len(ids), 2, replace=False).tolist()
                    path, body = request(row, other)
                    start = time.perf_counter()
                    found = ask(connection, path, body)
                    times.append(1000 * (time.perf_counter() - start))
                    if kind == "POST /v1/similar" and len(times) <= 10:
                        wrong += not check(found, units, row, ids)
                median, most = np.quantile(times, [0.5, 0.95])
                used = (processor_ms(server.pid) - before) / _REQUESTS.value
                print(
                    f"| {kind} | {median:.1f} | {most:.1f} | {max(times):.1f} | {used:.0f} |",
                    flush=True,
                )
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    print(f"\n{wrong} of 10 answers are not the exact nearest songs")
    return 1 if wrong else 0


if __name__ == "__main__":
    app.run(main)

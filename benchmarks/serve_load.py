"""Load on a running server: parallel clients with good and hostile requests; nothing may be lost.

    deepgenre serve songs/ --index=songs.npz --port=8000 &
    python benchmarks/serve_load.py song.mp3 --port=8000 --pid=PID

The library has two songs or more, which the index contains.

Prints, per kind of request, the answers by status and the times they took, and the peak of the
memory of the server and its processes. Exits with 1 where an answer is missing or not as expected.
"""

import argparse
import collections
import concurrent.futures
import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

GOOD = {
    "predict": 200,
    "by id": 200,
    "status": 200,
    "page": 200,
    "similar": 200,
    "path": 200,
    "sonic similar": 200,
    "sonic path": 200,
}
BAD = {
    "path, no song": 404,
    "path, count": 400,
    "Subsonic, path": 404,
    "Subsonic, no song": 200,  # an error of its API, as the next two
    "Subsonic, method": 200,
    "Subsonic, large": 200,
    "empty": 422,
    "text": 422,
    "cut": 200,  # used as far as it decodes
    "noise": 422,
    "huge": 413,
    "other host": 421,
    "other origin": 403,
    "unknown song": 404,
    "wrong JSON": 400,
    "gone": 0,  # the client closes the connection
}
BUSY = 503  # expected where more wait than the queue holds; the client tries again


class Client:
    """Sends requests of every kind to a server."""

    def __init__(self, port: int, song: bytes) -> None:
        """song: the bytes of a song that can be decoded."""
        self._port, self._song, self.busy = port, song, 0
        answer = self._request("POST", "/v1/songs", song)
        self._id = json.loads(answer[1])["id"]
        listed = json.loads(self._request("GET", "/v1/songs")[1])["songs"]
        self._first, self._last = listed[0]["id"], listed[-1]["id"]

    def _request(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        named = {"Content-Type": "audio/mpeg"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _json(self, body: bytes) -> tuple[int, bytes]:
        return self._request("POST", "/v1/predict", body, Content_Type="application/json")

    def _fields(self, path: str, **fields: object) -> tuple[int, bytes]:
        body = json.dumps(fields).encode()
        return self._request("POST", path, body, Content_Type="application/json")

    def _subsonic(self, address: str, expected: str = "ok", body: bytes = b"") -> tuple[int, bytes]:
        """Returns status 0 where the status of the Subsonic API is not the expected one."""
        form = "application/x-www-form-urlencoded"
        status, text = self._request("POST", f"/rest/{address}", body, Content_Type=form)
        return status if f'status="{expected}"'.encode() in text else 0, text

    def _huge(self) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            connection.putrequest("POST", "/v1/songs")
            connection.putheader("Content-Length", str(10**15))
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _gone(self) -> tuple[int, bytes]:
        size = len(self._song)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.sendall(head.encode() + self._song)
        return 0, b""

    def send(self, kind: str) -> tuple[int, float]:
        """Returns the status of a request of a kind, and the seconds that its answer took."""
        by_kind: dict[str, Callable[[], tuple[int, bytes]]] = {
            "predict": lambda: self._request("POST", "/v1/predict", self._song),
            "by id": lambda: self._json(json.dumps({"song": self._id}).encode()),
            "status": lambda: self._request("GET", "/v1/status"),
            "page": lambda: self._request("GET", "/"),
            "similar": lambda: self._fields("/v1/similar", song=self._first),
            "path": lambda: self._fields("/v1/path", **{"from": self._first, "to": self._last}),
            "sonic similar": lambda: self._subsonic(f"getSonicSimilarTracks?id={self._first}"),
            "sonic path": lambda: self._subsonic(
                f"findSonicPath?startSongId={self._first}&endSongId={self._last}"
            ),
            "path, no song": lambda: self._fields("/v1/path", **{"from": "../x", "to": ["y"]}),
            "path, count": lambda: self._fields(
                "/v1/path", **{"from": self._first, "to": self._last, "count": 1e9}
            ),
            "Subsonic, no song": lambda: self._subsonic("stream?id=../../etc/passwd", "failed"),
            "Subsonic, method": lambda: self._subsonic("getPodcasts", "failed"),
            "Subsonic, path": lambda: self._request("GET", "/rest/..%2f..%2fetc%2fpasswd"),
            "Subsonic, large": lambda: self._subsonic("ping", "failed", b"a=" + bytes(1 << 21)),
            "empty": lambda: self._request("POST", "/v1/predict"),
            "text": lambda: self._request("POST", "/v1/predict", b"not music\n" * 1000),
            "cut": lambda: self._request("POST", "/v1/predict", self._song[: len(self._song) // 2]),
            "noise": lambda: self._request("POST", "/v1/predict", bytes(range(256)) * 400),
            "huge": self._huge,
            "other host": lambda: self._request("GET", "/v1/songs", Host="evil.example"),
            "other origin": lambda: self._request("GET", "/v1/songs", Origin="http://evil.example"),
            "unknown song": lambda: self._json(b'{"song": "../../etc/passwd"}'),
            "wrong JSON": lambda: self._json(b"{"),
            "gone": self._gone,
        }
        while True:
            started = time.monotonic()
            status = by_kind[kind]()[0]
            if status != BUSY:
                return status, time.monotonic() - started
            self.busy += 1
            time.sleep(1)


def memory_megabytes(pid: int) -> float:
    """Returns the memory that a process and its children have to themselves or share, in MB."""
    total = 0
    for process in [pid, *_children(pid)]:
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


def _children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for path in lists for child in path.read_text().split()]
    return [one for child in direct for one in (child, *_children(child))]


def main() -> int:
    """Runs the load; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("song", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, help="process of the server, whose memory is measured")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=500)
    arguments = parser.parse_args()
    client = Client(arguments.port, arguments.song.read_bytes())
    expected = {**GOOD, **BAD}
    kinds = [*expected]
    todo = [kinds[number % len(kinds)] for number in range(arguments.requests)]
    peak, ended = [memory_megabytes(arguments.pid)] if arguments.pid else [], threading.Event()

    def measure() -> None:
        while arguments.pid and not ended.wait(0.2):
            peak.append(memory_megabytes(arguments.pid))

    watching = threading.Thread(target=measure)
    watching.start()
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.clients) as pool:
        answers = [*pool.map(client.send, todo)]
    seconds = time.monotonic() - started
    ended.set()
    watching.join()
    wrong = 0
    for kind in kinds:
        of_kind = [answer for name, answer in zip(todo, answers, strict=True) if name == kind]
        statuses = collections.Counter(status for status, _ in of_kind)
        times = [took for _, took in of_kind]
        wrong += sum(count for status, count in statuses.items() if status != expected[kind])
        print(f"{kind:17s} {dict(statuses)}  median {statistics.median(times):.3f} s, "
              f"longest {max(times):.3f} s")  # fmt: skip
    print(f"{len(answers)} requests, {arguments.clients} clients: {seconds:.1f} s, "
          f"{wrong} not as expected, {client.busy} repeated as the server was busy")  # fmt: skip
    if peak:
        print(
            f"memory: {peak[0]:.0f} MB before, at most {max(peak):.0f} MB, {peak[-1]:.0f} MB after"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Downloads one file over HTTP: continues a partial one, tries again, never ends half-written.

Bytes arrive in `NAME.part`, which the caller renames when their hash is right. Beside it,
`NAME.part.version` has the server's entity tag or date, so that parts of two versions of a file are
never joined.

pooch, the usual library for this, deletes what it has at each failure: of 93 GB, everything.
"""

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import requests

import deepgenre
from deepgenre import log
from deepgenre.errors import UserError, one_line

CHUNK_BYTES = 1 << 14  # of which a failure loses one
SPARE_BYTES = 200 << 20  # that a download leaves free on the disk
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # what passes by itself


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for a server."""

    stall_seconds: float = 30.0  # without a byte, after which the connection is given up
    attempts: int = 5  # in succession without new bytes
    wait_seconds: float = 2.0  # before the second attempt, doubled before each further one
    most_wait_seconds: float = 60.0


class _TemporaryError(Exception):
    """An attempt failed in a way that may pass; wait_seconds: what the server asks for."""

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


def transfer(url: str, part: Path, advance: Callable[[int], object], patience: Patience) -> None:
    """Downloads `url` to `part`, whole, continuing from what it contains.

    advance: called with the number of new bytes, negative where the file begins again.

    Raises:
      UserError: the server refuses, gives up too often, or the disk is too small; what has been
        downloaded stays, and the next call continues.
    """
    most, failures = _size(part), 0
    while True:
        try:
            _attempt(url, part, advance, patience)
            _version_of(part).unlink(missing_ok=True)
            return
        except (_TemporaryError, requests.RequestException) as error:
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures >= patience.attempts:
                raise UserError(
                    f"{url}: {_reason(error)}, {failures} times in succession; {_size(part)} bytes "
                    f"are kept in {part}: the same command continues, or give another source with "
                    "--mirror=URL"
                ) from error
            asked = error.wait_seconds if isinstance(error, _TemporaryError) else 0.0
            wait = max(asked, patience.wait_seconds * 2 ** max(failures - 1, 0))
            log.info("%s: %s; trying again", url, _reason(error))
            time.sleep(min(wait, patience.most_wait_seconds))


def stated_size(url: str, patience: Patience) -> int:
    """Returns the size of a file that the server states; 0 where it does not."""
    try:
        response = requests.head(
            url, headers=_headers(), timeout=patience.stall_seconds, allow_redirects=True
        )
    except requests.RequestException:
        return 0  # the transfer tries again, and reports
    return _number(response.headers.get("Content-Length", "")) if response.ok else 0


def check_space(folder: Path, num_bytes: int, what: str) -> None:
    """Raises UserError where the disk of a folder has not `num_bytes` and some to spare."""
    existing = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(existing).free
    if num_bytes + SPARE_BYTES > free:
        raise UserError(
            f"{folder}: {what} needs {gigabytes(num_bytes + SPARE_BYTES)}, and the disk has "
            f"{gigabytes(free)} free; make room, or give another --data_dir"
        )


def gigabytes(num_bytes: int) -> str:
    """Returns '7.68 GB' or '0.3 MB'."""
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _attempt(url: str, part: Path, advance: Callable[[int], object], patience: Patience) -> None:
    have, version = _size(part), _version_of(part)
    headers = _headers()
    if have:
        headers["Range"] = f"bytes={have}-"
        if version.is_file():
            headers["If-Range"] = version.read_text()
    timeout = (patience.stall_seconds, patience.stall_seconds)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == 416:  # nothing is left, or the file is another one
            total = _number(response.headers.get("Content-Range", "").rpartition("/")[2])
            if total == have:
                return
            _begin_again(part, advance)
            raise _TemporaryError(f"the file has {total} bytes, fewer than the {have} of {part}")
        _check_status(url, response)
        begin = _first_byte(response)
        if begin not in (0, have):
            _begin_again(part, advance)
            raise _TemporaryError(f"the server sends bytes from {begin} on, not from {have}")
        if begin < have:  # the server ignores the range, or the file has changed
            advance(-have)
        total = begin + _number(response.headers.get("Content-Length", ""))
        check_space(part.parent, max(total - begin, 0), f"the rest of {part.name}")
        _remember(response, version)
        with part.open("ab" if begin else "wb") as stream:
            for chunk in response.iter_content(CHUNK_BYTES):
                stream.write(chunk)
                advance(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())
        if response.headers.get("Content-Length") and _size(part) != total:
            raise _TemporaryError(f"the connection ended after {_size(part)} of {total} bytes")


def _check_status(url: str, response: requests.Response) -> None:
    status = f"the server answers {response.status_code} {response.reason}"
    if response.status_code in TRY_AGAIN:
        raise _TemporaryError(status, _number(response.headers.get("Retry-After", "")))
    if response.status_code not in (200, 206):
        raise UserError(
            f"{url}: {status}; look whether the file has moved, and give its folder as --mirror=URL"
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise UserError(
            f"{url}: the server sends a web page, not the file; open the address in a browser, "
            "and give the folder to which the file has moved as --mirror=URL"
        )


def _first_byte(response: requests.Response) -> int:
    """Returns the offset of the first byte that a response contains."""
    if response.status_code == 200:
        return 0
    stated = response.headers.get("Content-Range", "")  # 'bytes 500-999/1000'
    return _number(stated.removeprefix("bytes ").partition("-")[0])


def _remember(response: requests.Response, version: Path) -> None:
    tag = response.headers.get("ETag", "")
    strong = "" if tag.startswith("W/") else tag  # a weak one does not promise the same bytes
    if stated := strong or response.headers.get("Last-Modified", ""):
        version.write_text(stated)
    else:
        version.unlink(missing_ok=True)


def _begin_again(part: Path, advance: Callable[[int], object]) -> None:
    advance(-_size(part))
    part.unlink(missing_ok=True)
    _version_of(part).unlink(missing_ok=True)


def _version_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _headers() -> dict[str, str]:
    # Bytes as stored: of compressed ones, a range would be of the compression.
    return {"Accept-Encoding": "identity", "User-Agent": f"deepgenre/{deepgenre.__version__}"}


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _reason(error: Exception) -> str:
    """Returns one line; what requests says is often the names of its own classes."""
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "no byte arrived within the time limit"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended before the file did"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server"
    return one_line(error)

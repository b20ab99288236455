"""Mode `duplicates`: groups of files that hold the same recording, whatever their format.

Files are copies where their acoustic fingerprints match: also re-encoded, louder, quieter or cut
shorter by up to about a minute and a half.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from deepgenre import log
from deepgenre.audio import acoustic_fingerprint, decoding, describe
from deepgenre.audio.discover import expand
from deepgenre.errors import UserError
from deepgenre.files import replacing
from deepgenre.log import escape_controls


def run(arguments: Sequence[str], output: Path | None) -> int:
    """Prints a group of copies per line, and writes them as JSON lines; returns 1 on failures."""
    files = expand(arguments)
    if not files:
        raise UserError("--files: give files, folders, globs or a list.txt to compare")
    fingerprints: dict[Path, np.ndarray] = {}
    failures: list[str] = []
    with (
        ThreadPoolExecutor() as pool,
        log.progress(None, total=len(files), unit="song", title="duplicates") as bar,
    ):
        for path, outcome in zip(files, pool.map(_read, files), strict=True):
            bar.update()
            if isinstance(outcome, str):
                failures.append(escape_controls(outcome))
            else:
                fingerprints[path] = outcome
    found = groups(fingerprints)
    for group in found:
        print(" = ".join(map(escape_controls, group)))
    if output:
        with replacing(output) as temporary, temporary.open("wb") as stream:
            stream.writelines(_lines(found))
        log.info("wrote %s", output)
    log.info("%d groups of copies in %d songs", len(found), len(fingerprints))
    if failures:
        log.warning("%d of %d files failed:", len(failures), len(files))
        for failure in failures:
            log.warning("  %s", failure)
    return 1 if failures else 0


def _lines(found: Sequence[Sequence[Path]]) -> Iterator[bytes]:
    for group in found:
        line = json.dumps({"copies": [str(path) for path in group]}, ensure_ascii=False)
        yield line.encode("utf-8", "backslashreplace") + b"\n"


def _read(path: Path) -> np.ndarray | str:
    """Returns the fingerprint of a file, or the error why there is none."""
    try:
        return fingerprint(path)
    except UserError as error:
        return str(error)


def fingerprint(path: Path) -> np.ndarray:
    """Returns the acoustic fingerprint of a file, uint32 (frames,), empty below half a second.

    The rest of a file after the part that a fingerprint holds is not decoded.
    """
    describer = describe.Describer(["fingerprint"])
    blocks = decoding.blocks(path, observe=describer.observe)
    seconds = 0.0
    for mono, rate_hz in blocks:
        seconds += mono.size / rate_hz
        if seconds > acoustic_fingerprint.MAX_SECONDS:
            break
    blocks.close()
    return describe.decode_fingerprint(str(describer.values()["acoustic_fingerprint"] or ""))


def groups(fingerprints: Mapping[Path, np.ndarray]) -> list[list[Path]]:
    """Returns groups of paths whose fingerprints match, directly or through another of them."""
    paths = list(fingerprints)
    leader = list(range(len(paths)))  # the smallest index of each group
    for first, second in acoustic_fingerprint.matches(list(fingerprints.values())):
        low, high = sorted((leader[first], leader[second]))
        leader = [low if index == high else index for index in leader]
    members: dict[int, list[Path]] = {}
    for index, path in zip(leader, paths, strict=True):
        members.setdefault(index, []).append(path)
    return [group for group in members.values() if len(group) > 1]

"""Mode `duplicates`: groups of files that hold the same recording, whatever their format.

Files are copies where their acoustic fingerprints match: also re-encoded, louder, quieter or cut
shorter by up to about a minute and a half.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from deepgenre import log, summary
from deepgenre.audio import acoustic_fingerprint, decoding, describe
from deepgenre.audio.discover import Found
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.evaluation import near_duplicates
from deepgenre.files import updating, write_json_lines
from deepgenre.interrupt import stop_requests
from deepgenre.log import escape_controls
from deepgenre.summary import Batch

HOP_SECONDS = acoustic_fingerprint.HOP_SAMPLES / acoustic_fingerprint.RATE_HZ


def run(inputs: Found, output: Path | None, summary_path: Path | None = None) -> int:
    """Prints a group of copies per line, and writes them as JSON lines; returns 1 on failures."""
    if not inputs.files:
        raise UserError("--files: give files, folders, globs or a list.txt to compare")
    with updating(output), summary.batch("duplicates", summary_path) as counts:
        found = groups(_fingerprints(inputs, counts))
        for group in found:
            print(" = ".join(map(escape_controls, group)))
        log.info("%d groups of copies", len(found))
        if output:
            write_json_lines(output, [{"copies": [*map(str, group)]} for group in found])
            counts.results.append(output)
    return 1 if counts.failures else 0


def _fingerprints(inputs: Found, counts: Batch) -> dict[Path, np.ndarray]:
    """Returns the fingerprint of each file that did not fail; counts the files."""
    files = inputs.files
    fingerprints: dict[Path, np.ndarray] = {}
    counts.files = len(files)

    def read(path: Path) -> np.ndarray | str:
        try:
            return inputs.failures.get(path) or fingerprint(path)
        except UserError as error:
            return str(error)

    with (
        stop_requests() as stop_requested,
        ThreadPoolExecutor() as pool,
        log.progress(None, total=len(files), unit="song", title="duplicates") as bar,
    ):
        for path, outcome in zip(files, pool.map(read, files), strict=True):
            bar.update()
            if isinstance(outcome, str):
                counts.failed(outcome, path)
            else:
                counts.succeeded(len(outcome) * HOP_SECONDS)
                fingerprints[path] = outcome
            if stop_requested() and counts.processed < len(files):
                pool.shutdown(cancel_futures=True)
                raise InterruptedRunError(f"stopped after {counts.processed} of {len(files)} files")
    return fingerprints


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
    found = near_duplicates.groups(acoustic_fingerprint.matches(list(fingerprints.values())))
    return [[paths[index] for index in group] for group in sorted(found)]

"""Decodes formats that libsndfile does not support (m4a, aac, wma, ...) with the ffmpeg program.

ffmpeg outputs float32 samples at the file's own sample rate and with its own channels. Mixing and
resampling are the same as for other files.
"""

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from deepgenre.errors import UserError

# ffmpeg detects the format from the content. Excluded are formats that refer to other files or to
# the network (playlists), and those of libsndfile, which reports damage in them itself.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "asf", "aac", "ac3", "eac3",
    "dts", "amr", "ape", "wv", "tta", "mpc", "mpc8", "tak", "dsf", "avi", "mpegts",
)  # fmt: skip
AU_HEADER = struct.Struct(">4sIIIII")  # magic, offset of the samples, size, coding, rate, channels
BLOCK_SAMPLES = 1 << 18  # total over all channels


def is_installed() -> bool:
    """Returns whether the ffmpeg program is on the search path."""
    return shutil.which("ffmpeg") is not None


def decode(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (float32 (samples, channels), rate in Hz) of the file's first audio track, in blocks.

    Raises UserError where the file has no audio track or ffmpeg reports an error.
    """
    command = [
        "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-threads", "1",
        "-protocol_whitelist", "file", "-format_whitelist", ",".join(FORMATS),
        "-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            yield from _blocks(process.stdout)
            code = process.wait()
        finally:  # also where the caller stops early
            process.kill()
        log.seek(0)
        messages = log.read().decode(errors="replace").strip()
    if code or "prematurely" in messages:  # ffmpeg returns 0 for a truncated Matroska file
        reason = _reason(messages, path)
        raise UserError(f"{path}: is not audio that ffmpeg can decode, or is cut short ({reason})")


def _blocks(stream: IO[bytes]) -> Iterator[tuple[np.ndarray, int]]:
    header = stream.read(AU_HEADER.size)
    if len(header) < AU_HEADER.size:
        return
    _, offset, _, _, rate_hz, channels = AU_HEADER.unpack(header)
    stream.read(offset - AU_HEADER.size)
    frame_bytes = 4 * channels
    while block := stream.read(BLOCK_SAMPLES // channels * frame_bytes):
        # A killed ffmpeg leaves a partial frame.
        whole = len(block) // frame_bytes * channels
        samples = np.frombuffer(block, ">f4", whole).astype(np.float32)
        yield samples.reshape(-1, channels), rate_hz


def _reason(messages: str, path: Path) -> str:
    """Returns the last message of ffmpeg, without the file's name and without memory addresses."""
    last = (messages.splitlines() or ["ffmpeg gave no reason"])[-1]
    return last.removeprefix(f"file:{path}: ").rpartition("] ")[2].rstrip(".")

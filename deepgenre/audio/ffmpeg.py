"""Decodes what libsndfile cannot (m4a, aac, wma, Speex, damaged files) with the ffmpeg program.

ffmpeg outputs float32 samples at the file's own sample rate and with its own channels. Mixing and
resampling are the same as for other files.
"""

import resource
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from deepgenre.errors import UserError

# ffmpeg detects the format from the content. Excluded are formats that refer to other files or to
# the network (playlists).
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "asf", "aac", "ac3", "eac3",
    "dts", "amr", "ape", "wv", "tta", "mpc", "mpc8", "tak", "dsf", "avi", "mpegts", "mpeg", "flv",
    "ogg", "flac", "wav", "w64", "aiff", "au", "caf", "mp3", "voc", "rm", "shn",
)  # fmt: skip
AU_HEADER = struct.Struct(">4sIIIII")  # magic, offset of the samples, size, coding, rate, channels
BLOCK_SAMPLES = 1 << 18  # total over all channels
LOG_BYTES = 1 << 20  # of messages: more of them would fill the disk


def is_installed() -> bool:
    """Returns whether the ffmpeg program is on the search path."""
    return shutil.which("ffmpeg") is not None


def decode(
    path: Path, warn: Callable[[str], None] = lambda message: None
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (float32 (samples, channels), rate in Hz) of the file's first audio track, in blocks.

    warn: gets a line where ffmpeg reports an error, and the samples that it decodes are used.
    Raises UserError where it decodes none.
    """
    command = [
        "ffmpeg", "-nostdin", "-v", "error", "-threads", "1",
        "-protocol_whitelist", "file", "-format_whitelist", ",".join(FORMATS),
        "-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip
    num_samples, rate_hz = 0, 1
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LOG_BYTES, LOG_BYTES))
        try:
            assert process.stdout is not None
            for samples, rate_hz in _blocks(process.stdout):
                num_samples += len(samples)
                yield samples, rate_hz
            code = process.wait()
        finally:  # also where the caller stops early
            process.kill()
        log.seek(0)
        messages = log.read().decode(errors="replace").strip()
    if not num_samples:
        reason = _reason(messages, path)
        raise UserError(f"{path}: is not audio that libsndfile or ffmpeg can decode ({reason})")
    if code or messages:
        warn(
            f"{path}: is cut short or damaged ({_reason(messages, path)}); the "
            f"{num_samples / rate_hz:.1f} s that can be decoded are used"
        )


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

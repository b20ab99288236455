"""Formats beyond libsndfile's (m4a, aac, wma, ...), by the ffmpeg program where the machine has it.

ffmpeg gets the file's own numbers out, as floats of its own rate and channels; the rest is done as
for every other file.
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

# ffmpeg goes by a file's content: none of the formats that lead to other files or to the network
# (playlists), and none that libsndfile reads, whose damage libsndfile tells.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "asf", "aac", "ac3", "eac3",
    "dts", "amr", "ape", "wv", "tta", "mpc", "mpc8", "tak", "dsf", "avi", "mpegts",
)  # fmt: skip
AU_HEADER = struct.Struct(">4sIIIII")  # magic, offset of the samples, size, coding, rate, channels
BLOCK_SAMPLES = 1 << 18  # of all channels together


def is_there() -> bool:
    """Whether the ffmpeg program is on the search path."""
    return shutil.which("ffmpeg") is not None


def decode(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (float32 (samples, channels), rate in Hz) of the file's first audio track, in blocks.

    Raises UserError where ffmpeg finds none or meets an error in it.
    """
    command = [
        "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-threads", "1",
        "-protocol_whitelist", "file", "-format_whitelist", ",".join(FORMATS),
        "-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        try:
            assert process.stdout is not None
            yield from _blocks(process.stdout)
            code = process.wait()
        finally:  # also where the reader has seen enough
            process.kill()
        said.seek(0)
        complaint = said.read().decode(errors="replace").strip()
    if code or "prematurely" in complaint:  # Matroska's cut end is no error to ffmpeg
        reason = _reason(complaint, path)
        raise UserError(f"{path}: is not audio that ffmpeg can decode, or cut short ({reason})")


def _blocks(stream: IO[bytes]) -> Iterator[tuple[np.ndarray, int]]:
    header = stream.read(AU_HEADER.size)
    if len(header) < AU_HEADER.size:
        return
    _, offset, _, _, rate_hz, channels = AU_HEADER.unpack(header)
    stream.read(offset - AU_HEADER.size)
    frame_bytes = 4 * channels
    while block := stream.read(BLOCK_SAMPLES // channels * frame_bytes):
        whole = len(block) // frame_bytes * channels  # of a killed program, half a frame
        samples = np.frombuffer(block, ">f4", whole).astype(np.float32)
        yield samples.reshape(-1, channels), rate_hz


def _reason(complaint: str, path: Path) -> str:
    """Returns ffmpeg's last words, without the file's name and without memory addresses."""
    last = (complaint.splitlines() or ["it did not say why"])[-1]
    return last.removeprefix(f"file:{path}: ").rpartition("] ")[2].rstrip(".")

"""Wav files that were never finalised: a data size of 0, and samples to the end of the file."""

import dataclasses
import struct

from deepgenre.audio.file_bytes import FileBytes

SUBTYPES = {  # libsndfile's names, by (format tag, bits per sample)
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
}
EXTENSIBLE = 0xFFFE  # the format tag is the first field of the sub-format


@dataclasses.dataclass(frozen=True)
class RawData:
    """Where samples begin in a file, and their format."""

    offset: int
    subtype: str
    channels: int
    rate_hz: int


def unfinalised(file: FileBytes) -> RawData | None:
    """Returns the samples of a wav file whose data size is 0, None for any other file."""
    if file[:4] != b"RIFF" or file[8:12] != b"WAVE":
        return None
    at, layout = 12, None
    while at + 8 <= len(file):
        name, size = struct.unpack("<4sI", file[at : at + 8])
        if name == b"fmt " and size >= 16 and at + 24 <= len(file):
            layout = file[at + 8 : at + 8 + size]
        if name == b"data":
            has_samples = size == 0 and at + 8 < len(file)
            return _raw_data(layout, at + 8) if layout and has_samples else None
        at += 8 + size + size % 2
    return None


def _raw_data(layout: bytes, offset: int) -> RawData | None:
    tag, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", layout[:16])
    if tag == EXTENSIBLE and len(layout) >= 26:
        tag = int.from_bytes(layout[24:26], "little")
    subtype = SUBTYPES.get((tag, bits))
    if subtype is None or not 1 <= channels <= 1024 or not rate_hz:
        return None
    return RawData(offset, subtype, channels, rate_hz)

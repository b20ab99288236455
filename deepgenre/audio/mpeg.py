"""MPEG audio (mp3, mp2) in a form that libsndfile decodes whole, whatever its headers declare.

libsndfile reads as many samples as the Xing or Info frame declares or, without one, as it estimates
from the first frame and the size of the file: it drops the rest where that is too few. It also
refuses a stream that begins with anything but a frame or an intact ID3v2 tag. `repair` finds the
frames by their headers (ISO/IEC 11172-3, 2.4.1.3), leaves out what is between them, and puts a
frame in front that declares their true number.
"""

import dataclasses
import functools
import struct

from deepgenre.audio.file_bytes import FileBytes

MIN_FRAMES = 4  # consecutive frames; other data contains fewer by chance
WAVE_TAGS = (0x50, 0x55)  # WAVE_FORMAT_MPEG, WAVE_FORMAT_MPEGLAYER3
BITRATES_KBPS = {  # by (is MPEG-1, layer), of the indices 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
SAME_STREAM = 0xFFFE0C00  # bits of a header that all frames share: sync, version, layer, rate
FRAMES_FLAG, BYTES_FLAG = 1, 2  # of a Xing or Info tag: which numbers it has


@dataclasses.dataclass(frozen=True)
class Stream:
    """What `repair` found."""

    data: bytes | None  # the repaired stream; None: the file is consistent as it is
    is_intact: bool  # no data is missing: no gap between frames, no end inside a frame


@dataclasses.dataclass(frozen=True)
class _Tag:
    """The Xing, Info or VBRI tag that takes the place of the first frame."""

    frames: int | None  # declared number of frames; None where it declares none
    offset: int  # of the tag within its frame
    has_bytes: bool


def repair(file: FileBytes) -> Stream | None:
    """Returns the MPEG stream of a file, None where the file has none.

    file: an mp3 or mp2 file with any tags, or a wav file that contains such a stream.
    """
    if file[:4] == b"RIFF":
        start, end = _wave_data(file)
    else:
        start, end = _after_id3v2(file), len(file)
    runs, num_frames, is_cut = _find_frames(file, start, end)
    if num_frames < MIN_FRAMES:
        return None
    is_intact = len(runs) == 1 and not is_cut
    is_whole = runs == [(start, end)] and end == len(file)
    header = int.from_bytes(file[runs[0][0] : runs[0][0] + 4])
    if (header >> 17 & 3) != 1:  # layers I and II have no tags
        return Stream(None if is_whole else _joined(file, runs), is_intact)
    size = frame_sizes()[header >> 9 & 0xFFF]
    tag = _tag(file[runs[0][0] : runs[0][0] + size], header)
    if tag is None:
        return Stream(_tag_frame(header, num_frames) + _joined(file, runs), is_intact)
    if is_whole and tag.frames == num_frames - 1:
        return Stream(None, is_intact)
    if tag.frames is None:
        return Stream(_tag_frame(header, num_frames - 1) + _joined(file, runs)[size:], is_intact)
    data = bytearray(_joined(file, runs))
    struct.pack_into(">I", data, tag.offset + 8, num_frames - 1)
    if tag.has_bytes:
        struct.pack_into(">I", data, tag.offset + 12, min(len(data), 0xFFFFFFFF))
    return Stream(bytes(data), is_intact)


def _joined(file: FileBytes, runs: list[tuple[int, int]]) -> bytes:
    return b"".join(file[start:end] for start, end in runs)


@functools.cache
def frame_sizes() -> list[int]:
    """Returns the bytes of a frame by bits 20 to 9 of its header; 0 where they are invalid."""
    return [_frame_size(key) for key in range(1 << 12)]


def _frame_size(key: int) -> int:
    version, layer = key >> 10 & 3, 4 - (key >> 8 & 3)
    bitrate, rate, padding = key >> 3 & 15, key >> 1 & 3, key & 1
    if version == 1 or layer == 4 or not 1 <= bitrate <= 14 or rate == 3:
        return 0
    bits_per_second = 1000 * BITRATES_KBPS[version == 3, layer][bitrate - 1]
    rate_hz = RATES_HZ[version][rate]
    if layer == 1:
        return (12 * bits_per_second // rate_hz + padding) * 4
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits_per_second // rate_hz + padding


def _find_frames(file: FileBytes, start: int, end: int) -> tuple[list[tuple[int, int]], int, bool]:
    """Returns runs of frames (first byte, end), the number of frames, and whether one is cut."""
    sizes, runs, num_frames = frame_sizes(), [], 0
    at = run_start = _next_frame(file, start, end, None, MIN_FRAMES)
    if at < 0:
        return [], 0, False
    stream = int.from_bytes(file[at : at + 4]) & SAME_STREAM
    while at + 4 <= end:
        header = int.from_bytes(file[at : at + 4])
        size = sizes[header >> 9 & 0xFFF] if header & SAME_STREAM == stream else 0
        if not size:
            runs.append((run_start, at))
            at = run_start = _next_frame(file, at + 1, end, stream, 2)
            if at < 0:
                return runs, num_frames, False
        elif at + size > end:
            return [*runs, (run_start, at)], num_frames, True
        else:
            num_frames, at = num_frames + 1, at + size
    return [*runs, (run_start, at)], num_frames, at < end


def _next_frame(file: FileBytes, at: int, end: int, stream: int | None, num_frames: int) -> int:
    """Returns where the next `num_frames` consecutive frames begin, -1 where none do.

    stream: the bits that the frames share, where they are known.
    """
    while (at := file.find(b"\xff", at, end)) >= 0:
        header = int.from_bytes(file[at : at + 4])
        found = header & SAME_STREAM
        is_header = header >> 21 == 0x7FF and (stream is None or found == stream)
        if is_header and _are_frames(file, at, end, found, num_frames):
            return at
        at += 1
    return -1


def _are_frames(file: FileBytes, at: int, end: int, stream: int, num_frames: int) -> bool:
    for _ in range(num_frames):
        header = int.from_bytes(file[at : at + 4])
        size = frame_sizes()[header >> 9 & 0xFFF] if header & SAME_STREAM == stream else 0
        if not size or at + size > end:
            return False
        at += size
    return True


def _tag(frame: bytes, header: int) -> _Tag | None:
    """Returns the tag of the first frame, None where that is a frame of audio."""
    is_mono, is_mpeg1, has_crc = header >> 6 & 3 == 3, header >> 19 & 3 == 3, not header >> 16 & 1
    side_info = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    for offset in (4 + side_info, 6 + side_info) if has_crc else (4 + side_info,):
        if frame[offset : offset + 4] in (b"Xing", b"Info") and len(frame) >= offset + 16:
            flags, frames = struct.unpack_from(">II", frame, offset + 4)
            return _Tag(frames if flags & FRAMES_FLAG else None, offset, bool(flags & BYTES_FLAG))
    return _Tag(None, 36, False) if frame[36:40] == b"VBRI" else None


def _tag_frame(header: int, num_frames: int) -> bytes:
    """Returns a frame of silence with a Xing tag, for a stream whose frames have this header."""
    sizes = frame_sizes()
    header = header | 1 << 16  # no checksum
    for bitrate in range(1, 15):
        header = header & ~0xF200 | bitrate << 12
        size = sizes[header >> 9 & 0xFFF]
        if size >= 64:
            break
    is_mono, is_mpeg1 = header >> 6 & 3 == 3, header >> 19 & 3 == 3
    side_info = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    tag = b"Xing" + struct.pack(">II", FRAMES_FLAG, num_frames)
    return (header.to_bytes(4) + bytes(side_info) + tag).ljust(size, b"\0")


def _after_id3v2(file: FileBytes) -> int:
    """Returns where the data after an ID3v2 tag begins; after its header where it is damaged."""
    if file[:3] != b"ID3" or len(file) < 10:
        return 0
    sizes = file[6:10]
    size = sum((byte & 0x7F) << 7 * (3 - index) for index, byte in enumerate(sizes))
    end = 10 + size + (10 if file[5:6] >= b"\x10" else 0)
    return end if max(sizes) < 0x80 and end < len(file) else 10


def _wave_data(file: FileBytes) -> tuple[int, int]:
    """Returns (first byte, end) of the MPEG stream in a wav file; (0, 0) where it has none."""
    at, wave_tag = 12, 0
    while at + 8 <= len(file):
        name, size = struct.unpack("<4sI", file[at : at + 8])
        if name == b"fmt ":
            wave_tag = int.from_bytes(file[at + 8 : at + 10], "little")
        if name == b"data":
            return (at + 8, min(at + 8 + size, len(file))) if wave_tag in WAVE_TAGS else (0, 0)
        at += 8 + size + size % 2
    return 0, 0

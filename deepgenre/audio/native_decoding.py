"""Decodes audio files with libsndfile and ffmpeg; called in a worker process, see `audio.decoding`.

libsndfile decodes; before it, MPEG streams are made consistent (`audio.mpeg`), chained Ogg streams
are separated (`audio.ogg`) and wav files that were never finalised are read to their end
(`audio.wave_header`). What libsndfile cannot decode, or stops decoding early, goes through ffmpeg
where that is installed (`audio.ffmpeg`). A file that is cut short or damaged is used as far as it
decodes, with a warning.
"""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Callable, Generator, Iterator
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from deepgenre.audio import ffmpeg, mpeg, ogg, wave_header
from deepgenre.audio.file_bytes import FileBytes
from deepgenre.errors import UserError
from deepgenre.files import file_mode, for_soundfile

BLOCK_SAMPLES = 1 << 20  # decoded at once, total over all channels: a clip is one block
DAMAGE_SAMPLES = 1 << 14  # likewise, where a block is lost with one damaged sample
MAX_SAMPLES = 1 << 35  # nine days at 44,100 Hz: a header that declares more is wrong
MPEG_SUFFIXES = (".mp3", ".mp2", ".mp1", ".mpga", ".mpa")
OTHER_FORMATS = (b"OggS", b"fLaC", b"RIFF", b"FORM", b"RF64", b"caff", b".snd", b"riff")

Block = tuple[np.ndarray, int]  # samples, float32 (samples, channels), and their rate in Hz
Warn = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Declared:
    """What the header of a file declares, as libsndfile reads it."""

    num_samples: int  # of each channel; of an MPEG stream, an estimate
    rate_hz: int
    channels: int
    format: str
    subtype: str


@dataclasses.dataclass(frozen=True)
class _Part:
    """A stream that libsndfile can open: the file itself, or a repaired copy of a part of it."""

    data: bytes | None = None  # None: the file itself
    raw: wave_header.RawData | None = None  # samples without a header
    is_intact: bool = True  # False: part of it is missing


def declared(path: Path) -> Declared | None:
    """Returns what a header declares; None where libsndfile cannot read the file."""
    try:
        info = soundfile.info(for_soundfile(path))
    except soundfile.LibsndfileError:
        return None
    return Declared(info.frames, info.samplerate, info.channels, info.format, info.subtype)


def seconds(path: Path) -> float:
    """Returns the declared length of a file or, where libsndfile cannot read it, the decoded one.

    Raises UserError where it cannot be decoded.
    """
    if found := declared(path):
        return found.num_samples / found.rate_hz
    return sum(len(samples) / rate_hz for samples, rate_hz in ffmpeg.decode(path))


def decoded(path: Path, warn: Warn, out: np.ndarray) -> Generator[Block, None, None]:
    """Yields (float32 (samples, channels), rate in Hz) of the file; no block is empty.

    out: float32 (BLOCK_SAMPLES,) or more, into which blocks are decoded that libsndfile decodes:
    the next one takes the place of the one before.
    """
    num_samples, rate_hz = 0, 0
    if (mode := file_mode(path)) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path}: is not a regular file; give a file")  # a pipe would block
    try:
        # Opened here to distinguish missing and unreadable files from bad audio; unbuffered, as
        # libsndfile reads from the current offset of the descriptor.
        with path.open("rb", buffering=0) as stream:
            if not stream.read(1):
                raise UserError(f"{path}: is empty (0 bytes); copy or download it again")
            is_whole = True
            for part in _parts(path, stream):
                with _opened(stream, part) as sound:
                    for block in _read(sound, out):
                        rate_hz = rate_hz or sound.samplerate
                        block = _at_rate(block, sound.samplerate, rate_hz)
                        num_samples += len(block)
                        yield block, rate_hz
                    is_whole = is_whole and part.is_intact and _is_whole(sound, num_samples)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except soundfile.LibsndfileError as error:
        is_whole = False
        if not num_samples:
            yield from _decoded_by_ffmpeg(path, error, warn)
            return
    if not is_whole:
        yield from _rest(path, num_samples, rate_hz, warn)


def _parts(path: Path, stream: FileIO) -> Iterator[_Part]:
    """Yields the streams of a file that libsndfile decodes one after another."""
    file = FileBytes(stream.fileno())
    head = file[:12]
    if head[:4] == b"OggS":
        chain = ogg.read_chain(file)
        if len(chain.parts) <= 1:
            yield _Part(is_intact=not chain.is_cut)
        for start, end in chain.parts if len(chain.parts) > 1 else ():
            yield _Part(file[start:end], is_intact=not chain.is_cut or end < len(file))
    elif repaired := mpeg.repair(file) if _may_be_mpeg(path, head) else None:
        yield _Part(repaired.data, is_intact=repaired.is_intact)
    else:
        yield _Part(raw=wave_header.unfinalised(file))


def _may_be_mpeg(path: Path, head: bytes) -> bool:
    is_wave = head[:4] == b"RIFF" and head[8:12] == b"WAVE"  # may contain an MPEG stream
    if is_wave or head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
        return True
    is_other = head[:4] in OTHER_FORMATS or head[4:8] == b"ftyp"
    return path.suffix.lower() in MPEG_SUFFIXES and not is_other


@contextlib.contextmanager
def _opened(stream: FileIO, part: _Part) -> Iterator[soundfile.SoundFile]:
    """Yields a part, opened; a repaired copy is a file in memory."""
    if raw := part.raw:
        tail = _Tail(stream, raw.offset)
        with soundfile.SoundFile(
            tail,  # pyright: ignore[reportArgumentType]
            "r",
            raw.rate_hz,
            raw.channels,
            raw.subtype,
            "LITTLE",
            "RAW",
        ) as sound:
            yield sound
    elif part.data is None:
        stream.seek(0)
        with soundfile.SoundFile(stream.fileno(), closefd=False) as sound:
            yield sound
    else:
        with FileIO(os.memfd_create("audio"), "r+") as copy:
            copy.write(part.data)
            copy.seek(0)
            with soundfile.SoundFile(copy.fileno(), closefd=False) as sound:
                yield sound


class _Tail:
    """A stream from an offset on, as a file: libsndfile reads raw samples from 0 only."""

    def __init__(self, stream: FileIO, offset: int) -> None:
        self._stream, self._offset = stream, offset
        stream.seek(offset)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = self._offset if whence == os.SEEK_SET else 0
        return self._stream.seek(start + offset, whence) - self._offset

    def tell(self) -> int:
        return self._stream.tell() - self._offset

    def read(self, count: int = -1) -> bytes:
        return self._stream.read(count)


def _read(sound: soundfile.SoundFile, out: np.ndarray) -> Iterator[np.ndarray]:
    """Yields float32 (samples, channels) to the end, all in the same memory."""
    size = BLOCK_SAMPLES // sound.channels
    block = out[: size * sound.channels].reshape(size, sound.channels)
    # After damage in a FLAC file, soundfile returns nothing of what was asked for.
    step = DAMAGE_SAMPLES // sound.channels if sound.format == "FLAC" else size
    while True:
        filled, error = 0, None
        try:
            while filled < size and (read := len(sound.read(out=block[filled : filled + step]))):
                filled += read
        except soundfile.LibsndfileError as raised:
            error = raised
        if filled:
            yield block[:filled]
        if error:
            raise error
        if not filled:
            return


def _at_rate(block: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Returns a block at the rate of the file's first stream."""
    return block if from_hz == to_hz else soxr.resample(block, from_hz, to_hz, quality="HQ")


def _is_whole(sound: soundfile.SoundFile, num_samples: int) -> bool:
    """Returns whether the file contains, and libsndfile decoded, what its header declares.

    libsndfile shortens the declared size of a truncated RIFF or AIFF chunk and reports this only in
    its log. A size of all ones means "unknown": programs write it when they stream to a pipe. The
    length of an MPEG stream is an estimate, see `mpeg`.
    """
    for line in sound.extra_info.splitlines():
        name, _, sizes = line.partition(":")
        declared_size = sizes.strip().split(" ")[0]
        is_data = name.strip() in ("data", "SSND", "Data Size")
        if is_data and "should be" in sizes and declared_size not in ("4294967295", "-1"):
            return False
    has_estimate = sound.subtype.startswith("MPEG") or sound.frames > MAX_SAMPLES
    return has_estimate or sound.format in ("OGG", "RAW") or num_samples >= sound.frames


def _decoded_by_ffmpeg(path: Path, error: soundfile.LibsndfileError, warn: Warn) -> Iterator[Block]:
    """Yields what ffmpeg decodes of a file that libsndfile cannot."""
    if not ffmpeg.is_installed():
        reason = error.error_string.strip().rstrip(".")
        raise UserError(
            f"{path}: is not audio that libsndfile can decode ({reason}); m4a, aac, wma and others "
            "need the program ffmpeg"
        ) from error
    yield from ffmpeg.decode(path, warn)


def _rest(path: Path, num_samples: int, rate_hz: int, warn: Warn) -> Iterator[Block]:
    """Yields what ffmpeg decodes of a file after the samples where libsndfile stopped."""
    num_more = 0
    if ffmpeg.is_installed():
        with contextlib.suppress(UserError):  # the samples before are usable
            for block in _after(ffmpeg.decode(path), num_samples):
                num_more += len(block[0])
                yield block
    seconds = (num_samples + num_more) / max(rate_hz, 1)
    warn(f"{path}: is cut short or damaged; the {seconds:.1f} s that can be decoded are used")


def _after(blocks: Iterator[Block], num_samples: int) -> Iterator[Block]:
    """Yields the samples of the blocks after the first `num_samples`."""
    for samples, rate_hz in blocks:
        skipped = min(num_samples, len(samples))
        num_samples -= skipped
        if skipped < len(samples):
            yield samples[skipped:], rate_hz

"""Audio files to mono waveforms: libsndfile decodes, soxr resamples, as `librosa.load` does.

What libsndfile does not know goes through ffmpeg, see there.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from deepgenre import ffmpeg
from deepgenre.errors import UserError

SILENCE_PEAK = 1e-5  # -100 dB re full scale: below the noise of any 16-bit recording
OGG_PAGE_BYTES = 65_307  # at most
RATES_HZ = (1_000, 4_000_000)  # outside, a header lies: resampled, a minute would fill the memory
BLOCK_SAMPLES = 1 << 20  # decoded at a time, of all channels together: a clip is one block
LOADED_SECONDS = 300  # the waveform of a longer file is never whole in memory
LONGEST_SAMPLES = 1 << 35  # nine days at 44,100 Hz: a header that says more does not know
UNRECOGNISED = 1  # libsndfile's code of a format that it does not know
Block = tuple[np.ndarray, int]  # float32 (samples,), mono, and their rate in Hz


def load(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Returns the file's waveform, float32 (samples,), mono, at `sample_rate_hz`.

    The same numbers as `librosa.load(path, sr=sample_rate_hz, mono=True)`: the mean of the
    channels, resampled with soxr's HQ filter. Raises UserError where the file is missing, empty,
    unreadable, not audio, cut short, holds NaN or infinity, is silent, has a senseless header, or
    changes while it is read.
    """
    before = _state(path)
    blocks = list(_blocks(path))
    _check_unchanged(path, before)
    return resample(_joined([mono for mono, _ in blocks]), blocks[0][1], sample_rate_hz)


def pieces(path: Path, sample_rate_hz: int, piece_seconds: float) -> Iterator[np.ndarray]:
    """Yields the waveform that `load` returns, in equal pieces of about `piece_seconds`.

    A file of more than LOADED_SECONDS is read as a stream. Raises UserError as `load` does, but
    where damage lies far into a long file, after the pieces before it.
    """
    before = _state(path)
    piece_samples = piece_seconds * sample_rate_hz
    reading, start, rate_hz, seconds = _blocks(path), [], sample_rate_hz, 0.0
    for mono, rate_hz in reading:
        start.append(mono)
        seconds += mono.size / rate_hz
        if seconds > LOADED_SECONDS:
            break
    reading.close()
    if seconds <= LOADED_SECONDS:
        _check_unchanged(path, before)
        yield from cut(resample(_joined(start), rate_hz, sample_rate_hz), piece_samples)
        return
    del start, mono
    num_samples = _resampled_size(_num_samples(path), rate_hz, sample_rate_hz)
    stream = (mono for mono, _ in _blocks(path))
    stream = _resampled(stream, rate_hz, sample_rate_hz, num_samples)
    yield from _in_sizes(path, stream, _piece_sizes(num_samples, piece_samples))
    _check_unchanged(path, before)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def cut(waveform: np.ndarray, piece_samples: float) -> list[np.ndarray]:
    """Returns a waveform (samples,) as equal pieces of about `piece_samples`."""
    return np.split(waveform, np.cumsum(_piece_sizes(waveform.size, piece_samples)[:-1]))


def _piece_sizes(num_samples: int, piece_samples: float) -> list[int]:
    count = max(1, round(num_samples / piece_samples))
    size, longer = divmod(num_samples, count)
    return [size + (index < longer) for index in range(count)]


def resample(mono: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Returns float32 (samples,) at `to_hz`, by soxr's HQ filter, as long as librosa makes it."""
    if from_hz == to_hz:
        return np.ascontiguousarray(mono)
    resampled = soxr.resample(mono, from_hz, to_hz, quality="HQ")
    missing = _resampled_size(mono.size, from_hz, to_hz) - resampled.size
    # soxr may return one sample more or less than librosa wants.
    return np.pad(resampled, (0, missing)) if missing > 0 else resampled[: resampled.size + missing]


def mixed(samples: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels, float32 (samples,), of float32 (samples, channels)."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if samples.shape[1] == 2:  # the same numbers as the mean's, whose short axis takes 10 x as long
        return 0.5 * (samples[:, 0] + samples[:, 1])
    return samples.mean(axis=1)


def peak(mono: np.ndarray, name: object) -> float:
    """Returns the largest magnitude of samples; 0 where there are none.

    Raises UserError, naming the recording, where samples are NaN or infinite.
    """
    # NaN and infinity come through maximum and minimum: no pass over the samples for them alone.
    largest = max(float(mono.max()), -float(mono.min())) if mono.size else 0.0
    if not np.isfinite(largest):
        raise UserError(f"{name}: holds NaN or infinite samples; export it again")
    return largest


def _resampled_size(num_samples: int, from_hz: int, to_hz: int) -> int:
    return num_samples if from_hz == to_hz else int(np.ceil(num_samples * to_hz / from_hz))


def _resampled(
    blocks: Iterable[np.ndarray], from_hz: int, to_hz: int, num_samples: int
) -> Iterator[np.ndarray]:
    """Yields the numbers of `resample` from blocks."""
    if from_hz == to_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    missing = num_samples
    for block in blocks:
        made = stream.resample_chunk(block)
        missing -= made.size
        yield made
    made = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    missing -= made.size
    # soxr may return one sample more or less than librosa wants.
    yield np.pad(made, (0, missing)) if missing >= 0 else made[: max(0, missing)]


def _in_sizes(
    path: Path, blocks: Iterable[np.ndarray], sizes: Iterable[int]
) -> Iterator[np.ndarray]:
    """Yields the numbers of the blocks, cut into arrays of these sizes."""
    stream, rest = iter(blocks), np.zeros(0, np.float32)
    for size in sizes:
        parts, wanted = [], size
        while wanted:
            if not rest.size:
                rest = next(stream, None)
                if rest is None:
                    raise _wrong_length(path)
            parts.append(rest[:wanted])
            wanted -= parts[-1].size
            rest = rest[parts[-1].size :]
        yield _joined(parts)
    if rest.size or any(block.size for block in stream):
        raise _wrong_length(path)


def _wrong_length(path: Path) -> UserError:
    return UserError(f"{path}: its header is wrong about its length; export it again")


def _num_samples(path: Path) -> int:
    """Returns the length that the header says or, where it says none, that decoding finds."""
    try:
        return soundfile.info(path).frames
    except soundfile.LibsndfileError:  # ffmpeg's
        return sum(mono.size for mono, _ in _blocks(path))


def _blocks(path: Path) -> Generator[Block, None, None]:
    """Yields the file block by block, at least one; UserError where something is wrong with it."""
    num_samples, loudest = 0, 0.0
    for samples, rate_hz in _decoded(path):
        if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
            raise UserError(f"{path}: says that it has {rate_hz} samples a second; export it again")
        mono = mixed(samples)
        loudest = max(loudest, peak(mono, path))
        num_samples += mono.size
        yield mono, rate_hz
    if not num_samples:
        raise UserError(f"{path}: holds no audio samples; remove it or replace it")
    if loudest < SILENCE_PEAK:
        raise UserError(f"{path}: is silent from start to end; there is nothing to hear")


def _decoded(path: Path) -> Iterator[Block]:
    """Yields (float32 (samples, channels), rate in Hz), never without samples."""
    try:
        # Opened here, which tells missing and unreadable files apart from bad audio; unbuffered, as
        # libsndfile reads from the descriptor, where that stands.
        with path.open("rb", buffering=0) as stream:
            if not stream.read(1):
                raise UserError(f"{path}: is empty (0 bytes); copy or download it again")
            stream.seek(0)
            yield from _by_libsndfile(path, stream)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except soundfile.LibsndfileError as error:
        if error.code == UNRECOGNISED and ffmpeg.is_there():
            yield from ffmpeg.decode(path)
            return
        hint = "" if ffmpeg.is_there() else "; m4a, aac, wma and others need the program ffmpeg"
        reason = error.error_string.strip().rstrip(".")
        raise UserError(
            f"{path}: is not audio that libsndfile can decode ({reason}){hint}"
        ) from error


def _by_libsndfile(path: Path, stream: FileIO) -> Iterator[Block]:
    with soundfile.SoundFile(stream.fileno(), closefd=False) as sound:
        if sound.frames > LONGEST_SAMPLES:
            raise UserError(
                f"{path}: its header promises more samples than memory can hold; export it again"
            )
        num_samples = 0
        while len(block := sound.read(BLOCK_SAMPLES // sound.channels, "float32", True)):
            num_samples += len(block)
            yield block, sound.samplerate
        lacks_end = sound.format == "OGG" and _lacks_last_page(stream)
        if lacks_end or _cut_short(sound, num_samples):
            raise UserError(
                f"{path}: is cut short, there is more to it than the file holds; copy or "
                "download it again"
            )


def _cut_short(sound: soundfile.SoundFile, samples_read: int) -> bool:
    """Whether the header promises more than the file holds.

    libsndfile shortens a cut RIFF or AIFF chunk by itself and only says so in its log; a header
    of all ones is what programs write that stream to a pipe, and promises nothing.
    """
    for line in sound.extra_info.splitlines():
        name, _, sizes = line.partition(":")
        promised = sizes.strip().split(" ")[0]
        is_data = name.strip() in ("data", "SSND", "Data Size")
        if is_data and "should be" in sizes and promised not in ("4294967295", "-1"):
            return True
    return samples_read < sound.frames


def _lacks_last_page(stream: FileIO) -> bool:
    """Whether an Ogg stream stops before the whole of a page that says it is the last."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 2 * OGG_PAGE_BYTES))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:
        return True
    sizes = page[27 : 27 + page[26]]
    return len(page) < 27 + page[26] + sum(sizes)


def _state(path: Path) -> tuple[int, ...]:
    """Returns what tells one state of a file from the next."""
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def _check_unchanged(path: Path, before: tuple[int, ...]) -> None:
    if _state(path) != before:
        raise UserError(f"{path}: changed while it was read; wait until it is whole")

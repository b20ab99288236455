"""Audio files to blocks of mono samples: libsndfile decodes, ffmpeg what libsndfile cannot."""

import os
from collections.abc import Generator, Iterator
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile

from deepgenre.audio import ffmpeg
from deepgenre.errors import UserError

SILENCE_PEAK = 1e-5  # -100 dB re full scale: below the noise of any 16-bit recording


OGG_PAGE_BYTES = 65_307  # at most


RATES_HZ = (1_000, 4_000_000)  # outside, a header lies: resampled, a minute would fill the memory


BLOCK_SAMPLES = 1 << 20  # decoded at a time, of all channels together: a clip is one block


LONGEST_SAMPLES = 1 << 35  # nine days at 44,100 Hz: a header that says more does not know


UNRECOGNISED = 1  # libsndfile's code of a format that it does not know


Block = tuple[np.ndarray, int]  # float32 (samples,), mono, and their rate in Hz


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


def blocks(path: Path) -> Generator[Block, None, None]:
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

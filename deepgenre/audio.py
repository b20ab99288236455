"""Audio files to mono waveforms: libsndfile decodes, soxr resamples, as `librosa.load` does."""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from deepgenre.errors import UserError

SILENCE_PEAK = 1e-5  # -100 dB re full scale: below the noise of any 16-bit recording
OGG_PAGE_BYTES = 65_307  # at most
RATES_HZ = (1_000, 4_000_000)  # outside, a header lies: resampled, a minute would fill the memory


def load(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Returns the file's waveform, float32 (samples,), mono, at `sample_rate_hz`.

    The same numbers as `librosa.load(path, sr=sample_rate_hz, mono=True)`: the mean of the
    channels, resampled with soxr's HQ filter. Raises UserError where the file is missing, empty,
    unreadable, not audio, cut short, holds NaN or infinity, is silent, or has a senseless header.
    """
    samples, rate_hz = _decode(path)
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise UserError(f"{path}: says that it has {rate_hz} samples a second; export it again")
    if samples.shape[0] == 0:
        raise UserError(f"{path}: holds no audio samples; remove it or replace it")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    # One sum sees any NaN or infinity: cheaper than a mask over every sample.
    with np.errstate(invalid="ignore"):
        total = mono.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise UserError(f"{path}: holds NaN or infinite samples; export it again")
    if max(mono.max(), -mono.min()) < SILENCE_PEAK:
        raise UserError(f"{path}: is silent from start to end; there is nothing to hear")
    return _resample(mono, rate_hz, sample_rate_hz)


def _decode(path: Path) -> tuple[np.ndarray, int]:
    """Returns samples, float32 (samples, channels), and their rate in Hz."""
    try:
        with path.open("rb") as stream:  # tells missing and unreadable files apart from bad audio
            if not stream.read(1):
                raise UserError(f"{path}: is empty (0 bytes); copy or download it again")
            stream.seek(0)
            with soundfile.SoundFile(stream) as sound:
                samples = sound.read(dtype="float32", always_2d=True)
                lacks_end = sound.format == "OGG" and _lacks_last_page(stream)
                if lacks_end or _cut_short(sound, samples.shape[0]):
                    raise UserError(
                        f"{path}: is cut short, there is more to it than the file holds; copy or "
                        "download it again"
                    )
                return samples, sound.samplerate
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (MemoryError, ValueError) as error:  # of arrays that are too large
        raise UserError(
            f"{path}: its header promises more samples than memory can hold; export it again"
        ) from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise UserError(f"{path}: is not audio that libsndfile can decode ({reason})") from error


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


def _lacks_last_page(stream: BinaryIO) -> bool:
    """Whether an Ogg stream stops before the whole of a page that says it is the last."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 2 * OGG_PAGE_BYTES))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:
        return True
    sizes = page[27 : 27 + page[26]]
    return len(page) < 27 + page[26] + sum(sizes)


def _resample(mono: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    if from_hz == to_hz:
        return np.ascontiguousarray(mono)
    num_samples = int(np.ceil(mono.shape[0] * to_hz / from_hz))
    resampled = soxr.resample(mono, from_hz, to_hz, quality="HQ")
    fitted = np.zeros(num_samples, np.float32)  # soxr may return one sample more or less
    fitted[: resampled.shape[0]] = resampled[:num_samples]
    return fitted

"""Decodes audio files into blocks of mono samples, at the sample rate of the file.

libsndfile decodes; ffmpeg decodes the formats that libsndfile does not recognise, see
`audio.ffmpeg`. `blocks` yields a file in blocks of limited size, so that recordings of hours need
not fit in memory. It raises UserError where a file cannot be read, is empty, not audio, cut short
or silent, contains NaN or infinite samples, or has an implausible header. Nothing is resampled
here, see `audio.waveforms`.
"""

import os
from collections.abc import Callable, Generator, Iterator
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile

from deepgenre.audio import ffmpeg
from deepgenre.errors import UserError

SILENCE_PEAK = 1e-5  # -100 dB relative to full scale: below the noise of any 16-bit recording
OGG_PAGE_BYTES = 65_307  # at most
RATES_HZ = (1_000, 4_000_000)  # plausible; a minute of audio resampled from 1 Hz fills the memory
BLOCK_SAMPLES = 1 << 20  # decoded at once, total over all channels: a clip is one block
MAX_SAMPLES = 1 << 35  # nine days at 44,100 Hz: a header that declares more is wrong
UNRECOGNISED = 1  # libsndfile's error code for an unknown format

Block = tuple[np.ndarray, int]  # samples, float32, and their rate in Hz
# Receives, of each decoded block, the index of its first sample, its samples, float32 (samples,
# channels), and their rate in Hz.
Observe = Callable[[int, np.ndarray, int], None]


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels, float32 (samples,), of float32 (samples, channels)."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if samples.shape[1] == 2:  # equal to the mean, which takes 10 x as long over a short axis
        return 0.5 * (samples[:, 0] + samples[:, 1])
    return samples.mean(axis=1)


def peak(mono: np.ndarray, name: object) -> float:
    """Returns the largest magnitude of the samples; 0 without samples.

    Raises UserError, with the name of the recording, where samples are NaN or infinite.
    """
    # Maximum and minimum propagate NaN and infinity: no separate pass over the samples is needed.
    largest = max(float(mono.max()), -float(mono.min())) if mono.size else 0.0
    if not np.isfinite(largest):
        raise UserError(f"{name}: contains NaN or infinite samples; export it again")
    return largest


def blocks(path: Path, observe: Observe | None = None) -> Generator[Block, None, None]:
    """Yields (mono float32 (samples,), rate in Hz) of the file, at least one block.

    `observe` receives each block before its channels are mixed. Raises UserError, possibly after
    the last block, where the file is unusable.
    """
    num_samples, loudest = 0, 0.0
    for samples, rate_hz in _decoded(path):
        if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
            raise UserError(
                f"{path}: has an implausible sample rate ({rate_hz} Hz); export it again"
            )
        mono = to_mono(samples)
        loudest = max(loudest, peak(mono, path))
        if observe:
            observe(num_samples, samples, rate_hz)
        num_samples += mono.size
        yield mono, rate_hz
    if not num_samples:
        raise UserError(f"{path}: contains no audio samples; remove it or replace it")
    if loudest < SILENCE_PEAK:
        raise UserError(f"{path}: is silent from start to end; remove it or replace it")


def _decoded(path: Path) -> Iterator[Block]:
    """Yields (float32 (samples, channels), rate in Hz) of the file; no block is empty."""
    try:
        # Opened here to distinguish missing and unreadable files from bad audio; unbuffered, as
        # libsndfile reads from the current offset of the descriptor.
        with path.open("rb", buffering=0) as stream:
            if not stream.read(1):
                raise UserError(f"{path}: is empty (0 bytes); copy or download it again")
            stream.seek(0)
            yield from _decode_with_libsndfile(path, stream)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except soundfile.LibsndfileError as error:
        if error.code == UNRECOGNISED and ffmpeg.is_installed():
            yield from ffmpeg.decode(path)
            return
        hint = "" if ffmpeg.is_installed() else "; m4a, aac, wma and others need the program ffmpeg"
        reason = error.error_string.strip().rstrip(".")
        raise UserError(
            f"{path}: is not audio that libsndfile can decode ({reason}){hint}"
        ) from error


def _decode_with_libsndfile(path: Path, stream: FileIO) -> Iterator[Block]:
    with soundfile.SoundFile(stream.fileno(), closefd=False) as sound:
        if sound.frames > MAX_SAMPLES:
            raise UserError(
                f"{path}: its header declares more samples than memory can hold; export it again"
            )
        num_samples = 0
        while len(block := sound.read(BLOCK_SAMPLES // sound.channels, "float32", True)):
            num_samples += len(block)
            yield block, sound.samplerate
        lacks_end = sound.format == "OGG" and _lacks_last_page(stream)
        if lacks_end or _cut_short(sound, num_samples):
            raise UserError(f"{path}: is cut short, its end is missing; copy or download it again")


def _cut_short(sound: soundfile.SoundFile, samples_read: int) -> bool:
    """Returns whether the header declares more samples than the file contains.

    libsndfile shortens the declared size of a truncated RIFF or AIFF chunk and reports this only in
    its log. A size of all ones means "unknown": programs write it when they stream to a pipe.
    """
    for line in sound.extra_info.splitlines():
        name, _, sizes = line.partition(":")
        declared_size = sizes.strip().split(" ")[0]
        is_data = name.strip() in ("data", "SSND", "Data Size")
        if is_data and "should be" in sizes and declared_size not in ("4294967295", "-1"):
            return True
    return samples_read < sound.frames


def _lacks_last_page(stream: FileIO) -> bool:
    """Returns whether an Ogg stream ends before the end of a page that is marked as the last."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 2 * OGG_PAGE_BYTES))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:
        return True
    sizes = page[27 : 27 + page[26]]
    return len(page) < 27 + page[26] + sum(sizes)

"""Descriptors of a song beside its tags: tempo, key, loudness, acoustic fingerprints.

A `Describer` observes the blocks of one decoding, so that a file is decoded once for tags and
descriptors. Each descriptor keeps a few numbers per frame, at most 25 MB an hour.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import soxr

from deepgenre.audio import acoustic_fingerprint, chromaprint, decoding, key, loudness, tempo
from deepgenre.audio.frame_stream import FrameStream
from deepgenre.errors import look_up

Descriptor = float | str | None
RATE_HZ = 11_025  # of tempo, key and fingerprints
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "tempo": ("tempo_bpm",),
    "key": ("key",),
    "loudness": ("loudness_lufs", "true_peak_dbtp", "replaygain_db"),
    "fingerprint": ("acoustic_fingerprint",),
    "chromaprint": ("chromaprint",),
}
TEXT_COLUMNS = frozenset({"key", "acoustic_fingerprint", "chromaprint"})
UNITS = {
    "tempo_bpm": "BPM",
    "key": "",
    "loudness_lufs": "LUFS",
    "energy": "energy",
}  # on the terminal
DECIMALS = {"energy": 2}  # likewise; 1 for others


def check(names: Sequence[str]) -> None:
    """Raises UserError that names a descriptor which does not exist, or what it needs."""
    for name in names:
        look_up(COLUMNS, name, "--describe")
    if "chromaprint" in names:
        chromaprint.load_library()


def columns(names: Sequence[str]) -> list[str]:
    """Returns the columns of the named descriptors, in the order of COLUMNS."""
    return [column for name, group in COLUMNS.items() if name in names for column in group]


def text(values: Mapping[str, Descriptor]) -> list[str]:
    """Returns the values for the terminal, with units; '-' where one is unknown."""
    shown = {name: values[name] for name in UNITS if name in values}
    numbers = (f"{v:.{DECIMALS.get(name, 1)}f}" if isinstance(v, float) else v or "-"
               for name, v in shown.items())  # fmt: skip
    return [f"{n} {UNITS[name]}".strip() for name, n in zip(shown, numbers, strict=True)]


class Describer:
    """Computes the named descriptors of a recording that arrives in blocks."""

    def __init__(self, names: Sequence[str]) -> None:
        """Starts a recording; `names`: of COLUMNS."""
        self._names = names
        self._num_samples = 0
        self._streams: dict[str, FrameStream | chromaprint.Stream] = {
            name: FrameStream(analyse, span, hop, longest)
            for name, (analyse, span, hop, longest) in ANALYSES.items()
            if name in names
        }
        if "chromaprint" in names:
            self._streams["chromaprint"] = chromaprint.Stream()
        self._meter: loudness.Meter | None = None
        self._resampler: soxr.ResampleStream | None = None

    def observe(self, start: int, samples: np.ndarray, rate_hz: int) -> None:
        """Adds the samples, float32 (samples, channels), from index `start` of the recording.

        Samples that were added before are skipped: the beginning of a long file is decoded twice.
        """
        samples = samples[max(0, self._num_samples - start) :]
        if not len(samples):
            return
        self._num_samples += len(samples)
        if "loudness" in self._names:
            self._meter = self._meter or loudness.Meter(rate_hz, samples.shape[1])
            self._meter.add(_with_channels(samples, self._meter.channels))
        if self._streams:
            self._resampler = self._resampler or soxr.ResampleStream(
                rate_hz, RATE_HZ, 1, dtype="float32", quality="MQ"
            )
            self._add_to_streams(self._resampler.resample_chunk(decoding.to_mono(samples)))

    def _add_to_streams(self, mono: np.ndarray) -> None:
        for stream in self._streams.values():
            stream.add(mono)

    def values(self) -> dict[str, Descriptor]:
        """Ends the recording; returns a value per column, None where it is too short or silent."""
        if self._resampler:
            self._add_to_streams(self._resampler.resample_chunk(np.zeros(0, "f4"), last=True))
        frame_values = {name: stream.values() for name, stream in self._streams.items()}
        values: dict[str, Descriptor] = dict.fromkeys(columns(self._names))
        for name, estimate in ESTIMATES.items():
            if (of_frames := frame_values.get(name)) is not None:
                values[COLUMNS[name][0]] = estimate(of_frames)
        if self._meter:
            result = self._meter.result()
            numbers = (result.integrated_lufs, result.true_peak_dbtp, result.replaygain_db)
            values |= dict(zip(COLUMNS["loudness"], map(_rounded, numbers), strict=True))
        return values


def encode_fingerprint(fingerprint: np.ndarray) -> str:
    """Returns the text of a fingerprint, uint32 (frames,): base64 of its little-endian bytes."""
    return base64.b64encode(fingerprint.astype("<u4").tobytes()).decode()


def decode_fingerprint(text: str) -> np.ndarray:
    """Returns the fingerprint, uint32 (frames,), of its text."""
    return np.frombuffer(base64.b64decode(text), "<u4")


def _with_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """Returns samples (samples, any) with a number of channels: the mean in each if it differs."""
    if samples.shape[1] == channels:
        return samples
    return np.repeat(decoding.to_mono(samples)[:, None], channels, axis=1)


def _rounded(value: float | None) -> float | None:
    """Returns a value to 0.01; None where it is unknown or infinite (the peak of silence)."""
    return round(value, 2) if value is not None and math.isfinite(value) else None


def _rounded_tempo(onsets: np.ndarray) -> float | None:
    return _rounded(tempo.estimate(onsets))


# Values of frames, the samples they need and are apart, and the largest number of frames.
ANALYSES = {
    "tempo": (tempo.onset_strength, tempo.SPAN_SAMPLES, tempo.HOP_SAMPLES, None),
    "key": (key.pitch_histogram, key.SPAN_SAMPLES, key.HOP_SAMPLES, None),
    "fingerprint": (
        acoustic_fingerprint.sub_fingerprints,
        acoustic_fingerprint.SPAN_SAMPLES,
        acoustic_fingerprint.HOP_SAMPLES,
        acoustic_fingerprint.MAX_FRAMES,
    ),
}
ESTIMATES: Mapping[str, Callable[[Any], Descriptor]] = {
    "tempo": _rounded_tempo,
    "key": key.estimate,
    "fingerprint": encode_fingerprint,
    "chromaprint": str,  # encoded already
}

"""Waveforms as files, and what is measured of them: level, loudness, how much it is like noise."""

import math
from pathlib import Path

import numpy as np

from deepgenre.audio import loudness
from deepgenre.audio.mel import hann_window
from deepgenre.audio.spectrum import stft
from deepgenre.files import for_soundfile, replacing

LARGEST_PEAK = 0.99  # of full scale
FRAME_SAMPLES = 2048
AUDIBLE_DB = 60.0  # frames this far below the loudest are left out of the flatness


def limited(waveform: np.ndarray) -> np.ndarray:
    """Returns the waveform, with its level lowered where it would exceed full scale."""
    return waveform * min(1.0, LARGEST_PEAK / max(float(np.abs(waveform).max()), 1e-9))


def at_peak(waveform: np.ndarray, peak: float = 0.5) -> np.ndarray:
    """Returns the waveform at a level at which its largest sample is `peak`."""
    return waveform * (peak / max(float(np.abs(waveform).max()), 1e-9))


def write(path: Path, waveform: np.ndarray, rate_hz: int) -> None:
    """Writes a waveform, float32 (samples,), clipped to -1..1, as 16-bit .wav or .flac."""
    import soundfile

    clipped, kind = np.clip(waveform, -1, 1), path.suffix[1:].upper()
    with replacing(path) as temporary:
        soundfile.write(for_soundfile(temporary), clipped, rate_hz, "PCM_16", format=kind)


def measure(waveform: np.ndarray, rate_hz: int) -> dict[str, float | None]:
    """Returns peak in dBFS, loudness in LUFS, and spectral flatness, each None if it is silent."""
    meter = loudness.Meter(rate_hz, 1)
    meter.add(waveform[:, None])
    peak = float(np.abs(waveform).max(initial=0))
    return {
        "peak_dbfs": _rounded(20 * math.log10(peak)) if peak else None,
        "loudness_lufs": _rounded(meter.result().integrated_lufs),
        "spectral_flatness": _rounded(flatness(waveform)),
    }


def flatness(waveform: np.ndarray) -> float | None:
    """Returns the median over audible frames of the geometric by the arithmetic mean of power.

    About 0.56 for white noise (the power of a single frame varies), 0 for a tone; None for silence.
    """
    spectrum = stft(waveform, hann_window(FRAME_SAMPLES), FRAME_SAMPLES // 2)
    power = np.square(np.abs(spectrum)).astype(float)
    energy = power.mean(axis=1)
    audible = power[energy > max(energy.max() * 10 ** (-AUDIBLE_DB / 10), 1e-12)]
    if not len(audible):
        return None
    geometric = np.exp(np.log(np.maximum(audible, 1e-20)).mean(axis=1))
    return float(np.median(geometric / audible.mean(axis=1)))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

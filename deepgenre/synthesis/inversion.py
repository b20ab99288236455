"""Mel power to a waveform: linear magnitudes by a non-negative fit, phases by fast Griffin-Lim.

A front end may step by nearly a whole frame (GTZAN: a hop of 1,712 samples, frames of 2,048), from
which no phase can be recovered. Magnitudes are therefore interpolated to a hop of at most a quarter
of a frame. Two ways, `from_mel_power` without and `changed` with a waveform to begin with.
"""

import numpy as np

from deepgenre.audio.frontend import FrontEnd, window_and_filters
from deepgenre.audio.mel import SMALLEST_POWER, power_to_db
from deepgenre.audio.spectrum import istft, stft

FIT_STEPS = 200
PHASE_STEPS = 60
MOMENTUM = 0.99  # of fast Griffin-Lim, as recommended by its authors
MAX_GAIN_DB = 40.0  # of a band relative to the waveform that is changed
CORRECTIONS = 3  # rounds in which the gains follow what the front end measures


def synthesis_hop(frontend: FrontEnd) -> int:
    """Returns the hop in samples at which phases are recovered: at most a quarter of a frame."""
    return frontend.hop_length // -(-4 * frontend.hop_length // frontend.n_fft)


def mel_power(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns mel power, float32 (1 + samples // hop_length, n_mels), of a waveform (samples,)."""
    window, filters = window_and_filters(frontend)
    return np.square(np.abs(stft(waveform, window, frontend.hop_length))) @ filters


def linear_power(power: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns power per FFT bin, float32 (frames, bins), whose mel bands are `power`.

    Of the many solutions, the one that multiplicative updates reach from equal power in all bins of
    a frame; they lower the Kullback-Leibler divergence (D. Lee and H. S. Seung, 1999), which fits
    quiet bands as well as loud ones. Bins that no band covers are 0.
    """
    _, filters = window_and_filters(frontend)
    coverage = filters.sum(axis=1)
    share = filters / np.maximum(coverage, 1e-12)[:, None]  # (bins, bands)
    power = np.maximum(power, SMALLEST_POWER).astype(np.float32)
    fitted = np.where(coverage > 0, power.mean(axis=1, keepdims=True), 0).astype(np.float32)
    for _ in range(FIT_STEPS):
        fitted *= (power / np.maximum(fitted @ filters, SMALLEST_POWER)) @ share.T
    return fitted


def from_mel_power(
    power: np.ndarray, frontend: FrontEnd, *, seed: int = 0, steps: int = PHASE_STEPS
) -> np.ndarray:
    """Returns a waveform, float32 ((frames - 1) * hop_length,), with this mel power.

    power: (frames, n_mels), as by `mel_power`. Phases begin at random.
    """
    num_samples = (len(power) - 1) * frontend.hop_length
    hop = synthesis_hop(frontend)
    decibels = power_to_db(linear_power(power, frontend))
    fine = _interpolated(decibels, frontend, 1 + num_samples // hop)
    magnitudes = 10 ** (fine / 20)
    phases = np.random.default_rng(seed).uniform(-np.pi, np.pi, magnitudes.shape)
    return griffin_lim(magnitudes * np.exp(1j * phases), frontend, num_samples, steps)


def changed(waveform: np.ndarray, power: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns the waveform, float32 (samples,), with its mel power changed to `power`.

    The spectrum is multiplied by gains per band and frame, of at most MAX_GAIN_DB, and keeps its
    phases. Gains are corrected by what the front end measures of the result, CORRECTIONS times.
    """
    window, _ = window_and_filters(frontend)
    hop = synthesis_hop(frontend)
    spectrum = stft(waveform, window, hop)
    gains_db, result = np.zeros(power.shape, np.float32), waveform
    for _ in range(1 + CORRECTIONS):
        gains_db += power_to_db(power) - power_to_db(mel_power(result, frontend))
        gains_db = np.clip(gains_db, -MAX_GAIN_DB, MAX_GAIN_DB)
        fine_db = _interpolated(_per_bin(gains_db, frontend), frontend, len(spectrum))
        result = istft(spectrum * 10 ** (fine_db / 20), window, hop, waveform.size)
    return result


def griffin_lim(
    spectrum: np.ndarray, frontend: FrontEnd, num_samples: int, steps: int
) -> np.ndarray:
    """Returns a waveform, float32 (num_samples,), with the magnitudes of a spectrum.

    spectrum: complex (frames, bins) at `synthesis_hop`, with the phases to begin with. Fast
    Griffin-Lim (N. Perraudin, P. Balazs and P. Soendergaard, WASPAA 2013).
    """
    window, _ = window_and_filters(frontend)
    hop, magnitudes = synthesis_hop(frontend), np.abs(spectrum)
    ahead, before = spectrum, spectrum
    for _ in range(steps):
        consistent = stft(istft(_with(magnitudes, ahead), window, hop, num_samples), window, hop)
        ahead, before = consistent + MOMENTUM * (consistent - before), consistent
    return istft(_with(magnitudes, ahead), window, hop, num_samples)


def spectral_convergence(waveform: np.ndarray, power: np.ndarray, frontend: FrontEnd) -> float:
    """Returns how far the mel magnitudes of a waveform are from those wanted, 0 if equal.

    The Frobenius norm of the difference of magnitudes relative to that of the wanted ones.
    """
    wanted = np.sqrt(power)
    measured = np.sqrt(mel_power(waveform, frontend)[: len(power)])
    return float(np.linalg.norm(measured - wanted[: len(measured)]) / np.linalg.norm(wanted))


def _with(magnitudes: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Returns the magnitudes with the phases of a spectrum."""
    return magnitudes * spectrum / np.maximum(np.abs(spectrum), 1e-12)


def _per_bin(gains_db: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns gains per bin, (frames, bins): of the bands that cover it, weighted by their share.

    0 dB where no band does.
    """
    _, filters = window_and_filters(frontend)
    coverage = filters.sum(axis=1)
    share = filters / np.maximum(coverage, 1e-12)[:, None]
    return gains_db @ share.T


def _interpolated(values: np.ndarray, frontend: FrontEnd, num_frames: int) -> np.ndarray:
    """Returns values (frames, any) of the front end's frames at `num_frames` of the finer hop."""
    position = np.arange(num_frames) * (synthesis_hop(frontend) / frontend.hop_length)
    position = np.minimum(position, len(values) - 1)
    first = np.minimum(position.astype(int), max(len(values) - 2, 0))
    weight = (position - first)[:, None].astype(np.float32)
    second = np.minimum(first + 1, len(values) - 1)
    return values[first] * (1 - weight) + values[second] * weight

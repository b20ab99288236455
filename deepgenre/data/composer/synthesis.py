"""Synthetic tones: functions of a numpy Generator, frequency, duration and sample rate.

Harmonic tones are sums of harmonics with time-varying amplitudes: a plucked string, a reed and a
filtered sawtooth differ only in the amplitude function of (time, harmonic). Inharmonic tones, e.g.
bells, use frequency modulation (Chowning, 1973). Only numpy is imported, so that worker processes
start quickly.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

# Amplitude by time in seconds (moments, 1), harmonic number (harmonics,) and frequency in Hz.
Amplitude = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

_PERIOD_SAMPLES = 4096  # of a wavetable; long enough that lookup without interpolation is inaudible
_MAX_HARMONICS = 80
_NUM_SPECTRA = 12  # computed per note; interpolated in between


def filtered(
    signal: np.ndarray, sample_rate_hz: int, gain: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Returns `signal`, float32 (samples,), zero-phase filtered with gain(frequencies in Hz)."""
    size = fft_size(len(signal))
    frequencies_hz = np.fft.rfftfreq(size, 1 / sample_rate_hz).astype(np.float32)
    spectrum = np.fft.rfft(signal, size) * gain(frequencies_hz)
    return np.fft.irfft(spectrum, size)[: len(signal)]


def fft_size(count: int) -> int:
    """Returns a fast FFT size, at least `count` and at most an eighth larger."""
    unit = 1 << max(count.bit_length() - 4, 0)
    return -(-count // unit) * unit


def band(low_hz: float, high_hz: float, frequencies_hz: np.ndarray) -> np.ndarray:
    """Returns the gains of a band-pass filter with slopes of 12 dB per octave."""
    above = 1 / (1 + (low_hz / np.maximum(frequencies_hz, 1e-3)) ** 2)
    return above / (1 + (frequencies_hz / high_hz) ** 2)


def faded(signal: np.ndarray, sample_rate_hz: int, attack_seconds: float, release_seconds: float):
    """Returns `signal` with a linear fade-in and a linear fade-out."""
    remaining = np.arange(len(signal), 0, -1) / (max(release_seconds, 1e-3) * sample_rate_hz)
    elapsed = np.arange(len(signal)) / (max(attack_seconds, 1e-3) * sample_rate_hz)
    return (signal * np.minimum(1, np.minimum(elapsed, remaining))).astype(np.float32)


def harmonic_tone(
    generator: np.random.Generator,
    frequency_hz: float,
    seconds: float,
    sample_rate_hz: int,
    amplitude: Amplitude,
    *,
    vibrato_cents: float = 0.0,
    voices: int = 1,
    detune_cents: float = 0.0,
) -> np.ndarray:
    """Returns float32 (samples,): harmonics below Nyquist with `amplitude`, not normalised.

    Spectra at _NUM_SPECTRA times, denser at the start of the note, become wavetables. Each voice
    reads them at its own pitch, with linear interpolation between consecutive tables.
    """
    count = max(1, round(seconds * sample_rate_hz))
    highest = np.clip(int(0.45 * sample_rate_hz / frequency_hz), 1, _MAX_HARMONICS)
    harmonics = np.arange(1, highest + 1)
    moments = seconds * np.linspace(0, 1, _NUM_SPECTRA)[:, None] ** 2
    spectra = np.zeros((_NUM_SPECTRA, _PERIOD_SAMPLES // 2 + 1), np.complex64)
    phases = generator.random(highest)
    spectra[:, 1 : highest + 1] = amplitude(moments, harmonics, frequency_hz)
    spectra[:, 1 : highest + 1] *= np.exp(2j * np.pi * phases)
    tables = np.fft.irfft(spectra, norm="forward")

    position = np.sqrt(np.arange(count) / count) * (_NUM_SPECTRA - 1)
    table = position.astype(np.intp)
    weight = (position - table).astype(np.float32)
    table *= _PERIOD_SAMPLES
    times = np.arange(count) / sample_rate_hz
    tone = np.zeros(count, np.float32)
    for voice in range(voices):
        cents = detune_cents * (2 * voice / max(voices - 1, 1) - (voices > 1))
        cycles = times * frequency_hz * 2 ** (cents / 1200) + generator.random()
        if vibrato_cents:
            vibrato_hz = generator.uniform(4.8, 6.2)
            depth = frequency_hz * (2 ** (vibrato_cents / 1200) - 1) / (2 * np.pi * vibrato_hz)
            cycles += depth * np.minimum(1, times / 0.3) * np.sin(2 * np.pi * vibrato_hz * times)
        # Vibrato can make the phase negative; & wraps negative numbers correctly too.
        sample = table + ((cycles * _PERIOD_SAMPLES).astype(np.intp) & (_PERIOD_SAMPLES - 1))
        current = tables.take(sample)
        tone += current + weight * (tables.take(sample + _PERIOD_SAMPLES) - current)
    return tone


def plucked(
    generator: np.random.Generator,
    frequency_hz: float,
    seconds: float,
    sample_rate_hz: int,
    *,
    position: float,
    decay_hz: float,
    damping_hz: float,
    voices: int = 1,
) -> np.ndarray:
    """Returns float32 (samples,): a string plucked or struck at `position` of its length.

    Harmonic k decays as exp(-t (decay_hz + damping_hz k)), so that the tone gets darker.
    """

    def amplitude(times: np.ndarray, harmonics: np.ndarray, hz: float) -> np.ndarray:
        rate = (decay_hz + damping_hz * harmonics) * (hz / 220) ** 0.5
        return np.sin(np.pi * position * harmonics) / harmonics * np.exp(-times * rate)

    total = seconds + 0.08
    tone = harmonic_tone(
        generator, frequency_hz, total, sample_rate_hz, amplitude, voices=voices, detune_cents=2
    )
    return faded(tone, sample_rate_hz, 0.002, 0.08)


def sustained(
    generator: np.random.Generator,
    frequency_hz: float,
    seconds: float,
    sample_rate_hz: int,
    *,
    attack_seconds: float,
    release_seconds: float,
    slope: float,
    even: float = 1.0,
    formants_hz: tuple[float, ...] = (),
    vibrato_cents: float = 0.0,
    voices: int = 1,
    detune_cents: float = 0.0,
    breath: float = 0.0,
) -> np.ndarray:
    """Returns float32 (samples,): a bowed, blown or sung tone.

    Harmonic k has amplitude k**-slope, times `even` for even k, with peaks at the formants; the
    tone gets brighter during the attack. `breath` is the level of noise above the fundamental.
    """

    def amplitude(times: np.ndarray, harmonics: np.ndarray, hz: float) -> np.ndarray:
        opening = np.exp(-times / max(attack_seconds, 0.01))
        level = harmonics ** -(slope + opening) * np.where(harmonics % 2, 1.0, even)
        if formants_hz:
            distance = (harmonics[:, None] * hz - np.array(formants_hz)) / 180
            level = level * (0.12 + np.exp(-(distance**2)).sum(axis=1))
        return level

    tone = harmonic_tone(
        generator,
        frequency_hz,
        seconds + release_seconds,
        sample_rate_hz,
        amplitude,
        vibrato_cents=vibrato_cents,
        voices=voices,
        detune_cents=detune_cents,
    )
    if breath:
        noise = generator.standard_normal(len(tone), np.float32)
        tone += breath * filtered(noise, sample_rate_hz, partial(band, frequency_hz, 5000))
    return faded(tone, sample_rate_hz, attack_seconds, release_seconds)


def organ(
    generator: np.random.Generator,
    frequency_hz: float,
    seconds: float,
    sample_rate_hz: int,
    *,
    drawbars: tuple[float, ...],
    vibrato_cents: float = 0.0,
) -> np.ndarray:
    """Returns float32 (samples,): an organ; `drawbars` are the amplitudes of harmonics 1, 2, ..."""

    def amplitude(times: np.ndarray, harmonics: np.ndarray, _hz: float) -> np.ndarray:
        levels = np.zeros(max(len(harmonics), len(drawbars)))
        levels[: len(drawbars)] = drawbars
        return levels[: len(harmonics)] * np.ones_like(times)

    tone = harmonic_tone(
        generator, frequency_hz, seconds + 0.05, sample_rate_hz, amplitude,
        vibrato_cents=vibrato_cents,
    )  # fmt: skip
    return faded(tone, sample_rate_hz, 0.01, 0.05)


def subtractive(
    generator: np.random.Generator,
    frequency_hz: float,
    seconds: float,
    sample_rate_hz: int,
    *,
    cutoff_hz: tuple[float, float],
    closing_seconds: float,
    resonance: float,
    attack_seconds: float = 0.003,
    release_seconds: float = 0.05,
    even: float = 1.0,
    voices: int = 1,
    detune_cents: float = 8.0,
) -> np.ndarray:
    """Returns float32 (samples,): a sawtooth (even=0: square) through a resonant low-pass.

    The cutoff falls from the first to the second of `cutoff_hz` with time constant
    closing_seconds; the initial cutoff varies randomly from note to note.
    """
    open_hz = cutoff_hz[1] + (cutoff_hz[0] - cutoff_hz[1]) * generator.uniform(0.6, 1.2)

    def amplitude(times: np.ndarray, harmonics: np.ndarray, hz: float) -> np.ndarray:
        cutoff = cutoff_hz[1] + (open_hz - cutoff_hz[1]) * np.exp(-times / closing_seconds)
        ratio = harmonics * hz / cutoff
        response = 1 / np.sqrt((1 - ratio**2) ** 2 + (ratio / resonance) ** 2)
        return np.where(harmonics % 2, 1.0, even) / harmonics * response

    tone = harmonic_tone(
        generator, frequency_hz, seconds + release_seconds, sample_rate_hz, amplitude,
        voices=voices, detune_cents=detune_cents,
    )  # fmt: skip
    return faded(tone, sample_rate_hz, attack_seconds, release_seconds)


def modulated(
    generator: np.random.Generator,
    frequency_hz: float,
    seconds: float,
    sample_rate_hz: int,
    *,
    ratio: float,
    index: float,
    decay_seconds: float,
    release_seconds: float = 0.3,
) -> np.ndarray:
    """Returns float32 (samples,): a frequency-modulated tone, e.g. a bell or electric piano.

    The modulator has `ratio` times the carrier frequency; `index` decays twice as fast as the tone.
    """
    times = np.arange(round((seconds + release_seconds) * sample_rate_hz)) / sample_rate_hz
    angle = 2 * np.pi * frequency_hz * times
    modulator = index * np.exp(-2 * times / decay_seconds) * np.sin(ratio * angle)
    phase = 2 * np.pi * generator.random()
    tone = np.sin(angle + modulator + phase) * np.exp(-times / decay_seconds)
    return faded(tone, sample_rate_hz, 0.003, release_seconds)

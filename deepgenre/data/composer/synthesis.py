"""Synthetic tones: pure functions of a numpy Generator, pitch, length and sample rate.

Pitched tones are sums of harmonics whose amplitudes change over the note, so a plucked string, a
reed and a filtered sawtooth differ only in a function of (time, harmonic). Bells and electric
pianos, whose partials are not harmonic, use frequency modulation (Chowning, 1973). All of it is
numpy, so that worker processes start quickly.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

# Amplitude by time in seconds (moments, 1), harmonic number (harmonics,) and frequency in Hz.
Amplitude = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

_PERIOD_SAMPLES = 4096  # of a wavetable: nearest-sample reading stays below the audible
_MAX_HARMONICS = 80
_MOMENTS = 12  # at which a note's spectrum is computed; in between it is interpolated


def filtered(
    signal: np.ndarray, sample_rate_hz: int, gain: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Returns `signal` (samples,) float32 after a zero-phase filter of gain(frequency in Hz)."""
    size = fft_size(len(signal))
    frequencies_hz = np.fft.rfftfreq(size, 1 / sample_rate_hz).astype(np.float32)
    spectrum = np.fft.rfft(signal, size) * gain(frequencies_hz)
    return np.fft.irfft(spectrum, size)[: len(signal)]


def fft_size(count: int) -> int:
    """Returns a number from `count` on, at most an eighth above, of which the FFT is quick."""
    unit = 1 << max(count.bit_length() - 4, 0)
    return -(-count // unit) * unit


def band(low_hz: float, high_hz: float, frequencies_hz: np.ndarray) -> np.ndarray:
    """Returns the gains of a band-pass with slopes of 12 dB an octave."""
    above = 1 / (1 + (low_hz / np.maximum(frequencies_hz, 1e-3)) ** 2)
    return above / (1 + (frequencies_hz / high_hz) ** 2)


def faded(signal: np.ndarray, sample_rate_hz: int, attack_seconds: float, release_seconds: float):
    """Returns `signal` with a linear rise at its start and a linear fall at its end."""
    remaining = np.arange(len(signal), 0, -1) / (max(release_seconds, 1e-3) * sample_rate_hz)
    passed = np.arange(len(signal)) / (max(attack_seconds, 1e-3) * sample_rate_hz)
    return (signal * np.minimum(1, np.minimum(passed, remaining))).astype(np.float32)


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
    """Returns (samples,) float32: harmonics below Nyquist that follow `amplitude`, unnormalised.

    Spectra at _MOMENTS times, closer together at the start of the note, become wavetables that
    every voice reads at its own pitch, cross-fading from one to the next.
    """
    count = max(1, round(seconds * sample_rate_hz))
    highest = np.clip(int(0.45 * sample_rate_hz / frequency_hz), 1, _MAX_HARMONICS)
    harmonics = np.arange(1, highest + 1)
    moments = seconds * np.linspace(0, 1, _MOMENTS)[:, None] ** 2
    spectra = np.zeros((_MOMENTS, _PERIOD_SAMPLES // 2 + 1), np.complex64)
    turns = generator.random(highest)
    spectra[:, 1 : highest + 1] = amplitude(moments, harmonics, frequency_hz)
    spectra[:, 1 : highest + 1] *= np.exp(2j * np.pi * turns)
    tables = np.fft.irfft(spectra, norm="forward")

    position = np.sqrt(np.arange(count) / count) * (_MOMENTS - 1)
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
        # Vibrato may reach back beyond the start, and & turns within the period there too.
        sample = table + ((cycles * _PERIOD_SAMPLES).astype(np.intp) & (_PERIOD_SAMPLES - 1))
        now = tables.take(sample)
        tone += now + weight * (tables.take(sample + _PERIOD_SAMPLES) - now)
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
    """Returns (samples,) float32 of a string plucked or struck at `position` of its length.

    Harmonic k fades as exp(-t (decay_hz + damping_hz k)): the tone darkens as it rings.
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
    """Returns (samples,) float32 of a bowed, blown or sung tone.

    Harmonic k has amplitude k**-slope, even ones times `even`, raised around the formants; the
    tone opens from dark to bright over the attack. `breath` adds noise around the pitch.
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
    """Returns (samples,) float32 of an organ: drawbars are the levels of harmonics 1, 2, ..."""

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
    """Returns (samples,) float32 of a sawtooth (or square: even=0) through a resonant low-pass.

    The cutoff falls from the first to the second of `cutoff_hz` at the rate of closing_seconds;
    how far it opens is drawn a note, as from a player's hand on the knob.
    """
    opened_hz = cutoff_hz[1] + (cutoff_hz[0] - cutoff_hz[1]) * generator.uniform(0.6, 1.2)

    def amplitude(times: np.ndarray, harmonics: np.ndarray, hz: float) -> np.ndarray:
        cutoff = cutoff_hz[1] + (opened_hz - cutoff_hz[1]) * np.exp(-times / closing_seconds)
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
    """Returns (samples,) float32 of a frequency-modulated tone: bells, vibraphone, electric piano.

    The modulator runs at `ratio` times the pitch; its index fades twice as fast as the tone.
    """
    times = np.arange(round((seconds + release_seconds) * sample_rate_hz)) / sample_rate_hz
    angle = 2 * np.pi * frequency_hz * times
    modulator = index * np.exp(-2 * times / decay_seconds) * np.sin(ratio * angle)
    phase = 2 * np.pi * generator.random()
    tone = np.sin(angle + modulator + phase) * np.exp(-times / decay_seconds)
    return faded(tone, sample_rate_hz, 0.003, release_seconds)

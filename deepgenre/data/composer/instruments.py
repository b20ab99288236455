"""Instruments and drums by name, built from the tones of `synthesis`."""

from collections.abc import Callable
from functools import partial

import numpy as np

from deepgenre.data.composer.synthesis import (
    band,
    faded,
    filtered,
    modulated,
    organ,
    plucked,
    subtractive,
    sustained,
)

# (generator, frequency_hz, seconds, sample_rate_hz) -> (samples,) float32 of one note; its release
# follows after `seconds`.
Tone = Callable[[np.random.Generator, float, float, int], np.ndarray]
# (generator, tuning, sample_rate_hz) -> (samples,) float32 of one stroke; `tuning` is a factor on
# the pitch, the same for all drums of a kit.
Drum = Callable[[np.random.Generator, float, int], np.ndarray]


def _decaying(seconds: float, decay_seconds: float, sample_rate_hz: int) -> np.ndarray:
    times = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    return np.exp(-times / decay_seconds)


def _noise_burst(
    generator: np.random.Generator,
    sample_rate_hz: int,
    decay_seconds: float,
    low_hz: float,
    high_hz: float,
) -> np.ndarray:
    fade = _decaying(6 * decay_seconds, decay_seconds, sample_rate_hz)
    noise = generator.standard_normal(len(fade), np.float32)
    shaped = filtered(noise, sample_rate_hz, partial(band, low_hz, high_hz)) * fade
    return shaped / np.abs(shaped).max()


def drum_head(
    generator: np.random.Generator,
    tuning: float,
    sample_rate_hz: int,
    *,
    pitch_hz: float,
    sweep: float,
    decay_seconds: float,
    click: float,
) -> np.ndarray:
    """Returns a drum stroke: a sine falling from (1 + sweep) pitch_hz to pitch_hz, and a click."""
    fade = _decaying(6 * decay_seconds, decay_seconds, sample_rate_hz)
    bend = _decaying(6 * decay_seconds, 0.018, sample_rate_hz)
    pitch = pitch_hz * tuning * generator.uniform(0.98, 1.02) * (1 + sweep * bend)
    stroke = np.sin(2 * np.pi * np.cumsum(pitch) / sample_rate_hz) * fade
    tick = click * _noise_burst(generator, sample_rate_hz, 0.004, 1500, 7000)[: len(stroke)]
    stroke[: len(tick)] += tick
    return faded(stroke, sample_rate_hz, 0.0005, 0.01)


def snare(
    generator: np.random.Generator,
    tuning: float,
    sample_rate_hz: int,
    *,
    pitch_hz: float,
    wires: float,
    decay_seconds: float,
) -> np.ndarray:
    """Returns a snare stroke: a drum stroke and, `wires` times as loud, noise."""
    noise = wires * _noise_burst(generator, sample_rate_hz, decay_seconds, 900 * tuning, 6500)
    tone = drum_head(
        generator, tuning, sample_rate_hz,
        pitch_hz=pitch_hz, sweep=0.6, decay_seconds=0.6 * decay_seconds, click=0.2,
    )  # fmt: skip
    noise[: len(tone)] += tone[: len(noise)]
    return faded(noise / (1 + wires), sample_rate_hz, 0.0005, 0.01)


def cymbal(
    generator: np.random.Generator,
    tuning: float,
    sample_rate_hz: int,
    *,
    low_hz: float,
    decay_seconds: float,
    metal: float,
) -> np.ndarray:
    """Returns a cymbal stroke: noise above low_hz and, `metal` times as loud, inharmonic partials.

    The partials come from a sine, phase-modulated by two others at inharmonic ratios.
    """
    stroke = _noise_burst(generator, sample_rate_hz, decay_seconds, low_hz, 14000)
    angle = 2 * np.pi * tuning / sample_rate_hz * np.arange(len(stroke)) + generator.random()
    modulation = 5 * np.sin(541.3 * angle) + 5 * np.sin(823.7 * angle)
    partials = np.sin(5204.9 * angle + modulation).astype(np.float32)
    stroke += metal * partials * _decaying(6 * decay_seconds, decay_seconds, sample_rate_hz)
    return faded(stroke / (1 + metal), sample_rate_hz, 0.001, 0.01)


def clap(generator: np.random.Generator, tuning: float, sample_rate_hz: int) -> np.ndarray:
    """Returns a hand clap: four noise bursts about 10 ms apart, the last with the longest decay."""
    stroke = np.zeros(round(0.5 * sample_rate_hz), np.float32)
    for index, start_seconds in enumerate((0.0, 0.011, 0.021, 0.03)):
        decay_seconds = 0.07 if index == 3 else 0.006
        burst = _noise_burst(generator, sample_rate_hz, decay_seconds, 900 * tuning, 3000)
        start = round(start_seconds * sample_rate_hz)
        stroke[start : start + len(burst)] += burst
    return faded(stroke, sample_rate_hz, 0.0005, 0.01)


def shaker(generator: np.random.Generator, tuning: float, sample_rate_hz: int) -> np.ndarray:
    """Returns a shaker stroke: high-frequency noise with a slow attack."""
    stroke = _noise_burst(generator, sample_rate_hz, 0.03, 4500 * tuning, 12000)
    return faded(stroke, sample_rate_hz, 0.03, 0.05)


DRUMS: dict[str, Drum] = {
    "kick": partial(drum_head, pitch_hz=58, sweep=2.0, decay_seconds=0.11, click=0.25),
    "tight_kick": partial(drum_head, pitch_hz=66, sweep=3.0, decay_seconds=0.06, click=0.8),
    "electronic_kick": partial(drum_head, pitch_hz=50, sweep=4.5, decay_seconds=0.16, click=0.12),
    "tom": partial(drum_head, pitch_hz=110, sweep=0.5, decay_seconds=0.16, click=0.15),
    "snare": partial(snare, pitch_hz=190, wires=1.0, decay_seconds=0.09),
    "tight_snare": partial(snare, pitch_hz=220, wires=1.4, decay_seconds=0.06),
    "rim": partial(snare, pitch_hz=480, wires=0.25, decay_seconds=0.025),
    "clap": clap,
    "hat": partial(cymbal, low_hz=6500, decay_seconds=0.022, metal=0.2),
    "open_hat": partial(cymbal, low_hz=6000, decay_seconds=0.13, metal=0.3),
    "ride": partial(cymbal, low_hz=5000, decay_seconds=0.28, metal=0.5),
    "crash": partial(cymbal, low_hz=3000, decay_seconds=0.5, metal=0.2),
    "shaker": shaker,
    "brush": partial(cymbal, low_hz=2500, decay_seconds=0.06, metal=0.0),
}

_CHURCH = (1.0, 0.8, 0.25, 0.5, 0.05, 0.2, 0.0, 0.3)
_TONEWHEEL = (1.0, 0.7, 0.9, 0.3, 0.0, 0.2, 0.0, 0.1)
_VOWEL_A, _VOWEL_O = (700.0, 1100.0, 2500.0), (450.0, 800.0, 2600.0)

INSTRUMENTS: dict[str, Tone] = {
    "piano": partial(plucked, position=0.12, decay_hz=1.2, damping_hz=0.35, voices=2),
    "clean_guitar": partial(plucked, position=0.21, decay_hz=2.0, damping_hz=0.5),
    "steel_guitar": partial(plucked, position=0.09, decay_hz=1.2, damping_hz=0.2),
    "muted_guitar": partial(plucked, position=0.15, decay_hz=9.0, damping_hz=1.2),
    "electric_bass": partial(plucked, position=0.17, decay_hz=1.5, damping_hz=0.7),
    "upright_bass": partial(plucked, position=0.3, decay_hz=2.5, damping_hz=1.6),
    "strings": partial(
        sustained, attack_seconds=0.09, release_seconds=0.2, slope=0.9,
        formants_hz=(450, 1100, 2800), vibrato_cents=14, voices=3, detune_cents=9,
    ),
    "violin": partial(
        sustained, attack_seconds=0.06, release_seconds=0.1, slope=0.7,
        formants_hz=(500, 1200, 2900), vibrato_cents=28,
    ),
    "choir": partial(
        sustained, attack_seconds=0.12, release_seconds=0.25, slope=0.9,
        formants_hz=_VOWEL_A, vibrato_cents=20, voices=4, detune_cents=14, breath=0.05,
    ),
    "voice": partial(
        sustained, attack_seconds=0.05, release_seconds=0.1, slope=0.7, formants_hz=_VOWEL_O,
        vibrato_cents=35, breath=0.05,
    ),
    "flute": partial(
        sustained, attack_seconds=0.05, release_seconds=0.08, slope=2.2, vibrato_cents=15,
        breath=0.12,
    ),
    "clarinet": partial(
        sustained, attack_seconds=0.04, release_seconds=0.06, slope=1.1, even=0.1, breath=0.02
    ),
    "saxophone": partial(
        sustained, attack_seconds=0.03, release_seconds=0.05, slope=0.8,
        formants_hz=(600, 1500, 3000), vibrato_cents=12, breath=0.08,
    ),
    "trumpet": partial(
        sustained, attack_seconds=0.03, release_seconds=0.05, slope=0.5,
        formants_hz=(1200, 1800), vibrato_cents=10,
    ),
    "harmonica": partial(
        sustained, attack_seconds=0.02, release_seconds=0.05, slope=0.7, even=0.6,
        formants_hz=(900, 2200), vibrato_cents=22, breath=0.06,
    ),
    "accordion": partial(
        sustained, attack_seconds=0.03, release_seconds=0.06, slope=0.6, voices=2, detune_cents=7
    ),
    "church_organ": partial(organ, drawbars=_CHURCH),
    "tonewheel_organ": partial(organ, drawbars=_TONEWHEEL, vibrato_cents=12),
    "synth_bass": partial(
        subtractive, cutoff_hz=(1400, 180), closing_seconds=0.12, resonance=2.0
    ),
    "acid_bass": partial(subtractive, cutoff_hz=(2400, 150), closing_seconds=0.09, resonance=6.0),
    "sub_bass": partial(subtractive, cutoff_hz=(220, 120), closing_seconds=0.3, resonance=0.8),
    "synth_stab": partial(
        subtractive, cutoff_hz=(4500, 400), closing_seconds=0.1, resonance=1.5, voices=3
    ),
    "synth_lead": partial(
        subtractive, cutoff_hz=(5000, 1800), closing_seconds=0.3, resonance=1.2, even=0.0, voices=2
    ),
    "pad": partial(
        subtractive, cutoff_hz=(1800, 600), closing_seconds=2.5, resonance=0.9,
        attack_seconds=0.8, release_seconds=1.2, voices=3,
    ),
    "glass_pad": partial(
        sustained, attack_seconds=1.0, release_seconds=1.5, slope=1.8, voices=4, detune_cents=11
    ),
    "electric_piano": partial(modulated, ratio=1.0, index=1.6, decay_seconds=0.9),
    "vibraphone": partial(modulated, ratio=4.0, index=0.5, decay_seconds=1.2),
    "bell": partial(modulated, ratio=3.51, index=2.2, decay_seconds=1.8, release_seconds=1.5),
}  # fmt: skip

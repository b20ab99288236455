"""Perturbations, each measured on a synthetic signal."""

import shutil

import numpy as np
import pytest

from deepgenre.audio import perturbations
from deepgenre.audio.perturbations import PERTURBATIONS
from deepgenre.errors import UserError

RATE_HZ = 22_050
SECONDS = 4
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


def changed(change: perturbations.Change, waveform: np.ndarray) -> np.ndarray:
    return change(waveform, RATE_HZ, np.random.default_rng(0))


def seconds() -> np.ndarray:
    return np.arange(SECONDS * RATE_HZ) / RATE_HZ


def tone(hz: float, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * seconds())).astype(np.float32)


def white(deviation: float = 0.1) -> np.ndarray:
    return np.random.default_rng(1).normal(0, deviation, SECONDS * RATE_HZ).astype(np.float32)


def clicks(per_second: float) -> np.ndarray:
    """Returns short decaying bursts of a tone, whose rate tells the tempo."""
    phase = (seconds() * per_second) % 1 / per_second
    return (np.exp(-60 * phase) * np.sin(2 * np.pi * 440 * phase) * 0.5).astype(np.float32)


def decibels(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(waveform, dtype=np.float64))))


def energy(waveform: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Returns the power between two frequencies, in dB."""
    power = np.abs(np.fft.rfft(waveform.astype(np.float64) * np.hanning(waveform.size))) ** 2
    hz = np.fft.rfftfreq(waveform.size, 1 / RATE_HZ)
    return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].sum() + 1e-20))


def peak_hz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(waveform.size)))
    return float(spectrum.argmax() * RATE_HZ / waveform.size)


def bursts_per_second(waveform: np.ndarray) -> float:
    """Returns the strongest rate of the envelope, above 1 Hz."""
    hop = 256
    frames = waveform[: waveform.size // hop * hop].reshape(-1, hop)
    envelope = np.sqrt(np.square(frames).mean(axis=1))
    padded = np.abs(np.fft.rfft(envelope - envelope.mean(), 1 << 15))
    hz = np.fft.rfftfreq(1 << 15, hop / RATE_HZ)
    fundamental = (hz > 1) & (hz < 5)
    return float(hz[fundamental][padded[fundamental].argmax()])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_is_finite_float32_and_leaves_its_input_alone(name):
    row = PERTURBATIONS[name]
    if row.needs_ffmpeg and not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    waveform = clicks(4) + white(0.01)
    before = waveform.copy()
    after = changed(row.change, waveform)
    np.testing.assert_array_equal(waveform, before)
    assert (after.dtype, after.ndim) == (np.float32, 1)
    assert np.isfinite(after).all()
    if row.family != "tempo":
        assert after.size == waveform.size
    assert np.array_equal(after, before) == (name == "unchanged")


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_silence_is_no_error_and_stays_finite(name):
    row = PERTURBATIONS[name]
    if row.needs_ffmpeg and not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    after = changed(row.change, np.zeros(RATE_HZ, np.float32))
    assert np.abs(after).max() < 1e-3


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_noise_has_its_share_of_the_peak(share):
    music = tone(440)
    added = changed(perturbations.noise(share), music) - np.float32(1 - share) * music
    assert np.abs(added).max() == pytest.approx(share * np.abs(music).max(), rel=1e-4)
    halves = energy(added, 0, RATE_HZ / 4) - energy(added, RATE_HZ / 4, RATE_HZ / 2)
    assert halves == pytest.approx(0, abs=0.5)  # white


def test_noise_depends_on_the_generator_only():
    change, music = perturbations.noise(0.1), tone(440)
    np.testing.assert_array_equal(changed(change, music), changed(change, music))
    other = change(music, RATE_HZ, np.random.default_rng(1))
    assert not np.array_equal(other, changed(change, music))


@pytest.mark.parametrize("semitones", [-1, 1])
def test_pitch_moves_by_semitones_at_unchanged_tempo(semitones):
    change = perturbations.pitch(semitones)
    moved = 12 * np.log2(peak_hz(changed(change, tone(440))) / 440)
    assert moved == pytest.approx(semitones, abs=0.05)
    assert bursts_per_second(changed(change, clicks(3))) == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("factor", [2**-0.5, 2**0.5])
def test_tempo_changes_by_a_factor_at_unchanged_pitch(factor):
    change = perturbations.tempo(factor)
    faster = changed(change, clicks(2.5))
    assert bursts_per_second(faster) == pytest.approx(2.5 * factor, rel=0.02)
    assert faster.size == pytest.approx(SECONDS * RATE_HZ / factor, abs=2)
    assert peak_hz(changed(change, tone(440))) == pytest.approx(440, rel=0.003)


def test_gain_in_decibels():
    music = tone(440, 0.2)
    assert decibels(changed(perturbations.gain(-20), music)) == pytest.approx(
        decibels(music) - 20, abs=0.01
    )
    louder = changed(perturbations.gain(12), music)
    assert np.abs(louder).max() == pytest.approx(0.2 * 10 ** (12 / 20), rel=1e-3)


def test_gain_beyond_full_scale_is_clipped():
    louder = changed(perturbations.gain(12), tone(440, 0.5))
    assert np.abs(louder).max() == 1
    assert (np.abs(louder) == 1).mean() > 0.5
    assert energy(louder, 1300, 1340) > energy(tone(440, 0.5), 1300, 1340) + 40  # 3rd harmonic


@pytest.mark.parametrize("cutoff_hz", [2000, 4000])
def test_low_pass_removes_what_is_above_the_cutoff(cutoff_hz):
    noise = white()
    after = changed(perturbations.low_pass(cutoff_hz), noise)

    def drop(low_hz: float, high_hz: float) -> float:
        return energy(noise, low_hz, high_hz) - energy(after, low_hz, high_hz)

    assert drop(100, 0.8 * cutoff_hz) == pytest.approx(0, abs=0.2)
    assert drop(0.99 * cutoff_hz, 1.01 * cutoff_hz) == pytest.approx(3, abs=0.5)
    assert drop(2 * cutoff_hz, RATE_HZ / 2) > 45  # 8 x 6 dB per octave


def test_low_pass_above_half_the_rate_changes_nothing():
    np.testing.assert_array_equal(
        changed(perturbations.low_pass(RATE_HZ / 2), tone(440)), tone(440)
    )


@needs_ffmpeg
@pytest.mark.parametrize("setting", perturbations.COMPRESSORS)
def test_compression_lowers_the_dynamic_range(setting):
    loud_then_quiet = tone(440, 0.8) * np.where(seconds() < SECONDS / 2, 1, 0.005)
    after = changed(perturbations.compression(setting), loud_then_quiet.astype(np.float32))

    def dynamic_range(waveform: np.ndarray) -> float:
        half, margin = SECONDS * RATE_HZ // 2, RATE_HZ  # attack and decay have passed
        return decibels(waveform[margin // 2 : half - margin // 2]) - decibels(
            waveform[half + margin :]
        )

    assert dynamic_range(loud_then_quiet) == pytest.approx(46, abs=0.5)
    assert 5 < dynamic_range(after) < 36


@needs_ffmpeg
@pytest.mark.parametrize(("kilobits", "highest_hz"), [(32, 9000), (16, 6000)])
def test_mp3_at_low_bitrates_has_no_high_frequencies(kilobits, highest_hz):
    music = clicks(4) + white(0.02)
    after = changed(perturbations.mp3(kilobits), music)
    assert energy(after, highest_hz, 10_000) < energy(music, highest_hz, 10_000) - 40
    assert energy(after, 200, 4000) == pytest.approx(energy(music, 200, 4000), abs=1)
    fine = changed(perturbations.mp3(128), music)
    assert energy(fine, highest_hz, 10_000) > energy(music, highest_hz, 10_000) - 1


@needs_ffmpeg
def test_a_failure_of_ffmpeg_is_one_line(monkeypatch):
    monkeypatch.setitem(perturbations.COMPRESSORS, "wrong", "no points")
    with pytest.raises(UserError, match=r"ffmpeg: cannot change the audio \(.+\); install"):
        changed(perturbations.compression("wrong"), tone(440))

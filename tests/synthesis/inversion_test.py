"""From mel power back to a waveform: what the front end measures of it is what was given."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre.audio import waveforms
from deepgenre.audio.frontend import FrontEnd, window_and_filters
from deepgenre.audio.spectrum import istft, stft
from deepgenre.synthesis import inversion

MUSICNN = FrontEnd(kind="musicnn", sample_rate_hz=16_000, n_fft=512, hop_length=256, n_mels=96)
FRONT_ENDS = [FrontEnd(hop_length=1712), FrontEnd(n_mels=64), MUSICNN]


def music(frontend: FrontEnd, seconds: float = 3.0) -> np.ndarray:
    """Three notes with harmonics, and some noise."""
    time = np.arange(round(seconds * frontend.sample_rate_hz)) / frontend.sample_rate_hz
    hz = np.repeat([220.0, 330.0, 440.0], -(-len(time) // 3))[: len(time)]
    phase = 2 * np.pi * np.cumsum(hz) / frontend.sample_rate_hz
    notes = sum(np.sin(phase * harmonic) / harmonic for harmonic in range(1, 6))
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    return (0.2 * notes + noise).astype(np.float32)


@pytest.mark.parametrize("frontend", FRONT_ENDS, ids=lambda f: f.store_id)
def test_stft_at_the_synthesis_hop_inverts(frontend):
    waveform, hop = music(frontend), inversion.synthesis_hop(frontend)
    assert hop <= frontend.n_fft / 4
    window, _ = window_and_filters(frontend)
    again = istft(stft(waveform, window, hop), window, hop, waveform.size)
    np.testing.assert_allclose(again, waveform, atol=1e-5)


@pytest.mark.parametrize("hop", [1, 100, 441, 1711, 2048, 5000])
def test_any_hop_has_a_synthesis_hop(hop):
    assert 1 <= inversion.synthesis_hop(FrontEnd(hop_length=hop)) <= 512


@pytest.mark.parametrize("frontend", FRONT_ENDS, ids=lambda f: f.store_id)
def test_linear_power_has_the_mel_power_it_was_made_from(frontend):
    power = inversion.mel_power(music(frontend), frontend)
    linear = inversion.linear_power(power, frontend)
    assert (linear >= 0).all()
    _, filters = window_and_filters(frontend)
    error_db = 10 * np.log10((linear @ filters + 1e-10) / (power + 1e-10))
    assert np.abs(error_db).mean() < 0.2


@pytest.mark.parametrize("frontend", FRONT_ENDS, ids=lambda f: f.store_id)
def test_a_waveform_from_mel_power_is_measured_as_such(frontend):
    power = inversion.mel_power(music(frontend), frontend)
    waveform = inversion.from_mel_power(power, frontend)
    assert waveform.size == (len(power) - 1) * frontend.hop_length
    assert inversion.spectral_convergence(waveform, power, frontend) < 0.2
    unfitted = inversion.from_mel_power(power, frontend, steps=0)
    assert inversion.spectral_convergence(unfitted, power, frontend) > 0.25


@pytest.mark.parametrize("frontend", FRONT_ENDS, ids=lambda f: f.store_id)
def test_gains_are_applied_and_nothing_else(frontend):
    waveform = music(frontend)
    power = inversion.mel_power(waveform, frontend)
    np.testing.assert_allclose(inversion.changed(waveform, power, frontend), waveform, atol=1e-4)
    wanted = power * np.linspace(0.1, 10, frontend.n_mels, dtype=np.float32)
    before = inversion.spectral_convergence(waveform, wanted, frontend)
    after = inversion.changed(waveform, wanted, frontend)
    assert inversion.spectral_convergence(after, wanted, frontend) < before / 5


def test_silence_stays_silent():
    frontend = FrontEnd(hop_length=1712)
    power = np.zeros((10, 128), np.float32)
    waveform = inversion.from_mel_power(power, frontend)
    assert np.isfinite(waveform).all()
    assert np.abs(waveform).max() < 1e-4
    assert np.isfinite(inversion.changed(np.zeros(9 * 1712, "f4"), power, frontend)).all()


def test_a_real_clip_converges(shared_data):
    clip = shared_data / "gtzan_audio/genres/jazz"
    frontend = FrontEnd(hop_length=1712)
    path = sorted(Path(clip).glob("*.wav"))[0]
    waveform = waveforms.load(path, frontend.sample_rate_hz)[: 3 * tiny.RATE_HZ]
    power = inversion.mel_power(waveform, frontend)
    again = inversion.from_mel_power(power, frontend)
    assert inversion.spectral_convergence(again, power, frontend) < 0.15

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from deepgenre.audio import loudness

RATE_HZ = 48_000


def sine(dbfs: float, seconds: float, hz: float = 1000.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def stereo(*parts: np.ndarray) -> np.ndarray:
    mono = np.concatenate(parts)
    return np.stack([mono, mono], axis=1)


def measured(
    samples: np.ndarray, rate_hz: int = RATE_HZ, block: int = 1 << 20
) -> loudness.Loudness:
    meter = loudness.Meter(rate_hz, samples.shape[1])
    for start in range(0, len(samples), block):
        meter.add(samples[start : start + block])
    return meter.result()


def test_coefficients_at_48_khz_are_those_of_the_recommendation():
    shelf, high_pass = loudness.k_weighting(48_000)
    expected = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    np.testing.assert_allclose(shelf[:3], expected, atol=1e-9)
    np.testing.assert_allclose(shelf[4:], [-1.69065929318241, 0.73248077421585], atol=1e-9)
    np.testing.assert_allclose(high_pass[:3], [1, -2, 1])
    np.testing.assert_allclose(high_pass[4:], [-1.99004745483398, 0.99007225036621], atol=1e-9)


# EBU Tech 3341, table 1, minimum requirements: cases 1 to 5, tolerance 0.1 LU.
EBU_CASES = {
    "1": (stereo(sine(-23, 20)), -23.0),
    "2": (stereo(sine(-33, 20)), -33.0),
    "3": (stereo(sine(-36, 10), sine(-23, 60), sine(-36, 10)), -23.0),
    "4": (
        stereo(sine(-72, 10), sine(-36, 10), sine(-23, 60), sine(-36, 10), sine(-72, 10)),
        -23.0,
    ),
    "5": (stereo(sine(-26, 20), sine(-20, 20.1), sine(-26, 20)), -23.0),
}


@pytest.mark.parametrize("case", EBU_CASES)
def test_loudness_of_the_ebu_signals(case: str):
    samples, expected_lufs = EBU_CASES[case]
    assert measured(samples).integrated_lufs == pytest.approx(expected_lufs, abs=0.1)


def test_surround_channels_weigh_more_and_the_lfe_channel_nothing():
    """EBU Tech 3341, case 6: -28, -28, -24, (LFE), -30, -30 dBFS."""
    channels = [sine(level, 20) for level in (-28, -28, -24, 0, -30, -30)]
    assert measured(np.stack(channels, axis=1)).integrated_lufs == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 96_000, 192_000])
def test_loudness_does_not_depend_on_the_sample_rate(rate_hz: int):
    mono = sine(-23, 5, rate_hz=rate_hz)
    measured_lufs = measured(np.stack([mono, mono], axis=1), rate_hz).integrated_lufs
    assert measured_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(("degrees", "tolerance_db"), [(0, 0.4), (45, 0.4), (67.5, 0.4)])
def test_true_peak_lies_between_samples(degrees: float, tolerance_db: float):
    """A quarter of the sample rate, as EBU Tech 3341, cases 15 to 19: -6 dBTP, +0.2/-0.4 dB."""
    index = np.arange(RATE_HZ)
    angle = 2 * np.pi * index / 4 + math.radians(degrees)
    fade = np.minimum(1, np.minimum(index, index[::-1]) / 480)
    samples = (0.5 * fade * np.sin(angle)).astype(np.float32)[:, None]
    assert -tolerance_db <= measured(samples).true_peak_dbtp + 6.02 <= 0.2


def test_skipped_segments_do_not_change_the_peak():
    import scipy.signal

    noise = np.random.default_rng(0).uniform(-0.7, 0.7, (30_000, 1)).astype(np.float32)
    taps, _ = loudness._interpolation_filter(4)
    half = taps.size // 2
    everywhere = np.abs(scipy.signal.upfirdn(taps, noise[:, 0], 4)[half:-half]).max()
    assert measured(noise).true_peak_dbtp == pytest.approx(20 * np.log10(everywhere), abs=1e-4)


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(st.integers(1, 60_000), st.integers(0, 2**31))
def test_cut_into_blocks_does_not_matter(block: int, seed: int):
    block = max(block, 500)
    noise = np.random.default_rng(seed).normal(0, 0.1, (40_000, 2)).astype(np.float32)
    whole, cut = measured(noise), measured(noise, block=block)
    assert cut.integrated_lufs == pytest.approx(whole.integrated_lufs, abs=1e-9)
    assert cut.true_peak_dbtp == pytest.approx(whole.true_peak_dbtp, abs=1e-5)


def test_replaygain_brings_a_song_to_18_lufs():
    assert loudness.Loudness(-9.5, 0.0).replaygain_db == -8.5


def test_silence_and_short_recordings_have_no_loudness():
    silent = measured(np.zeros((RATE_HZ, 2), np.float32))
    assert silent.integrated_lufs is None and silent.true_peak_dbtp == -math.inf
    assert silent.replaygain_db is None
    assert measured(stereo(sine(-20, 0.3))).integrated_lufs is None
    assert measured(stereo(sine(-20, 0.45))).integrated_lufs is not None

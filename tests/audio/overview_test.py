"""The overview of a recording: the same for any blocks, right levels, bounded size."""

import numpy as np
import pytest

from deepgenre.audio import overview
from deepgenre.audio.overview import Overview

RATE_HZ = 22_050


def tone(hz, seconds, amplitude=0.5):
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def picture(mono, block_samples):
    shown = Overview()
    for start in range(0, len(mono), block_samples):
        shown.observe(start, mono[start : start + block_samples, None], RATE_HZ)
    return shown.picture()


def test_envelope_and_spectrum_are_where_the_sound_is():
    shown = picture(np.concatenate([np.zeros(5 * RATE_HZ, "f4"), tone(3000, 5)]), 4096)
    half = round(5 / shown.column_seconds)
    assert np.abs(shown.highest[: half - 1]).max() == 0
    assert shown.highest[half + 1 : -1] == pytest.approx(0.5, abs=0.01)
    assert shown.lowest[half + 1 : -1] == pytest.approx(-0.5, abs=0.01)
    assert (shown.decibels[: half - 1] == -overview.RANGE_DB).all()
    loudest = shown.decibels[half + 5].argmax()
    mels = lambda hz: 15 + np.log(hz / 1000) / (np.log(6.4) / 27)  # noqa: E731
    assert loudest == pytest.approx(mels(3000) / mels(11_025) * (overview.BANDS + 1) - 1, abs=1)


@pytest.mark.parametrize("block_samples", [1000, 7777, 10**6])
def test_blocks_do_not_matter(block_samples):
    mono = np.random.default_rng(0).normal(0, 0.1, 5 * RATE_HZ + 123).astype(np.float32)
    one, other = picture(mono, 2048), picture(mono, block_samples)
    np.testing.assert_allclose(one.decibels, other.decibels, atol=1e-3)
    np.testing.assert_array_equal(one.highest, other.highest)


def test_samples_that_come_twice_count_once():
    mono = tone(440, 3)[:, None]
    once, twice = Overview(), Overview()
    once.observe(0, mono, RATE_HZ)
    twice.observe(0, mono[:30_000], RATE_HZ)
    twice.observe(0, mono, RATE_HZ)
    np.testing.assert_array_equal(once.picture().decibels, twice.picture().decibels)


def test_long_recordings_have_a_bounded_number_of_columns(monkeypatch):
    monkeypatch.setattr(overview, "COLUMNS", 16)
    mono = np.concatenate([np.zeros(20 * RATE_HZ, "f4"), tone(440, 20)])
    shown = picture(mono, 5000)
    assert 16 <= len(shown.highest) <= 32
    assert len(shown.highest) * shown.column_seconds == pytest.approx(40, abs=shown.column_seconds)
    half = round(20 / shown.column_seconds)
    assert not shown.highest[: half - 1].any()
    assert (shown.highest[half + 1 :] > 0.45).all()


@pytest.mark.parametrize("rate_hz", [8000, 44_100, 192_000])
def test_every_band_has_power_at_any_rate(rate_hz):
    noise = np.random.default_rng(0).normal(0, 0.1, (rate_hz * 2, 1)).astype(np.float32)
    shown = Overview()
    shown.observe(0, noise, rate_hz)
    assert (shown.picture().decibels.mean(axis=0) > -40).all()

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from deepgenre.explain import sound
from deepgenre.explain.curves import Curves
from deepgenre.explain.explanation import Explanation
from deepgenre.explain.plane import band_hz, seconds_per_frame

SPEC = tiny.spec()
FRAMES = 130
EMPTY = Curves(*[jnp.zeros(17)] * 4)


def explanation(values: np.ndarray) -> Explanation:
    return Explanation(
        values, values, band_hz(SPEC), seconds_per_frame(SPEC), "lrp", "a", 1.0, 0.5, 0.0, EMPTY
    )


def test_only_the_important_band_is_heard():
    """Of two tones, the one whose bands have support, at the window's peak."""
    samples = tiny.tone(440, 6.0, 0) + tiny.tone(5000, 6.0, 1)
    values = np.zeros((FRAMES, len(band_hz(SPEC))), np.float32)
    values[:, np.argmin(np.abs(band_hz(SPEC) - 5000))] = 1
    heard = sound.important_parts(samples.astype(np.float32), tiny.RATE_HZ, explanation(values))
    spectrum = np.abs(np.fft.rfft(heard.samples))
    hz = np.fft.rfftfreq(samples.size, 1 / tiny.RATE_HZ)
    low, high = spectrum[np.abs(hz - 440) < 20].max(), spectrum[np.abs(hz - 5000) < 20].max()
    assert 20 * np.log10(high / low) > 40
    assert np.abs(heard.samples).max() == pytest.approx(np.abs(samples).max(), rel=1e-4)
    assert len(heard.samples) == samples.size


def test_only_the_important_time_is_heard():
    samples = tiny.tone(440, 6.0, 0).astype(np.float32)
    values = np.zeros((FRAMES, len(band_hz(SPEC))), np.float32)
    first, last = (round(s / seconds_per_frame(SPEC)) for s in (2.0, 3.0))
    values[first:last] = 1
    heard = sound.important_parts(samples, tiny.RATE_HZ, explanation(values)).samples
    inside = heard[int(2.2 * tiny.RATE_HZ) : int(2.8 * tiny.RATE_HZ)]
    outside = np.concatenate([heard[: int(1.7 * tiny.RATE_HZ)], heard[int(3.3 * tiny.RATE_HZ) :]])
    assert np.abs(outside).max() < 0.01 * np.abs(inside).max()
    # The phase is the song's own: what is kept equals the samples, up to the gain.
    original = samples[int(2.2 * tiny.RATE_HZ) : int(2.8 * tiny.RATE_HZ)]
    assert np.corrcoef(inside, original)[0, 1] > 0.999


def test_the_mask_keeps_at_most_a_share_of_the_plane():
    values = np.random.default_rng(0).standard_normal((FRAMES, 16)).astype(np.float32)
    assert sound.mask_of(explanation(values)).mean() == pytest.approx(sound.KEPT, abs=0.01)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_without_support_nothing_is_heard(value):
    values = np.full((FRAMES, 16), value, np.float32)
    samples = tiny.tone(440, 6.0, 0).astype(np.float32)
    heard = sound.important_parts(samples, tiny.RATE_HZ, explanation(values))
    assert not heard.samples.any() and heard.gain_db == 0

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepgenre.data import augmentation
from deepgenre.data.augmentation import Augmentation
from deepgenre.errors import UserError

KEY = jax.random.key(3)


def ramp(batch=4, frames=60, bands=8) -> jax.Array:
    """Returns levels that identify their frame: frame f contains f + 1."""
    return jnp.broadcast_to(jnp.arange(1.0, frames + 1)[None, :, None], (batch, frames, bands))


def test_default_options_change_nothing():
    levels, targets = ramp(), jnp.eye(4)
    new_levels, new_targets = augmentation.augment(levels, targets, KEY, Augmentation(), 60)
    np.testing.assert_array_equal(new_levels, levels)
    np.testing.assert_array_equal(new_targets, targets)


def test_crop_takes_consecutive_frames_from_random_starts():
    cut = np.asarray(augmentation.crop_and_stretch(ramp(batch=16), KEY, 0.0, 20))
    assert cut.shape == (16, 20, 8)
    np.testing.assert_array_equal(np.diff(cut[:, :, 0], axis=1), 1)
    assert len(set(cut[:, 0, 0])) > 5
    assert cut.min() >= 1
    assert cut.max() <= 60


def test_stretch_changes_speed_both_ways_within_its_bound():
    cut = np.asarray(augmentation.crop_and_stretch(ramp(batch=64), KEY, 0.5, 20))
    speeds = (cut[:, -1, 0] - cut[:, 0, 0]) / 19
    assert speeds.min() < 0.9
    assert speeds.max() > 1.1
    assert speeds.min() > 1 / 1.5 - 0.1
    assert speeds.max() < 1.5 + 0.1


def test_pitch_shift_moves_bands_and_fills_with_floor():
    levels = jnp.broadcast_to(jnp.arange(1.0, 9.0)[None, None, :], (32, 5, 8))
    shifted = np.asarray(augmentation.pitch_shift(levels, KEY, 2.0))
    seen = {tuple(clip[0]) for clip in shifted}
    assert (1, 2, 3, 4, 5, 6, 7, 8) in seen
    assert (0, 1, 2, 3, 4, 5, 6, 7) in seen
    assert (2, 3, 4, 5, 6, 7, 8, 0) in seen
    assert len(seen) <= 5  # -2 to 2 bands


def test_gain_is_one_offset_per_clip_and_keeps_the_floor():
    levels = jnp.full((16, 5, 8), 100.0).at[:, 0].set(0.0)
    changed = np.asarray(
        augmentation.gain_and_equaliser(levels, KEY, Augmentation(gain_db=6.0, equaliser_db=0.0))
    )
    np.testing.assert_array_equal(changed[:, 0], 0)
    offsets = changed[:, 1:] - 100
    np.testing.assert_allclose(offsets, np.broadcast_to(offsets[:, :1, :1], offsets.shape))
    assert np.abs(offsets).max() <= 6 * 255 / 80 + 1e-3
    assert np.ptp(offsets) > 6


def test_equaliser_varies_over_bands_but_not_over_time():
    levels = jnp.full((4, 5, 32), 100.0)
    changed = np.asarray(
        augmentation.gain_and_equaliser(levels, KEY, Augmentation(gain_db=0.0, equaliser_db=4.0))
    )
    assert np.ptp(changed[:, 0], axis=1).min() > 1
    np.testing.assert_array_equal(changed, np.broadcast_to(changed[:, :1], changed.shape))


def test_mixup_mixes_clips_and_targets_with_the_same_fraction():
    levels = jnp.broadcast_to(100.0 * jnp.eye(4)[:, None, :], (4, 3, 4))
    mixed, targets = augmentation.mixup(levels, jnp.eye(4), KEY, 0.5)
    np.testing.assert_allclose(mixed[:, 0] / 100, targets, atol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert np.any((targets > 0.01) & (targets < 0.99))


@pytest.mark.parametrize(("axis", "size"), [(1, 50), (2, 20)])
def test_mask_is_one_stripe_set_to_the_mean(axis, size):
    levels = jax.random.uniform(jax.random.key(1), (8, 50, 20), minval=1, maxval=2)
    masked = np.asarray(augmentation.mask_stripe(levels, KEY, axis, 0.5))
    changed = (masked != np.asarray(levels)).all(axis=3 - axis)
    assert changed.any()
    for clip in range(8):
        indices = np.flatnonzero(changed[clip])
        assert indices.size <= size // 2 + 1
        if indices.size:
            np.testing.assert_array_equal(np.diff(indices), 1)
            stripe = np.take(masked[clip], indices, axis=axis - 1)
            np.testing.assert_allclose(stripe, np.asarray(levels)[clip].mean(), rtol=1e-5)


def test_augmentation_is_a_function_of_the_key():
    options = Augmentation(0.2, 2, 6, 4, 2, 0.2, 0.2, 0.4)
    args = (ramp(), jnp.eye(4))
    first, _ = augmentation.augment(*args, KEY, options, 30)
    again, _ = augmentation.augment(*args, KEY, options, 30)
    other, _ = augmentation.augment(*args, jax.random.key(4), options, 30)
    np.testing.assert_array_equal(first, again)
    assert np.any(np.asarray(first) != np.asarray(other))


@pytest.mark.parametrize(
    ("kind", "unsupported"),
    [
        ("log_mel", set()),
        ("mfcc", set()),
        ("musicnn", {"gain_db", "equaliser_db", "num_masks"}),
        ("waveform", {"gain_db", "equaliser_db", "num_masks", "pitch_shift_bands"}),
    ],
)
def test_unsupported_options_of_a_front_end_are_rejected(kind: str, unsupported: set[str]):
    for field in dataclasses.fields(Augmentation):
        options = Augmentation(**{field.name: 1})
        if field.name in unsupported:
            with pytest.raises(UserError, match=rf"config.augment.{field.name}.*'{kind}'"):
                options.check_kind(kind)
        else:
            options.check_kind(kind)


def test_negative_option_is_rejected():
    with pytest.raises(UserError, match=r"config.augment.gain_db"):
        Augmentation(gain_db=-1)

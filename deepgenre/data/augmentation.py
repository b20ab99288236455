"""Augmentation on the device, inside the compiled step: pure functions of levels and a key.

Levels are float32 (batch, frames, bands) in 0..255, before standardisation; 0 is the floor of the
dB scale. Other kinds of front end store mel power or samples and support fewer options: see
`SUPPORTED_STORAGE`. Time and pitch are resampled by nearest neighbour: interpolation smooths the
texture of training clips, so that unaugmented clips differ from them in evaluation.
"""

import dataclasses

import jax
import jax.numpy as jnp

from deepgenre.audio.frontend import MAX_LEVEL, STORED_AS
from deepgenre.errors import UserError

# Stored representations that an option supports: a pitch shift needs bands; masks at the mean, gain
# and equaliser assume dB. Options that are not listed only need frames.
SUPPORTED_STORAGE = {
    "pitch_shift_bands": ("log_mel", "musicnn"),
    "gain_db": ("log_mel",),
    "equaliser_db": ("log_mel",),
    "num_masks": ("log_mel",),
}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Strength of each random change to training clips. Defaults: none, as in the paper."""

    time_stretch: float = 0.0  # largest change of tempo: 0.2 is 1 / 1.2 to 1.2 times the speed
    pitch_shift_bands: float = 0.0  # largest shift, in mel bands, up or down
    gain_db: float = 0.0  # largest change of loudness, up or down
    equaliser_db: float = 0.0  # deviation of a smooth random curve over the bands
    num_masks: int = 0  # SpecAugment: number of masks over time, and over bands
    mask_frames: float = 0.1  # longest mask, as a fraction of the frames
    mask_bands: float = 0.1  # longest mask, as a fraction of the bands
    mixup_alpha: float = 0.0  # a clip's fraction is Beta(alpha, alpha); 0: no mixup

    def __post_init__(self) -> None:
        """Raises UserError naming a field that is out of range."""
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise UserError(f"config.augment.{field.name}: must be 0 or more")

    def check_kind(self, kind: str) -> None:
        """Raises UserError naming an option that a front end's kind does not support."""
        stored = STORED_AS[kind]
        for name, supported in SUPPORTED_STORAGE.items():
            if getattr(self, name) and stored not in supported:
                raise UserError(
                    f"config.augment.{name}: requires data stored as {' or '.join(supported)}, not "
                    f"config.frontend.kind {kind!r}; set it to 0"
                )


def augment(
    levels: jax.Array, targets: jax.Array, key: jax.Array, options: Augmentation, window_frames: int
) -> tuple[jax.Array, jax.Array]:
    """Returns augmented levels (batch, window_frames, bands) and targets (batch, classes).

    levels: (batch, frames, bands) of `window_frames` or more; the window is cut at a random frame.
    """
    keys = jax.random.split(key, 6)
    levels = crop_and_stretch(levels, keys[0], options.time_stretch, window_frames)
    if options.pitch_shift_bands:
        levels = pitch_shift(levels, keys[1], options.pitch_shift_bands)
    if options.gain_db or options.equaliser_db:
        levels = gain_and_equaliser(levels, keys[2], options)
    if options.mixup_alpha:
        levels, targets = mixup(levels, targets, keys[3], options.mixup_alpha)
    for axis, longest in ((1, options.mask_frames), (2, options.mask_bands)):
        for mask in range(options.num_masks):
            levels = mask_stripe(levels, jax.random.fold_in(keys[3 + axis], mask), axis, longest)
    return levels, targets


def crop_and_stretch(
    levels: jax.Array, key: jax.Array, time_stretch: float, window_frames: int
) -> jax.Array:
    """Returns (batch, window_frames, bands): a random window of each clip at a random speed."""
    batch, frames, _ = levels.shape
    if frames == window_frames and not time_stretch:
        return levels
    speed_key, start_key = jax.random.split(key)
    largest = jnp.log1p(time_stretch)
    speed = jnp.exp(jax.random.uniform(speed_key, (batch, 1), minval=-largest, maxval=largest))
    speed = jnp.minimum(speed, (frames - 1) / (window_frames - 1))
    spare = frames - 1 - speed * (window_frames - 1)
    start = spare * jax.random.uniform(start_key, (batch, 1))
    source = jnp.round(start + speed * jnp.arange(window_frames)[None, :]).astype(jnp.int32)
    return jnp.take_along_axis(levels, source[:, :, None], axis=1)


def pitch_shift(levels: jax.Array, key: jax.Array, largest_bands: float) -> jax.Array:
    """Returns levels with the bands of each clip shifted up or down; vacated bands are floor.

    Transposes approximately: mel bands are about evenly spaced in pitch above 1 kHz only.
    """
    batch, _, bands = levels.shape
    shift = jax.random.uniform(key, (batch, 1), minval=-largest_bands, maxval=largest_bands)
    source = jnp.arange(bands)[None, :] - jnp.round(shift).astype(jnp.int32)
    inside = (source >= 0) & (source < bands)
    shifted = jnp.take_along_axis(levels, jnp.clip(source, 0, bands - 1)[:, None, :], axis=2)
    return jnp.where(inside[:, None, :], shifted, 0.0)


def gain_and_equaliser(levels: jax.Array, key: jax.Array, options: Augmentation) -> jax.Array:
    """Returns levels plus one offset per clip and a smooth curve over the bands, clipped to range.

    The curve is a sum of the first four cosines over the bands: it imitates another recording,
    mastering or loudspeaker. Levels at the floor are unchanged.
    """
    batch, _, bands = levels.shape
    gain_key, curve_key = jax.random.split(key)
    per_level = MAX_LEVEL / 80.0
    gain = jax.random.uniform(gain_key, (batch, 1), minval=-1.0, maxval=1.0) * options.gain_db
    cosines = jnp.cos(jnp.pi * jnp.outer(jnp.arange(1, 5), jnp.arange(bands) + 0.5) / bands)
    weights = jax.random.normal(curve_key, (batch, 4)) * options.equaliser_db / jnp.sqrt(2.0)
    offset = (gain + weights @ cosines) * per_level
    changed = jnp.clip(levels + offset[:, None, :], 0.0, MAX_LEVEL)
    return jnp.where(levels > 0, changed, 0.0)


def mixup(
    levels: jax.Array, targets: jax.Array, key: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Returns each clip and target mixed with those of another (Zhang et al., 2018)."""
    fraction_key, order_key = jax.random.split(key)
    fraction = jax.random.beta(fraction_key, alpha, alpha, (levels.shape[0], 1))
    other = jax.random.permutation(order_key, levels.shape[0])
    mixed = fraction[:, :, None] * levels + (1 - fraction[:, :, None]) * levels[other]
    return mixed, fraction * targets + (1 - fraction) * targets[other]


def mask_stripe(levels: jax.Array, key: jax.Array, axis: int, longest: float) -> jax.Array:
    """Returns levels with a random stripe of each clip set to its mean (Park et al., 2019).

    longest: longest stripe, as a fraction of the axis.
    """
    batch, size = levels.shape[0], levels.shape[axis]
    length_key, start_key = jax.random.split(key)
    length = jax.random.uniform(length_key, (batch, 1)) * longest * size
    start = jax.random.uniform(start_key, (batch, 1)) * (size - length)
    index = jnp.arange(size)[None, :]
    masked = (index >= start) & (index < start + length)
    masked = masked[:, :, None] if axis == 1 else masked[:, None, :]
    return jnp.where(masked, levels.mean(axis=(1, 2), keepdims=True), levels)

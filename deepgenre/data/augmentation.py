"""Augmentation on the device, inside the compiled step: pure functions of levels and a key.

Levels are float32 (batch, frames, bands) in 0..255, that is in dB, before standardisation; 0 is
the floor. (Other kinds of front end store mel power or samples, on which less can be done: NEEDS.)
Time and pitch are resampled by nearest neighbour: interpolation would smooth the texture of
training clips, and clean clips would then look foreign in evaluation.
"""

import dataclasses

import jax
import jax.numpy as jnp

from deepgenre.audio.frontend import MAX_LEVEL, STORED_AS
from deepgenre.errors import UserError

# What some options do depends on what is stored: a shift of bands needs bands; masks at the mean,
# gain and equaliser are sums in dB. The others need nothing but frames.
NEEDS = {
    "pitch_shift_bands": ("log_mel", "musicnn"),
    "gain_db": ("log_mel",),
    "equaliser_db": ("log_mel",),
    "num_masks": ("log_mel",),
}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far training clips are changed at random. Defaults: not at all, as in the paper."""

    time_stretch: float = 0.0  # largest change of tempo: 0.2 is 1 / 1.2 to 1.2 times as fast
    pitch_shift_bands: float = 0.0  # largest shift, in mel bands, up or down
    gain_db: float = 0.0  # largest change of loudness, up or down
    equaliser_db: float = 0.0  # deviation of a smooth random curve over the bands
    num_masks: int = 0  # SpecAugment: masks over time, and as many over bands
    mask_frames: float = 0.1  # longest mask, as a share of the frames
    mask_bands: float = 0.1  # likewise of the bands
    mixup_alpha: float = 0.0  # Beta(alpha, alpha) is the share of a second clip; 0: no mixup

    def __post_init__(self) -> None:
        """Raises UserError naming a field out of range."""
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise UserError(f"config.augment.{field.name}: must be 0 or more")

    def check_kind(self, kind: str) -> None:
        """Raises UserError naming an option that makes no sense on a front end's kind."""
        stored = STORED_AS[kind]
        for name, wanted in NEEDS.items():
            if getattr(self, name) and stored not in wanted:
                raise UserError(
                    f"config.augment.{name}: works on what is stored as {' or '.join(wanted)}, not "
                    f"on config.frontend.kind {kind!r}; set it to 0"
                )


def augment(
    levels: jax.Array, targets: jax.Array, key: jax.Array, options: Augmentation, window_frames: int
) -> tuple[jax.Array, jax.Array]:
    """Returns levels (batch, window_frames, bands) and targets (batch, classes), both changed.

    levels come with `window_frames` or more: the window is cut at a random place.
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
    """Returns (batch, window_frames, bands): a random cut of each clip at a random speed."""
    batch, frames, _ = levels.shape
    if frames == window_frames and not time_stretch:
        return levels
    speed_key, place_key = jax.random.split(key)
    largest = jnp.log1p(time_stretch)
    speed = jnp.exp(jax.random.uniform(speed_key, (batch, 1), minval=-largest, maxval=largest))
    speed = jnp.minimum(speed, (frames - 1) / (window_frames - 1))
    spare = frames - 1 - speed * (window_frames - 1)
    start = spare * jax.random.uniform(place_key, (batch, 1))
    source = jnp.round(start + speed * jnp.arange(window_frames)[None, :]).astype(jnp.int32)
    return jnp.take_along_axis(levels, source[:, :, None], axis=1)


def pitch_shift(levels: jax.Array, key: jax.Array, largest_bands: float) -> jax.Array:
    """Returns levels with the bands of each clip moved up or down; what is moved in is floor.

    Mel bands are about evenly spaced in pitch above 1 kHz, so this transposes only roughly.
    """
    batch, _, bands = levels.shape
    shift = jax.random.uniform(key, (batch, 1), minval=-largest_bands, maxval=largest_bands)
    source = jnp.arange(bands)[None, :] - jnp.round(shift).astype(jnp.int32)
    inside = (source >= 0) & (source < bands)
    moved = jnp.take_along_axis(levels, jnp.clip(source, 0, bands - 1)[:, None, :], axis=2)
    return jnp.where(inside[:, None, :], moved, 0.0)


def gain_and_equaliser(levels: jax.Array, key: jax.Array, options: Augmentation) -> jax.Array:
    """Returns levels plus one offset a clip and a smooth curve over the bands, kept in range.

    The curve is a sum of the first four cosines over the bands: what another recording, mastering
    or loudspeaker does to the same music. The floor stays the floor.
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
    share_key, order_key = jax.random.split(key)
    share = jax.random.beta(share_key, alpha, alpha, (levels.shape[0], 1))
    other = jax.random.permutation(order_key, levels.shape[0])
    mixed = share[:, :, None] * levels + (1 - share[:, :, None]) * levels[other]
    return mixed, share * targets + (1 - share) * targets[other]


def mask_stripe(levels: jax.Array, key: jax.Array, axis: int, longest: float) -> jax.Array:
    """Returns levels with a random stripe of each clip at the clip's mean (Park et al., 2019).

    longest: longest stripe, as a share of the axis.
    """
    batch, size = levels.shape[0], levels.shape[axis]
    length_key, place_key = jax.random.split(key)
    length = jax.random.uniform(length_key, (batch, 1)) * longest * size
    start = jax.random.uniform(place_key, (batch, 1)) * (size - length)
    place = jnp.arange(size)[None, :]
    masked = (place >= start) & (place < start + length)
    masked = masked[:, :, None] if axis == 1 else masked[:, None, :]
    return jnp.where(masked, levels.mean(axis=(1, 2), keepdims=True), levels)

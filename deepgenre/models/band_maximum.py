"""The maximum over bands of a convolution, for inference: only the maxima are stored.

A kernel that spans many bands is convolved by a discrete Fourier transform along the bands. Its
shifts are numbered from the middle one: shifts m and -m are E + O and E - O with maximum E + |O|,
so half of the inverse transform suffices. With musicnn's kernels this takes a quarter of
the multiplications of the convolution. A kernel of one band, shifted over some frames, is one
matrix for all bands.
"""

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models.lowering import by_platform

CHUNK_FRAMES = 17  # transformed at a time: intermediate results fit in a core's cache
PRODUCT_FRAMES = 16  # computed by one product; more waste zeros, fewer make it too narrow


def band_maximum(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns float32 (batch, frames, channels): the largest value over bands of a convolution.

    x: float32 (batch, frames, bands); kernel: float32 (frames, bands, channels). Padding is "same"
    over frames and "valid" over bands. Chooses the lowering by platform.
    """
    on_cpu = by_products if kernel.shape[1] == 1 else by_fourier_transform
    return by_platform(x, kernel, cpu=on_cpu, default=by_convolution)


def same_padding(kernel_frames: int) -> tuple[int, int]:
    """Returns the frames to add before and after: TensorFlow's "same"."""
    before = (kernel_frames - 1) // 2
    return before, kernel_frames - 1 - before


def by_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns `band_maximum` by its definition."""
    shifts = jax.lax.conv_general_dilated(
        x[..., None],
        kernel[:, :, None],
        window_strides=(1, 1),
        padding=(same_padding(kernel.shape[0]), (0, 0)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return shifts.max(axis=2)


def by_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns `band_maximum` to float32 rounding, for kernels that are one band wide."""
    batch, frames, _ = x.shape
    taps, _, channels = kernel.shape
    shifted = [
        jnp.pad(kernel[:, 0], ((frame, PRODUCT_FRAMES - 1 - frame), (0, 0)))
        for frame in range(PRODUCT_FRAMES)
    ]
    weights = jnp.concatenate(shifted, axis=1)  # (input frames, PRODUCT_FRAMES x channels)

    def chunk_maximum(chunk: jax.Array) -> jax.Array:
        """(input frames, bands) -> (PRODUCT_FRAMES, channels)."""
        return (chunk.T @ weights).max(axis=0).reshape(PRODUCT_FRAMES, channels)

    chunks = _chunks(x, taps, PRODUCT_FRAMES)
    return jax.lax.map(chunk_maximum, chunks).reshape(batch, -1, channels)[:, :frames]


def _chunks(x: jax.Array, taps: int, chunk_frames: int) -> jax.Array:
    """Returns (chunks of all clips, chunk_frames + taps - 1, bands): input per chunk of output."""
    _, frames, num_bands = x.shape
    before, after = same_padding(taps)
    count = -(-frames // chunk_frames)
    padded = jnp.pad(x, ((0, 0), (before, after + count * chunk_frames - frames), (0, 0)))
    starts = range(0, count * chunk_frames, chunk_frames)
    chunks = [padded[:, start : start + chunk_frames + taps - 1] for start in starts]
    return jnp.stack(chunks, axis=1).reshape(-1, chunk_frames + taps - 1, num_bands)


def by_fourier_transform(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns `band_maximum` to float32 rounding, CHUNK_FRAMES at a time."""
    batch, frames, num_bands = x.shape
    taps, width, channels = kernel.shape
    forward, cosines, sines = (jnp.asarray(m) for m in _bases(num_bands, num_bands - width + 1))
    real_weights, imaginary_weights = _weights(kernel, num_bands)
    num_bins = cosines.shape[1]

    def chunk_maximum(chunk: jax.Array) -> jax.Array:
        """(CHUNK_FRAMES + taps - 1, bands) -> (CHUNK_FRAMES, channels)."""
        spectrum = forward @ chunk.T  # real parts of all bins, then imaginary ones
        delayed = [spectrum[:, tap : tap + CHUNK_FRAMES] for tap in range(taps)]
        parts = [part[:num_bins] for part in delayed] + [part[num_bins:] for part in delayed]
        z = jnp.stack(parts, axis=-1)  # (bins, frames, 2 taps)
        even = cosines @ (z @ real_weights).reshape(num_bins, -1)
        odd = sines @ (z @ imaginary_weights).reshape(num_bins, -1)
        return (even + jnp.abs(odd)).max(axis=0).reshape(CHUNK_FRAMES, channels)

    chunks = _chunks(x, taps, CHUNK_FRAMES)
    return jax.lax.map(chunk_maximum, chunks).reshape(batch, -1, channels)[:, :frames]


def _bases(num_bands: int, num_shifts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns float32 bases: forward (2 bins, bands), cosines and sines (half the shifts, bins)."""
    bins = np.arange(num_bands // 2 + 1)
    forward = 2 * np.pi / num_bands * np.outer(bins, np.arange(num_bands))
    from_middle = np.arange((num_shifts + 1) // 2) + (0.0 if num_shifts % 2 else 0.5)
    inverse = 2 * np.pi / num_bands * np.outer(from_middle, bins)
    bases = np.concatenate([np.cos(forward), -np.sin(forward)]), np.cos(inverse), np.sin(inverse)
    return tuple(basis.astype(np.float32) for basis in bases)  # pyright: ignore[reportReturnType]


def _weights(kernel: jax.Array, num_bands: int) -> tuple[jax.Array, jax.Array]:
    """Returns the weights that map the taps' real and imaginary parts to those of the product.

    Both float32 (bins, 2 taps, channels). Not cached between batches: they take a fraction of a per
    cent of a batch's time.
    """
    bins = np.arange(num_bands // 2 + 1)
    middle = (num_bands - kernel.shape[1]) / 2
    angle = 2 * np.pi / num_bands * np.outer(bins, middle + np.arange(kernel.shape[1]))
    # Bins of a real signal count twice, except the first and, for an even number, the last.
    share = np.where((bins == 0) | (2 * bins == num_bands), 1.0, 2.0)[:, None] / num_bands
    real = jnp.einsum("kb,tbc->ktc", (share * np.cos(angle)).astype(np.float32), kernel)
    imaginary = jnp.einsum("kb,tbc->ktc", (share * np.sin(angle)).astype(np.float32), kernel)
    return (
        jnp.concatenate([real, -imaginary], axis=1),
        jnp.concatenate([imaginary, real], axis=1),
    )

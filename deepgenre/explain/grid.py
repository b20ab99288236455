"""A grid of segments, time x bands, on the plane of a window."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Which segment each frame and band of a plane belongs to."""

    of_frame: np.ndarray  # int64 (frames,)
    of_band: np.ndarray  # int64 (bands,)

    @property
    def shape(self) -> tuple[int, int]:
        """Returns the number of segments along time and along the bands."""
        return int(self.of_frame[-1]) + 1, int(self.of_band[-1]) + 1

    @property
    def sizes(self) -> np.ndarray:
        """Returns the number of the plane's cells in each segment, int64 `shape`."""
        return np.outer(np.bincount(self.of_frame), np.bincount(self.of_band))

    def spread(self, cells: jax.Array) -> jax.Array:
        """Returns (..., frames, bands): for every cell of the plane the value of its segment."""
        return cells[..., self.of_frame, :][..., self.of_band]

    def means(self, values: jax.Array) -> jax.Array:
        """Returns the mean of each segment, (..., *shape), of values (..., frames, bands)."""
        times, bands = (_shares(of) for of in (self.of_frame, self.of_band))
        return jnp.einsum("...fb,ft,bs->...ts", values, times, bands)


def _shares(segments: np.ndarray) -> np.ndarray:
    """Returns float32 (cells, segments): the share of a cell in its segment's mean."""
    member = np.eye(segments[-1] + 1, dtype=np.float32)[segments]
    return member / member.sum(axis=0)


def grid(shape: tuple[int, ...], segments: tuple[int, int]) -> Grid:
    """Returns a grid of times x registers of about equal size, or fewer, over (frames, bands)."""
    (frames, bands), (times, registers) = shape, segments
    times, registers = min(times, frames), min(registers, bands)
    return Grid(
        np.arange(frames) * times // frames,
        np.arange(bands) * registers // bands,
    )

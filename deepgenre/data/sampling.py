"""Which clips a training batch holds and where they are cut: pure functions of its number.

Drawn an epoch at a time: a batch then costs a few array operations, not some for each clip.
"""

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """An endless sequence of batches; every epoch is a new permutation of the clips."""

    frames: np.ndarray  # int64 (clips,): of each clip
    window_frames: int
    batch_size: int
    seed: int

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the clips of batch `number` and the frames from which they are cut.

        Both int64 (batch_size,). Batches cross the seams between epochs. A clip shorter than a
        window is cut from 0.
        """
        count = len(self.frames)
        epochs, within = np.divmod(
            np.arange(number * self.batch_size, (number + 1) * self.batch_size), count
        )
        clips, shares = np.empty_like(within), np.empty(self.batch_size)
        for epoch in range(epochs[0], epochs[-1] + 1):
            here = epochs == epoch
            permutation, drawn = _epoch(self.seed, epoch, count)
            clips[here], shares[here] = permutation[within[here]], drawn[within[here]]
        spare = np.maximum(self.frames[clips] - self.window_frames, 0)
        return clips, (shares * (spare + 1)).astype(np.int64)


@functools.lru_cache(maxsize=4)  # two at a seam
def _epoch(seed: int, epoch: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a permutation of the clips, and for each place in it a number in 0..1."""
    generator = np.random.default_rng([seed, epoch])
    return generator.permutation(count), generator.random(count)


def window(levels: np.ndarray, start: int, num_frames: int) -> np.ndarray:
    """Returns (num_frames, bands) from frame `start` on, padded with level 0 at the end."""
    cut = levels[start : start + num_frames]
    if cut.shape[0] == num_frames:
        return cut
    return np.pad(cut, ((0, num_frames - cut.shape[0]), (0, 0)))


def window_starts(num_frames: int, window_frames: int, hop_frames: int) -> list[int]:
    """Returns the first frames of the windows that cover a clip, evenly spread.

    They are a hop apart at most. A clip at most a tenth longer than a window gives one window,
    from its middle: whole clips of a dataset differ by some frames.
    """
    spare = num_frames - window_frames
    if spare <= window_frames // 10:
        return [max(0, spare // 2)]
    count = 1 + -(-spare // hop_frames)
    return [round(start) for start in np.linspace(0, spare, count)]

"""Training order and windows: which clips a batch contains, and at which frames they are cut.

The order is a pure function of a seed and the index of a batch, so that a resumed run draws the
same batches. Random numbers are drawn per epoch, so that a batch takes a few array operations.
Training cuts one random window per clip; evaluation and inference cover a clip with windows.
"""

import dataclasses
import functools

import numpy as np

from deepgenre.data.balance import Balance, draw


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """An endless sequence of batches; every epoch is a new permutation of the clips.

    With a balance, an epoch is as many clips drawn by it, see `balance.draw`.
    """

    frames: np.ndarray  # int64 (clips,): length of each clip
    window_frames: int
    batch_size: int
    seed: int
    balance: Balance | None = None

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns clip indices of batch `number`, and the first frames of their windows.

        Both are int64 (batch_size,). A batch may span several epochs. Clips shorter than a window
        begin at frame 0.
        """
        count = len(self.frames)
        epochs, within = np.divmod(
            np.arange(number * self.batch_size, (number + 1) * self.batch_size), count
        )
        clips, fractions = np.empty_like(within), np.empty(self.batch_size)
        for epoch in range(epochs[0], epochs[-1] + 1):
            in_epoch = epochs == epoch
            permutation, drawn = _epoch(self, epoch)
            clips[in_epoch] = permutation[within[in_epoch]]
            fractions[in_epoch] = drawn[within[in_epoch]]
        spare = np.maximum(self.frames[clips] - self.window_frames, 0)
        return clips, (fractions * (spare + 1)).astype(np.int64)


@functools.lru_cache(maxsize=4)  # a batch rarely spans more than two epochs
def _epoch(order: Order, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the clips of an epoch, in order, and as many random numbers in 0..1."""
    generator = np.random.default_rng([order.seed, epoch])
    count = len(order.frames)
    clips = draw(order.balance, generator) if order.balance else generator.permutation(count)
    return clips, generator.random(count)


def window(levels: np.ndarray, start: int, num_frames: int) -> np.ndarray:
    """Returns (num_frames, bands) from frame `start`, padded with level 0 at the end."""
    cut = levels[start : start + num_frames]
    if cut.shape[0] == num_frames:
        return cut
    return np.pad(cut, ((0, num_frames - cut.shape[0]), (0, 0)))


def window_starts(num_frames: int, window_frames: int, hop_frames: int) -> list[int]:
    """Returns the first frames of the windows that cover a clip, evenly spaced.

    Adjacent windows are at most one hop apart. A clip at most a tenth longer than a window gives
    one window, from its middle: clip lengths in a dataset differ by a few frames.
    """
    spare = num_frames - window_frames
    if spare <= window_frames // 10:
        return [max(0, spare // 2)]
    count = 1 + -(-spare // hop_frames)
    return [round(start) for start in np.linspace(0, spare, count)]

"""Spectrograms to the windows that a network hears; numpy only."""

import numpy as np


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

"""Clips with the same audio, found by their stored levels.

After J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002): of each
clip only the signs of differences between bands and times are kept, which a gain does not change
and lossy coding changes little. Two clips match where, at some shift of up to a second, their signs
correlate. Among 709 clips of GTZAN, 45 pairs of the same recording correlate by 0.33 or more, two
others by 1.0 and 0.23, and the remaining 250,939 pairs by less than 0.09.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from deepgenre import log

FRAME_SECONDS = 0.075  # levels are averaged to about this, for any front end
MAX_FRAMES = 400  # 30 s: the rest of a clip is not compared
MIN_FRAMES = 65  # 5 s: the signs of shorter clips correlate by chance
BANDS = 33
LAG_FRAMES = 2  # between the two times of a difference
MAX_SHIFT_FRAMES = 13  # a second
MIN_CORRELATION = 0.2
CLIPS_AT_ONCE = 128


def signs(levels: np.ndarray, frames_per_second: float) -> np.ndarray:
    """Returns int8 (MAX_FRAMES, BANDS - 1) of levels (frames, bands): -1, 0 or 1; 0 after the end.

    All are 0 for a clip of fewer than MIN_FRAMES, which matches no other.
    """
    pooled = max(1, round(FRAME_SECONDS * frames_per_second))
    frames = min(len(levels) // pooled, MAX_FRAMES + LAG_FRAMES)
    result = np.zeros((MAX_FRAMES, BANDS - 1), np.int8)
    if frames < MIN_FRAMES or levels.shape[1] < BANDS:
        return result
    edges = np.linspace(0, levels.shape[1], BANDS + 1).astype(int)[:-1]
    kept = levels[: frames * pooled].astype(np.float32)
    energies = np.add.reduceat(kept, edges, axis=1).reshape(frames, pooled, BANDS).sum(axis=1)
    across_bands = np.diff(energies, axis=1)
    result[: frames - LAG_FRAMES] = np.sign(across_bands[LAG_FRAMES:] - across_bands[:-LAG_FRAMES])
    return result


def matches(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Returns (index in `first`, index in `second`) of each pair of `signs` that match."""
    found: set[tuple[int, int]] = set()
    blocks = range(0, len(first), CLIPS_AT_ONCE)
    with threadpool_limits(1):  # on a busy machine, threads of such small products block each other
        for start in log.progress(blocks, total=len(blocks), unit="block", title="near-duplicates"):
            ours = np.stack(first[start : start + CLIPS_AT_ONCE])
            for other_start in range(0, len(second), CLIPS_AT_ONCE):
                others = np.stack(second[other_start : other_start + CLIPS_AT_ONCE])
                for correlation in _correlations(ours, others):
                    pairs = np.argwhere(correlation > MIN_CORRELATION).tolist()
                    found |= {(start + a, other_start + b) for a, b in pairs}
    return sorted(found)


def _correlations(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the correlation (first, second) of the signs of clips at each shift."""
    first, second = first.astype(np.float32), second.astype(np.float32)
    for shift in range(-MAX_SHIFT_FRAMES, MAX_SHIFT_FRAMES + 1):
        kept = MAX_FRAMES - abs(shift)
        ours = first[:, max(0, shift) :][:, :kept].reshape(len(first), -1)
        others = second[:, max(0, -shift) :][:, :kept].reshape(len(second), -1)
        norms = np.linalg.norm(ours, axis=1)[:, None] * np.linalg.norm(others, axis=1)
        yield ours @ others.T / np.maximum(norms, 1)

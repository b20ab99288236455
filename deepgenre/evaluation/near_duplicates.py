"""Near-duplicate clips: the same audio at another gain, bitrate, pitch or speed, or shifted.

What survives all of these is how the level of broad bands changes over tenths of seconds to
seconds. The signature of a clip is that: levels in dB, averaged over BANDS groups of mel bands and
0.25 s, minus their running mean over 2.25 s (which removes gain, equalisers, low-pass filters and
fades), limited to +-2 standard deviations. Two clips are compared by the cosine of their
signatures, at time shifts up to 2 s and speeds up to a semitone apart. Unrelated clips have
cosines up to 0.3, few up to 0.6, copies above: see `MIN_SIMILARITY`.

Random projections find the candidates (Johnson and Lindenstrauss, 1984): all pairs are one matrix
product per shift and speed. The signatures themselves decide.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from deepgenre import log
from deepgenre.audio.frontend import FrontEnd, log_mel, stored_db

BANDS = 16
STEP_SECONDS = 0.125  # of the stored levels, and of shifts
BLOCK_STEPS = 2  # a level of a signature is a mean over 0.25 s
MEAN_BLOCKS = 9  # of the running mean that is subtracted
LIMIT = 2.0  # standard deviations
MAX_SECONDS = 30.0  # compared from the start of a clip
MIN_SECONDS = 8.0  # shorter clips have too little to tell copies from similar rhythms
MAX_SHIFT_SECONDS = 2.0
SPEEDS_SEMITONES = (0.0, -1.0, -0.5, 0.5, 1.0)
MAX_CLIPS_OF_SPEEDS = 6_000  # for more clips, only copies of equal speed are looked for
# On 709 clips of GTZAN, all pairs that Sturm (2013) lists as exact repetitions are
# above, and all other pairs but other excerpts and versions of one recording below.
MIN_SIMILARITY = 0.65
MIN_PROJECTED = 0.4  # cosine after projection; its error has a standard deviation of 0.06
PROJECTED = 256
ROWS = 512  # of a matrix product


class Pair(NamedTuple):
    """Two clips, by index, the smaller first, that contain the same audio."""

    first: int
    second: int
    similarity: float  # cosine, MIN_SIMILARITY to 1


def band_levels(levels: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """Returns dB, float32 (steps of STEP_SECONDS, BANDS), of stored levels (frames, bands)."""
    per_second = frontend.frames_per_second
    if frontend.kind == "waveform":
        frontend = FrontEnd(sample_rate_hz=frontend.sample_rate_hz)
        decibels = log_mel(levels[:, 0].astype(np.float32), frontend)
        per_second = frontend.frames_per_second
    elif frontend.kind == "musicnn":
        decibels = stored_db(levels, frontend)
        decibels = np.maximum(decibels, decibels.max() - frontend.dynamic_range_db)
    else:
        decibels = levels.astype(np.float32)
    decibels = decibels[: round(MAX_SECONDS * per_second) + 1]
    edges = np.linspace(0, decibels.shape[1], BANDS + 1).round().astype(int)
    sums = np.add.reduceat(decibels, np.minimum(edges[:-1], decibels.shape[1] - 1), axis=1)
    broad = sums / np.maximum(np.diff(edges), 1)
    num_steps = int(len(broad) / per_second / STEP_SECONDS)
    edges_of_steps = np.arange(num_steps + 1) * STEP_SECONDS * per_second
    totals = np.concatenate([np.zeros((1, BANDS)), broad.cumsum(axis=0, dtype=np.float64)])
    sums = np.diff(_at(totals, edges_of_steps), axis=0)  # fractions of frames included
    return (sums / (STEP_SECONDS * per_second)).astype(np.float32)


def find(levels: Sequence[np.ndarray], *, speeds: bool = True, versus: int = 0) -> list[Pair]:
    """Returns the pairs of near-duplicates among clips, by their `band_levels`.

    Clips shorter than MIN_SECONDS are not compared. speeds: also look for copies of other speed.
    versus: where positive, only the clips before this one are compared, with those from it on.
    """
    long = [i for i, clip in enumerate(levels) if len(clip) * STEP_SECONDS >= MIN_SECONDS]
    ours = sum(index < versus for index in long)  # of the clips that are compared
    if len(long) < 2 or (versus and not 0 < ours < len(long)):
        return []
    signatures = _Signatures([levels[index] for index in long])
    core = signatures.cut(0, 0.0)[: ours or None]
    random = np.random.default_rng(0).standard_normal((core.shape[1], PROJECTED), np.float32)
    projection = random / np.float32(np.sqrt(PROJECTED))
    variants = [
        (shift, semitones)
        for semitones in (
            SPEEDS_SEMITONES if speeds and len(long) <= MAX_CLIPS_OF_SPEEDS else (0.0,)
        )
        for shift in range(-signatures.shift_steps, signatures.shift_steps + 1)
    ]
    best: dict[tuple[int, int], float] = {}
    for shift, semitones in log.progress(
        variants, total=len(variants), unit="shift", title="near-duplicates"
    ):
        others = signatures.cut(shift, semitones)[ours:]
        for first, second in _candidates(core @ projection, others @ projection):
            if first == second + ours:
                continue
            key = (min(first, second + ours), max(first, second + ours))
            best[key] = max(best.get(key, -1.0), float(core[first] @ others[second]))
    found = [
        Pair(long[first], long[second], min(cosine, 1.0))
        for (first, second), cosine in best.items()
        if cosine >= MIN_SIMILARITY
    ]
    return sorted(found, key=lambda pair: (pair.first, pair.second))


class _Signatures:
    """Signatures of clips of about the median length, at any shift and speed."""

    def __init__(self, clips: Sequence[np.ndarray]) -> None:
        """Sums the levels (steps, BANDS) of each clip over time; shorter clips are padded."""
        self._steps = np.array([len(clip) for clip in clips])
        length = int(np.median(self._steps))
        self.shift_steps = min(round(MAX_SHIFT_SECONDS / STEP_SECONDS), length // 15)
        self._num_blocks = (length - 2 * self.shift_steps) // BLOCK_STEPS
        longest = int(self._steps.max())
        self._sums = np.zeros((len(clips), longest + 1, BANDS), np.float32)
        for sums, clip in zip(self._sums, clips, strict=True):
            sums[1 : len(clip) + 1] = clip.cumsum(axis=0)
            sums[len(clip) + 1 :] = sums[len(clip)]

    def cut(self, shift: int, semitones: float) -> np.ndarray:
        """Returns the signatures that start `shift` steps later, played `semitones` faster.

        float32 (clips, blocks * BANDS), each of length 1; zero beyond the end of a short clip.
        """
        speed = 2 ** (semitones / 12)
        blocks = np.arange(self._num_blocks)
        starts = (self.shift_steps + shift + BLOCK_STEPS * blocks) * speed
        ends = starts + BLOCK_STEPS * speed
        reach = (MEAN_BLOCKS - 1) / 2 * BLOCK_STEPS * speed  # of the trend, on each side
        changes = self._means(starts, ends) - self._means(starts - reach, ends + reach)
        changes *= (ends <= self._steps[:, None])[:, :, None]
        changes = changes.reshape(len(changes), -1)
        scale = changes.std(axis=1, keepdims=True) + 1e-6
        limited = np.clip(changes / scale, -LIMIT, LIMIT).astype(np.float32)
        return limited / np.maximum(np.linalg.norm(limited, axis=1, keepdims=True), 1e-6)

    def _means(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns the mean levels between steps of each clip, float32 (clips, blocks, BANDS)."""
        starts = np.maximum(starts, 0)
        lengths = np.minimum(ends, self._steps[:, None]) - starts  # (clips, blocks)
        sums = _at(self._sums, ends) - _at(self._sums, starts)
        return sums / np.maximum(lengths, 1e-6)[:, :, None].astype(np.float32)


def _at(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns (..., places, bands): rows (..., rows, bands) at fractional places, interpolated.

    The last row beyond the end.
    """
    last = rows.shape[-2] - 1
    clipped = np.clip(places, 0, last)
    below = np.minimum(clipped.astype(int), last - 1)
    if (clipped == below).all():
        return rows[..., below, :]
    share = (clipped - below).astype(rows.dtype)[:, None]
    return rows[..., below, :] * (1 - share) + rows[..., below + 1, :] * share


def _candidates(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields the pairs of rows of two matrices with a cosine above MIN_PROJECTED."""
    first = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-6)
    second = second / np.maximum(np.linalg.norm(second, axis=1, keepdims=True), 1e-6)
    for start in range(0, len(first), ROWS):
        close = np.argwhere(first[start : start + ROWS] @ second.T > MIN_PROJECTED)
        for row, column in close.tolist():
            yield start + row, column


def groups(pairs: Iterable[Pair | tuple[int, int]]) -> list[list[int]]:
    """Returns the groups of indices that pairs connect, each sorted, largest groups first."""
    leader: dict[int, int] = {}
    for pair in pairs:
        low, high = sorted(leader.get(index, index) for index in pair[:2])
        leader = {index: low if own == high else own for index, own in leader.items()}
        leader |= dict.fromkeys(pair[:2], low)
    members: dict[int, list[int]] = {}
    for index in sorted(leader):
        members.setdefault(leader[index], []).append(index)
    return sorted(members.values(), key=lambda group: (-len(group), group))

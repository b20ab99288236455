"""Acoustic fingerprints, which find copies of a recording in other formats, levels and lengths.

Haitsma and Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002): each frame gives 32
bits, the signs of the differences of 33 band energies between bands and frames. A gain changes no
sign and lossy coding few. Two recordings match where, at some shift, few bits differ.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from deepgenre.audio.frame_stream import magnitudes

RATE_HZ = 11_025
FRAME_SAMPLES = 4096  # 0.37 s, as in the paper
HOP_SAMPLES = 512  # 46 ms; the paper's 11.6 ms takes four times the space
SPAN_SAMPLES = FRAME_SAMPLES + HOP_SAMPLES  # a difference between two frames
BANDS_HZ = np.geomspace(300, 2000, 34)  # edges of 33 bands
MAX_FRAMES = 2584  # two minutes: 10 kB
MAX_SECONDS = (MAX_FRAMES * HOP_SAMPLES + SPAN_SAMPLES) / RATE_HZ
BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)
MAX_REPEATS = 50  # frames that more recordings share say nothing: silence, held tones
MIN_EQUAL_FRAMES = 3  # at one shift, of pairs that are compared


@dataclasses.dataclass(frozen=True)
class Matching:
    """When two fingerprints, each uint32 (frames,), are of one recording."""

    min_overlap_frames: int
    max_bit_errors: float  # share of the bits of overlapping frames


# 108: 5 s; 0.5 of the bits differ between unrelated recordings, the paper's threshold is 0.35.
MATCHING = Matching(min_overlap_frames=108, max_bit_errors=0.30)


def sub_fingerprints(samples: np.ndarray) -> np.ndarray:
    """Returns 32 bits of each frame of samples at RATE_HZ, uint32 (frames,)."""
    window = np.hanning(FRAME_SAMPLES).astype(np.float32)
    spectrum = magnitudes(samples, window, HOP_SAMPLES)
    edges = np.rint(BANDS_HZ * FRAME_SAMPLES / RATE_HZ).astype(np.int64)
    power = np.square(spectrum[:, : edges[-1]])
    energies = np.add.reduceat(power, edges[:-1], axis=1)
    across_bands = energies[:, :-1] - energies[:, 1:]
    return ((across_bands[1:] > across_bands[:-1]) * BITS).sum(axis=1, dtype=np.uint32)


def bit_error_rate(
    first: np.ndarray, second: np.ndarray, shift: int, min_overlap_frames: int
) -> float:
    """Returns the share of differing bits where frame i of `second` is i + shift of `first`.

    1 where they overlap by less than `min_overlap_frames`.
    """
    first, second = first[max(0, shift) :], second[max(0, -shift) :]
    overlap = min(first.size, second.size)
    if overlap < min_overlap_frames:
        return 1.0
    return float(np.bitwise_count(first[:overlap] ^ second[:overlap]).mean()) / 32


def matches(
    fingerprints: Sequence[np.ndarray], matching: Matching = MATCHING
) -> list[tuple[int, int]]:
    """Returns the pairs of indices, smaller first, of recordings that are copies of each other.

    Pairs with equal frames at a shift are compared at that shift; others are not copies.
    """
    shifts, counts = np.unique(_equal_frames(fingerprints), axis=0, return_counts=True)
    pairs: set[tuple[int, int]] = set()
    for first, second, shift in shifts[counts >= MIN_EQUAL_FRAMES].tolist():
        if (first, second) not in pairs:
            songs = fingerprints[first], fingerprints[second]
            errors = bit_error_rate(*songs, shift, matching.min_overlap_frames)
            pairs |= {(first, second)} if errors < matching.max_bit_errors else set()
    return sorted(pairs)


def _equal_frames(fingerprints: Sequence[np.ndarray]) -> np.ndarray:
    """Returns a row per equal frame of two recordings: their indices and the shift, (rows, 3)."""
    if not fingerprints:
        return np.zeros((0, 3), np.int64)
    sizes = [fingerprint.size for fingerprint in fingerprints]
    values = np.concatenate(fingerprints)
    entries = np.stack([np.repeat(np.arange(len(sizes)), sizes), np.r_[*map(np.arange, sizes)]])
    order = np.argsort(values, kind="stable")
    _, counts = np.unique(values, return_counts=True)
    order = order[np.repeat(counts <= MAX_REPEATS, counts)]
    values, (songs, positions) = values[order], entries[:, order]
    rows = [np.zeros((0, 3), np.int64)]
    for distance in range(1, MAX_REPEATS):  # between the places of two entries of a value
        first, second = slice(0, -distance), slice(distance, None)
        equal = (values[first] == values[second]) & (songs[first] != songs[second])
        shifts = (positions[first] - positions[second])[equal]
        rows.append(np.stack([songs[first][equal], songs[second][equal], shifts], axis=1))
    return np.concatenate(rows)

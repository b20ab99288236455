"""Key, from the correlation of pitch classes with key profiles (Krumhansl, 1990).

Peaks of the spectrum are added to a histogram of pitch in tenths of a semitone, modulo the octave.
The tuning of the recording shifts all peaks by the same fraction, which is removed before the
histogram is summed to twelve pitch classes.
"""

import numpy as np

from deepgenre.audio.frame_stream import magnitudes

RATE_HZ = 11_025
FRAME_SAMPLES = 8192  # 0.74 s: semitones differ by more than a bin down to 25 Hz
HOP_SAMPLES = 4096
SPAN_SAMPLES = FRAME_SAMPLES
BINS_PER_SEMITONE = 10
NUM_BINS = 12 * BINS_PER_SEMITONE
RANGE_HZ = (65.0, 1000.0)  # C2 to B5: above, most peaks are harmonics
C0_HZ = 440 * 2 ** (-57 / 12)
PEAK_FLOOR = 1e-2  # of the largest magnitude of a frame
NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# By semitones above the tonic. Temperley, "Music and Probability" (2007), of the Kostka-Payne
# corpus.
MAJOR = (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400)
MINOR = (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330)


def pitch_histogram(samples: np.ndarray) -> np.ndarray:
    """Returns the pitches of each frame of samples at RATE_HZ, float32 (frames, NUM_BINS).

    Bin 0 is C at A = 440 Hz. There are `1 + (samples - SPAN_SAMPLES) // HOP_SAMPLES` frames.
    """
    window = np.hanning(FRAME_SAMPLES).astype(np.float32)
    spectrum = magnitudes(samples, window, HOP_SAMPLES)
    first, last = (round(hz * FRAME_SAMPLES / RATE_HZ) for hz in RANGE_HZ)
    below, here, above = (spectrum[:, first + i : last + i] for i in (-1, 0, 1))
    floor = PEAK_FLOOR * here.max(axis=1, keepdims=True)
    rows, columns = np.nonzero((here > below) & (here >= above) & (here > floor))
    left, middle, right = (np.log(part[rows, columns] + 1e-20) for part in (below, here, above))
    # The vertex of a parabola through the logarithms of three bins.
    offset = 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)
    hz = (first + columns + offset) * RATE_HZ / FRAME_SAMPLES
    pitch = np.rint(NUM_BINS * np.log2(hz / C0_HZ)).astype(np.int64) % NUM_BINS
    flat = np.bincount(rows * NUM_BINS + pitch, here[rows, columns], here.shape[0] * NUM_BINS)
    return flat.reshape(-1, NUM_BINS).astype(np.float32)


def pitch_classes(histogram: np.ndarray) -> np.ndarray:
    """Returns the strength of C, C#, ..., B at the recording's own tuning, float64 (12,)."""
    total = histogram.sum(axis=0, dtype=np.float64)
    angles = 2 * np.pi * np.arange(NUM_BINS) / BINS_PER_SEMITONE
    tuning = np.angle((total * np.exp(1j * angles)).sum()) / (2 * np.pi) * BINS_PER_SEMITONE
    centred = np.roll(total, BINS_PER_SEMITONE // 2 - round(tuning))
    return centred.reshape(12, BINS_PER_SEMITONE).sum(axis=1)


def estimate(histogram: np.ndarray) -> str | None:
    """Returns the key, e.g. 'C major' or 'F# minor', of a piece's `pitch_histogram`.

    None where the piece has no pitch or all are equally strong.
    """
    strengths = pitch_classes(histogram)
    if not strengths.std() > 0:
        return None
    scores = {
        f"{NAMES[tonic]} {mode}": float(np.corrcoef(np.roll(profile, tonic), strengths)[0, 1])
        for mode, profile in (("major", MAJOR), ("minor", MINOR))
        for tonic in range(12)
    }
    return max(scores, key=lambda name: scores[name])

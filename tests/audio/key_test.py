import numpy as np
import pytest

from deepgenre.audio import key

MAJOR_SCALE = (0, 4, 7, 5, 9, 12, 7, 11, 14, 0, 4, 7)  # I, IV, V, I
MINOR_SCALE = (0, 3, 7, 5, 8, 12, 7, 10, 14, 0, 3, 7)


def chords(tonic: int, degrees: tuple[int, ...], cents: float = 0.0) -> np.ndarray:
    """Returns triads of sines, a second each; `tonic` in semitones above C."""
    time = np.arange(key.RATE_HZ) / key.RATE_HZ
    parts = []
    for start in range(0, len(degrees), 3):
        pitches = 48 + tonic + np.array(degrees[start : start + 3]) + cents / 100
        hz = 440 * 2 ** ((pitches - 69) / 12)
        parts.append(np.sin(2 * np.pi * hz[:, None] * time).sum(axis=0) / 10)
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize(("mode", "degrees"), [("major", MAJOR_SCALE), ("minor", MINOR_SCALE)])
def test_key_of_cadences(tonic: int, mode: str, degrees: tuple[int, ...]):
    histogram = key.pitch_histogram(chords(tonic, degrees))
    assert key.estimate(histogram) == f"{key.NAMES[tonic]} {mode}"


@pytest.mark.parametrize("cents", [-40, -20, 20, 40])
def test_tuning_does_not_change_the_key(cents: float):
    assert key.estimate(key.pitch_histogram(chords(2, MAJOR_SCALE, cents))) == "D major"


def test_silence_has_no_key():
    assert key.estimate(key.pitch_histogram(np.zeros(20_000, np.float32))) is None


def test_pitches_between_two_semitones_are_one_pitch_class():
    histogram = np.zeros((1, key.NUM_BINS), np.float32)
    histogram[0, [3, 4, 5, 6]] = 1  # 30 to 60 cents above C
    assert key.pitch_classes(histogram).tolist() == [4.0] + 11 * [0.0]

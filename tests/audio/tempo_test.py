import numpy as np
import pytest

from deepgenre.audio import tempo


def clicks(bpm: float, seconds: float = 30.0, gain: float = 1.0) -> np.ndarray:
    """Returns decaying noise at every beat."""
    rng = np.random.default_rng(0)
    samples = 1e-4 * rng.standard_normal(round(seconds * tempo.RATE_HZ))
    burst = rng.standard_normal(1000) * np.exp(-np.arange(1000) / 200)
    for beat in np.arange(0, seconds - 0.2, 60 / bpm):
        start = round(beat * tempo.RATE_HZ)
        samples[start : start + 1000] += 0.5 * burst
    return (gain * samples).astype(np.float32)


@pytest.mark.parametrize("bpm", [75, 90, 104.3, 120, 133, 150, 165])
def test_tempo_of_clicks(bpm: float):
    assert tempo.estimate(tempo.onset_strength(clicks(bpm))) == pytest.approx(bpm, rel=0.005)


def test_tempo_does_not_depend_on_the_level():
    quiet = tempo.estimate(tempo.onset_strength(clicks(104.3, gain=0.1)))
    assert quiet == pytest.approx(104.3, rel=0.005)


def test_tempo_is_unknown_of_silence_and_of_a_few_seconds():
    assert tempo.estimate(tempo.onset_strength(np.zeros(330_750, np.float32))) is None
    assert tempo.estimate(tempo.onset_strength(clicks(120, seconds=5))) is None

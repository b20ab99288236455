"""Near-duplicates: planted copies of synthetic pieces, and the known repetitions of GTZAN."""

import shutil
import subprocess

import numpy as np
import pytest
import soxr

from deepgenre.audio.frontend import FrontEnd, levels
from deepgenre.data.datasets.gtzan import fault_filtered
from deepgenre.data.datasets.spectrograms import read_npz
from deepgenre.evaluation import near_duplicates
from deepgenre.evaluation.near_duplicates import Pair

RATE_HZ = 22_050
FRONTEND = FrontEnd(hop_length=512, n_mels=64, n_fft=1024)
SECONDS = 14
# Clips of the same recording, after B. L. Sturm, "The GTZAN dataset" (2013). Of disco 71 and 74,
# levels are alike, but less than those of the others.
REPETITIONS = """
    disco 50 51, disco 50 70, disco 51 70, disco 55 60, disco 55 89, disco 60 89, disco 71 74,
    disco 98 99, hiphop 39 45, hiphop 76 78, jazz 33 51, jazz 34 53, jazz 35 55, jazz 36 58,
    jazz 37 60, jazz 38 62, jazz 39 65, jazz 40 67, jazz 42 68, jazz 43 69, jazz 44 70, jazz 45 71,
    jazz 46 72,
    metal 4 13, metal 34 94, metal 40 61, metal 41 62, metal 42 63, metal 43 64, metal 44 65,
    metal 45 66, pop 15 22, pop 30 31, pop 45 46, pop 47 80, pop 52 57, pop 54 60, pop 56 59,
    pop 67 71, pop 87 90, pop 68 73, reggae 3 54, reggae 5 56, reggae 8 57, reggae 10 60,
    reggae 13 58, reggae 41 69, reggae 73 74, reggae 80 81, reggae 80 82, reggae 81 82,
    reggae 75 91, reggae 75 92, reggae 91 92
"""


def piece(seed: int, seconds: float = SECONDS, semitones: float = 0.0) -> np.ndarray:
    """Returns random notes with decaying partials, and noise bursts, float32 (samples,)."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * RATE_HZ), np.float32)
    start = 0.0
    while start < seconds - 0.1:
        length = rng.uniform(0.15, 0.7)
        time = np.arange(round(min(length, seconds - start) * RATE_HZ)) / RATE_HZ
        hz = rng.choice([110, 165, 220, 330, 440, 880]) * 2 ** (semitones / 12)
        tone = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 8))
        noise = rng.standard_normal(time.size) * rng.choice([0, 0, 1.0])
        decay = np.exp(-time * rng.uniform(1, 12))
        at = round(start * RATE_HZ)
        samples[at : at + time.size] += rng.uniform(0.1, 1) * 0.2 * (tone + noise) * decay
        start += length
    return samples


def mp3(samples: np.ndarray, bitrate: str) -> np.ndarray:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    raw = ["-f", "f32le", "-ar", str(RATE_HZ), "-ac", "1"]
    encode = ["ffmpeg", "-v", "error", *raw, "-i", "-", "-b:a", bitrate, "-f", "mp3", "-"]
    decode = ["ffmpeg", "-v", "error", "-f", "mp3", "-i", "-", *raw, "-"]
    data = samples.astype("<f4").tobytes()
    for command in (encode, decode):
        data = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    return np.frombuffer(data, "<f4")


def later(samples: np.ndarray, seconds: float) -> np.ndarray:
    return samples[round(seconds * RATE_HZ) :]


COPIES = {
    "gain": lambda seed: 0.05 * piece(seed),
    "clipped": lambda seed: np.clip(8 * piece(seed), -1, 1),
    "bitrate 16k": lambda seed: mp3(piece(seed), "16k"),
    "cut 0.9 s": lambda seed: later(piece(seed), 0.9),
    "pitch 2 semitones": lambda seed: piece(seed, semitones=2),
    "pitch -2 semitones": lambda seed: piece(seed, semitones=-2),
    "half a semitone faster": lambda seed: soxr.resample(
        piece(seed), RATE_HZ * 2 ** (0.5 / 12), RATE_HZ
    ),
    "a semitone slower": lambda seed: soxr.resample(piece(seed), RATE_HZ, RATE_HZ * 2 ** (1 / 12)),
}


def bands(samples: np.ndarray) -> np.ndarray:
    return near_duplicates.band_levels(levels(samples, FRONTEND), FRONTEND)


@pytest.fixture(scope="module")
def originals() -> list[np.ndarray]:
    return [bands(piece(seed)) for seed in range(len(COPIES))]


def test_planted_copies_are_found_and_nothing_else(originals):
    copies = [bands(change(seed)) for seed, change in enumerate(COPIES.values())]
    pairs = near_duplicates.find([*originals, *copies])
    found = {(pair.first, pair.second) for pair in pairs}
    missed = [name for i, name in enumerate(COPIES) if (i, i + len(originals)) not in found]
    assert not missed
    assert len(found) == len(COPIES)


def test_different_pieces_are_no_copies(originals):
    assert near_duplicates.find(originals) == []


def test_levels_of_other_kinds_give_the_same_pairs():
    for kind in ("musicnn", "waveform"):
        frontend = FrontEnd(kind=kind, hop_length=512, n_mels=64, n_fft=1024)
        made = [0.1 * piece(1), piece(2), piece(1)]
        found = [near_duplicates.band_levels(levels(one, frontend), frontend) for one in made]
        pairs = near_duplicates.find(found)
        assert [(pair.first, pair.second) for pair in pairs] == [(0, 2)]


def test_clips_too_short_to_tell_and_few_clips():
    short = bands(piece(1, seconds=3))
    assert near_duplicates.find([short, short]) == []
    assert near_duplicates.find([]) == []


def test_a_clip_shorter_than_the_others_is_compared(originals):
    pairs = near_duplicates.find([*originals, bands(piece(5)[: 9 * RATE_HZ])])
    assert [(pair.first, pair.second) for pair in pairs] == [(5, len(originals))]


def test_groups_join_pairs():
    pairs = [Pair(0, 4, 1.0), Pair(2, 3, 1.0), Pair(3, 4, 1.0), Pair(7, 8, 1.0)]
    assert near_duplicates.groups(pairs) == [[0, 2, 3, 4], [7, 8]]


def test_only_the_first_clips_are_compared_with_the_others(originals):
    clips = [*originals[:2], originals[0], *originals[1:4], originals[3]]
    pairs = near_duplicates.find(clips, versus=2)
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 2), (1, 3)]


def test_known_repetitions_of_gtzan_are_found_and_nothing_else(shared_data):
    path = shared_data / "gtzan_mel" / "gtzan_mel_dev.npz"
    frontend = FrontEnd(hop_length=1709)
    with np.load(path) as arrays:
        names = arrays["name"].tolist()
        clips = [near_duplicates.band_levels(mel.T, frontend) for mel in arrays["mel"]]
    listed = set()
    for entry in REPETITIONS.split(","):
        genre, *numbers = entry.split()
        pair = tuple(f"{genre}.{int(number):05d}" for number in numbers)
        listed |= {pair} if {*pair} <= {*names} else set()
    assert len(listed) == 46
    found = {
        (names[pair.first], names[pair.second])
        for pair in near_duplicates.find(clips, speeds=False)
    }
    assert found == listed | {("metal.00058", "rock.00016")}
    split = fault_filtered(read_npz(path).clips, 0)
    used = {key for keys in split.values() for key in keys}
    assert not [pair for pair in found if {*pair} <= used]

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
# Exact repetitions that Sturm (2013) lists, of clips at hand that are not in the fault-filtered
# split: 'genre': pairs of numbers.
REPETITIONS = {
    "disco": [(50, 51), (50, 70), (51, 70), (55, 60), (55, 89), (60, 89), (71, 74)],
    "hiphop": [(76, 78)],
    "jazz": [(33, 51), (34, 53), (35, 55), (36, 58), (37, 60), (38, 62), (39, 65), (40, 67),
             (42, 68), (43, 69), (44, 70), (45, 71), (46, 72)],
    "metal": [(34, 94), (40, 61), (41, 62), (42, 63), (43, 64), (44, 65), (45, 66)],
    "pop": [(15, 22), (30, 31), (45, 46), (47, 80), (52, 57), (54, 60), (56, 59)],
    "reggae": [(3, 54), (5, 56), (8, 57), (10, 60), (13, 58), (41, 69), (73, 74), (75, 91),
               (75, 92), (80, 81), (91, 92)],
}  # fmt: skip


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
    pairs = near_duplicates.find([*originals, *copies], total=len(originals) + len(copies))
    found = {(pair.first, pair.second) for pair in pairs}
    missed = [name for i, name in enumerate(COPIES) if (i, i + len(originals)) not in found]
    assert not missed
    assert len(found) == len(COPIES)


def test_different_pieces_are_no_copies(originals):
    assert near_duplicates.find(originals, total=len(originals)) == []


def test_levels_of_other_kinds_give_the_same_pairs():
    for kind in ("musicnn", "waveform"):
        frontend = FrontEnd(kind=kind, hop_length=512, n_mels=64, n_fft=1024)
        made = [0.1 * piece(1), piece(2), piece(1)]
        found = [near_duplicates.band_levels(levels(one, frontend), frontend) for one in made]
        pairs = near_duplicates.find(found, total=3)
        assert [(pair.first, pair.second) for pair in pairs] == [(0, 2)]


def test_clips_too_short_to_tell_and_few_clips():
    short = bands(piece(1, seconds=3))
    assert near_duplicates.find([short, short], total=2) == []
    assert near_duplicates.find([], total=0) == []


def test_a_clip_shorter_than_the_others_is_compared(originals):
    pairs = near_duplicates.find([*originals, bands(piece(5)[: 9 * RATE_HZ])], total=9)
    assert [(pair.first, pair.second) for pair in pairs] == [(5, len(originals))]


def test_groups_join_pairs():
    pairs = [Pair(0, 4, 1.0), Pair(2, 3, 1.0), Pair(3, 4, 1.0), Pair(7, 8, 1.0)]
    assert near_duplicates.groups(pairs) == [[0, 2, 3, 4], [7, 8]]


def test_known_repetitions_of_gtzan_are_found(shared_data):
    path = shared_data / "gtzan_mel" / "gtzan_mel_dev.npz"
    if not path.is_file():
        pytest.skip(f"no spectrograms of GTZAN at {path}")
    known = {
        (f"{genre}.{first:05d}", f"{genre}.{second:05d}")
        for genre, pairs in REPETITIONS.items()
        for first, second in pairs
    }
    frontend = FrontEnd(hop_length=1709)
    with np.load(path) as arrays:
        chosen = [i for i, name in enumerate(arrays["name"]) if name[:2] in ("di", "po", "re")]
        names = arrays["name"][chosen].tolist()
        clips = [near_duplicates.band_levels(arrays["mel"][i].T, frontend) for i in chosen]
    found = {
        (names[pair.first], names[pair.second])
        for pair in near_duplicates.find(clips, total=len(clips), speeds=False)
    }
    expected = {pair for pair in known if pair[0] in names}
    assert found == expected
    split = fault_filtered(read_npz(path).clips, 0)
    used = {key for keys in split.values() for key in keys}
    assert not [pair for pair in found if {*pair} <= used]

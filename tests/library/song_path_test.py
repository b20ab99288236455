"""Paths of songs: the best of all sequences, even steps, no repeats, rules, too few songs."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from deepgenre.errors import UserError
from deepgenre.inference.song_index import Song
from deepgenre.library import selection, song_path
from deepgenre.library.song_path import Rules

COSINE = {"embedding": 1.0}


def song(name: str, vector) -> Song:
    return Song(Path(f"{name}.mp3"), None, np.asarray(vector, np.float32))


def on_circle(*degrees: float) -> list[Song]:
    """Returns songs whose embeddings are at angles."""
    angles = np.deg2rad(degrees)
    return [song(f"{d:g}", (np.cos(a), np.sin(a))) for d, a in zip(degrees, angles, strict=True)]


def names(path: list[Song]) -> list[str]:
    return [each.path.stem for each in path]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_songs", [3, 5, 8])
def test_no_other_sequence_has_smaller_steps(seed, num_songs):
    steps = np.random.default_rng(seed).random((8, 8))
    path = song_path.shortest(steps, num_songs)

    def cost(sequence):
        return sum(steps[a, b] for a, b in itertools.pairwise(sequence))

    every = [
        (0, *middle, 7) for middle in itertools.combinations(range(1, 7), num_songs - 2)
    ]  # increasing, hence without repeats
    assert tuple(path) in every
    assert cost(path) == pytest.approx(min(map(cost, every)))


def test_path_on_an_arc_has_even_steps():
    first, last, *songs = on_circle(0, 90, *range(1, 90), 200, 300)
    path = song_path.find([first, last], songs, COSINE, Rules(7))
    assert names(path) == ["0", "15", "30", "45", "60", "75", "90"]


def test_copies_are_not_in_one_path():
    first, last, *songs = on_circle(0, 60, 0.1, 29.9, 30, 30.1, 59.9, 10)
    free = song_path.find([first, last], songs, COSINE, Rules(5))
    assert sum(name in ("29.9", "30", "30.1") for name in names(free)) > 1
    path = song_path.find([first, last], songs, COSINE, Rules(4, copy_cosine=0.999))
    assert names(path)[:2] == ["0", "10"]
    assert names(path)[2] in ("29.9", "30", "30.1")


def test_no_artist_twice_within_the_gap(monkeypatch):
    by_a = ("30", "45", "60")
    monkeypatch.setattr(selection, "artist", lambda path: "a" if path.stem in by_a else path.stem)
    first, last, *songs = on_circle(0, 90, *range(5, 90, 5))

    def places(rules):
        path = names(song_path.find([first, last], songs, COSINE, rules))
        assert len({*path}) == 7
        return [place for place, name in enumerate(path) if name in by_a]

    assert places(Rules(7)) == [2, 3, 4]
    assert all(b - a > 1 for a, b in itertools.pairwise(places(Rules(7, artist_gap=1))))
    assert len(places(Rules(7, artist_gap=6))) <= 1


def test_ends_of_one_artist_stay(monkeypatch):
    monkeypatch.setattr(selection, "artist", lambda path: "a" if path.stem in "0 90 45" else "")
    first, last, *songs = on_circle(0, 90, 40, 45)
    path = song_path.find([first, last], songs, COSINE, Rules(3, artist_gap=5))
    assert names(path) == ["0", "40", "90"]


def test_songs_that_cannot_be_used_are_left_out():
    first, last, *songs = on_circle(0, 90, 30, 45, 60)
    path = song_path.find([first, last], songs, COSINE, Rules(3), lambda s: s.path.stem != "45")
    assert names(path)[1] in ("30", "60")


@pytest.mark.parametrize("num_others", [0, 1, 3])
def test_too_few_songs_are_an_error(num_others):
    first, last, *songs = on_circle(0, 90, *range(10, 10 + num_others))
    with pytest.raises(UserError, match=f"--path_to: only {num_others} songs are left for 4"):
        song_path.find([first, last], songs, COSINE, Rules(6))


def test_candidates_of_a_large_library_lie_between_the_ends(monkeypatch):
    monkeypatch.setattr(song_path, "CANDIDATES", 50)
    rng = np.random.default_rng(0)
    first, last, *between = on_circle(0, 60, *range(2, 60, 2))
    far = [song(f"far{i}", v) for i, v in enumerate(rng.standard_normal((2000, 2)))]
    far = [each for each in far if each.vector @ (np.cos(0.52), np.sin(0.52)) < 0]
    path = song_path.find([first, last], [*far, *between], COSINE, Rules(6))
    assert {*names(path)} <= {*names([first, last, *between])}

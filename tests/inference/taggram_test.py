"""Taggrams: cells of the figure, and file names."""

import os
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import tiny
from hypothesis import given

from deepgenre.evaluation import timeline_figure
from deepgenre.inference import taggram
from deepgenre.inference.infer import FileOutputs


def test_cells_equal_hand_computed_values():
    edges, cells = timeline_figure.cells(np.array([0.0, 1.0, 2.0]), 2.0)  # overlap by half
    np.testing.assert_allclose(edges, [0, 1.5, 2.5, 4])
    assert list(cells) == [0, 1, 2]
    edges, cells = timeline_figure.cells(np.array([0.0, 2.0, 6.0]), 2.0)  # adjacent, then silence
    np.testing.assert_allclose(edges, [0, 2, 4, 6, 8])
    assert list(cells) == [0, 1, 3]
    edges, cells = timeline_figure.cells(np.array([3.0]), 2.0)
    np.testing.assert_allclose(edges, [3, 5])


@given(
    gaps=st.lists(st.floats(0.01, 20), max_size=20),
    first=st.floats(0, 10),
    length=st.floats(0.1, 10),
)
def test_each_window_has_its_own_cell(gaps, first, length):
    starts = first + np.cumsum([0, *gaps])
    edges, cells = timeline_figure.cells(starts, length)
    assert (np.diff(edges) > 0).all()
    assert len(set(cells)) == len(starts)
    assert edges[0] == starts[0]
    assert edges[-1] == np.float64(starts[-1] + length)
    for start, cell in zip(starts, cells, strict=True):
        assert start - 1e-3 <= edges[cell] <= edges[cell + 1] <= start + length + 1e-3


def test_names_are_unique():
    files = ["a/x.mp3", "b/x.wav", "c/X.wav", "x-2.wav", "a/\udcff.wav", "星" * 80 + ".au", "x"]
    names = list(taggram.names([Path(name) for name in files]).values())
    assert names[:4] == ["x", "x-2", "X-3", "x-2-2"]
    assert names[4] == "\udcff"
    assert len(os.fsencode(names[5])) <= taggram.MAX_NAME_BYTES
    assert len({name.casefold() for name in names}) == len(files)


def test_figure_with_many_classes_and_a_gap(tmp_path):
    rng = np.random.default_rng(0)
    starts = np.array([*np.arange(0, 60, 3.0), *np.arange(90, 200, 3.0)])
    scores = rng.random((len(starts), 50)) * np.linspace(1, 0, 50)
    names = [f"${number} \\frac{{" for number in range(50)]
    figures.taggram(tmp_path / "x.png", starts, 3.0, scores, names, "song $ 1_2.mp3")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_file_name_that_is_not_utf8(tmp_path):
    spec = tiny.spec()
    song = Path(os.fsdecode(b"\xff \xe6\x98\x9f\n.wav"))
    outputs = FileOutputs(song, np.arange(2.0), np.full((2, 3), 0.5, np.float32), None)
    taggram.write(tmp_path, taggram.names([song])[song], outputs, spec)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npz", ".png"]

"""Taggrams: cells of the figure, and file names."""

import dataclasses
import os
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile
import tiny
from hypothesis import given

from deepgenre.audio.discover import expand
from deepgenre.audio.frontend import FrontEnd
from deepgenre.audio.overview import Overview, Picture
from deepgenre.evaluation.figures import style, timeline
from deepgenre.inference import predict, taggram
from deepgenre.inference.infer import FileOutputs


def test_cells_equal_hand_computed_values():
    edges, cells = timeline.cells(np.array([0.0, 1.0, 2.0]), 2.0)  # overlap by half
    np.testing.assert_allclose(edges, [0, 1.5, 2.5, 4])
    assert list(cells) == [0, 1, 2]
    edges, cells = timeline.cells(np.array([0.0, 2.0, 6.0]), 2.0)  # adjacent, then silence
    np.testing.assert_allclose(edges, [0, 2, 4, 6, 8])
    assert list(cells) == [0, 1, 3]
    edges, cells = timeline.cells(np.array([3.0]), 2.0)
    np.testing.assert_allclose(edges, [3, 5])


@given(
    gaps=st.lists(st.floats(0.01, 20), max_size=20),
    first=st.floats(0, 10),
    length=st.floats(0.1, 10),
)
def test_each_window_has_its_own_cell(gaps, first, length):
    starts = first + np.cumsum([0, *gaps])
    edges, cells = timeline.cells(starts, length)
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


def picture(seconds: float) -> Picture:
    shown = Overview()
    noise = np.random.default_rng(0).normal(0, 0.1, (round(seconds * 8000), 1))
    shown.observe(0, noise.astype(np.float32), 8000)
    return shown.picture()


def test_figure_with_many_classes_and_a_gap(tmp_path):
    rng = np.random.default_rng(0)
    starts = np.array([*np.arange(0, 60, 3.0), *np.arange(90, 200, 3.0)])
    lengths = np.full(len(starts), 3.0)
    scores = rng.random((len(starts), 50)) * np.linspace(1, 0, 50)
    names = [f"${number} \\frac{{" for number in range(50)]
    changes, title = np.array([60.0]), "song $ 1_2.mp3"
    figure = timeline.timeline(picture(200), starts, lengths, scores, changes, names, title)
    style.write(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_file_name_that_is_not_utf8(tmp_path):
    spec = tiny.spec()
    song = Path(os.fsdecode(b"\xff \xe6\x98\x9f\n.wav"))
    scores = np.full((2, 3), 0.5, np.float32)
    outputs = FileOutputs(song, np.arange(2.0), scores, None, seconds=5.0)
    taggram.write(tmp_path, taggram.names([song])[song], outputs, spec, picture(5))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npz", ".png"]


def test_steps_of_overlapping_windows_are_those_with_the_most_context():
    starts = np.array([0.0, 5.0, 10.0, 40.0])  # 10 s windows, then silence
    scores = np.arange(4 * 5).reshape(4, 5, 1)
    begins, ends, kept = taggram.steps(starts, scores, 10.0)
    np.testing.assert_allclose(ends, [2, 4, 6, 8, 10, 13, 15, 18, 20, 42, 44, 46, 48, 50])
    assert kept[:, 0].tolist() == [0, 1, 2, 3, 4, 8, 9, 13, 14, 15, 16, 17, 18, 19]
    joined = np.append(begins[1:] == ends[:-1], True)
    assert np.flatnonzero(~joined).tolist() == [8]  # only the silence is a gap
    assert begins[9] == 40


def test_what_is_padding_only_is_left_out():
    """Of a song of 3 s and a window of 19 s, where the scores of the padding change."""
    spec = tiny.spec(window_frames=400)
    window_seconds = spec.window_frames / spec.frontend.frames_per_second
    steps = np.repeat([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], 14, axis=0).astype(np.float32)[None]
    outputs = FileOutputs(Path("x"), np.zeros(1), steps[:, -1], None, seconds=3.0)
    of_window = taggram.over_time(outputs, spec)
    assert of_window.starts.tolist() == [0] and of_window.length_seconds.tolist() == [3]
    padded = taggram.over_time(dataclasses.replace(outputs, step_scores=steps), spec)
    assert len(padded.starts) == np.ceil(3 / (window_seconds / 28))
    assert padded.starts[-1] + padded.length_seconds[-1] == pytest.approx(3)
    assert padded.changes.size == 0
    long = dataclasses.replace(outputs, step_scores=steps, seconds=60.0)
    assert taggram.over_time(long, spec).changes == pytest.approx([window_seconds / 2], abs=0.1)


def test_many_changes_do_not_hide_the_scores():
    starts, scores = np.arange(100.0), np.full((100, 3), 0.5)
    for count, expected in ((30, [30, 30, 30]), (31, [31, 0, 0])):
        changes = np.linspace(5, 95, count)
        figure = timeline.timeline(
            picture(100), starts, np.ones(100), scores, changes, ("a", "b", "c"), "x"
        )
        assert [len(axes.lines) for axes in figure.axes[:3]] == expected


def test_changes_are_between_the_centres_of_parts():
    scores = np.repeat([[1.0, 0.0], [0.0, 1.0]], 10, axis=0)
    times, lengths = np.arange(20) * 2.0, np.full(20, 3.0)
    assert taggram.change_times(times, lengths, scores).tolist() == [20.5]
    assert taggram.change_times(times[:1], lengths[:1], scores[:1]).size == 0


@pytest.mark.parametrize("model", ["crnn", "lstm"])
def test_recurrent_networks_give_a_score_after_each_step(tmp_path, model):
    frontend = FrontEnd(n_mels=16, n_mfcc=8, hop_length=512)
    song = tmp_path / "song.wav"
    soundfile.write(song, tiny.tone(440, 40, seed=0), tiny.RATE_HZ)
    spec = tiny.spec(
        model=model, network={"width": 0.05}, frontend=frontend, window_frames=480, hop_frames=240
    )
    weights = tiny.untrained(spec)
    options = predict.Options(taggram=tmp_path / "out")
    assert predict.run(weights, expand([str(song)]), options) == 0
    with np.load(tmp_path / "out/song.npz") as arrays:
        steps, times = arrays["step_scores"], arrays["step_times"]
        window_scores = arrays["scores"]
    assert steps.shape == (len(times), 3)
    np.testing.assert_allclose(steps.sum(axis=1), 1, atol=1e-5)
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(40, abs=0.3)
    if model == "crnn":  # the last step of the first window is what the network returns
        np.testing.assert_allclose(steps[5 - 1], window_scores[0], atol=1e-5)

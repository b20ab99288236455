"""Clips that a report shows: hand-computed lists."""

import dataclasses

import evaluated
import numpy as np

from deepgenre.evaluation.report import clips

GENRES = dataclasses.replace(
    evaluated.scored(4),
    scores=np.array(
        [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4]], np.float32
    ),
    labels=np.array([0, 0, 2, 2], np.int32),
)
TAGS = dataclasses.replace(
    evaluated.scored(4, multi_label=True),
    scores=np.array(
        [[0.9, 0.8, 0.1], [0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.9, 0.9, 0.9]], np.float32
    ),
    labels=np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], np.uint8),
)


def test_lists_of_genres():
    errors, worst, best = clips.clip_lists(GENRES)
    assert [(c.index, c.predicted, round(c.value, 3)) for c in errors.clips] == [
        (2, "jazz", 0.9),
        (1, "jazz", 0.7),
    ]
    assert [c.index for c in worst.clips] == [2, 1, 3, 0]
    assert [c.index for c in best.clips] == [0, 3, 1, 2]
    assert best.clips[0].value == np.float32(0.9)


def test_lists_of_tags():
    errors, worst, best = clips.clip_lists(TAGS)
    # Clip 3 carries every tag: it has no false one.
    assert [(c.index, c.predicted) for c in errors.clips] == [
        (0, "jazz"),
        (2, "blues"),
        (1, "rock"),
    ]
    # Clip 2 has no tag, hence no average precision.
    assert [(c.index, round(c.value, 3)) for c in worst.clips] == [(1, 0.333), (0, 1), (3, 1)]
    assert [c.index for c in best.clips] == [0, 3, 1]


def test_lists_are_short():
    for multi_label in (False, True):
        for one in clips.clip_lists(evaluated.scored(500, multi_label=multi_label)):
            assert len(one.clips) == clips.PER_LIST

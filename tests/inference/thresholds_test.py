"""The table of thresholds, and which of them weights get."""

import dataclasses
import json

import numpy as np
import pytest
from vocabulary_test import MAGNATAGATUNE, MILLION_SONG

from deepgenre.audio.frontend import FrontEnd
from deepgenre.inference import thresholds, vocabulary
from deepgenre.inference.tags import Choice, choose_tags, threshold_of
from deepgenre.weights.spec import Spec

SPEC = Spec(
    model="musicnn", network={}, classes=MAGNATAGATUNE, multi_label=True, frontend=FrontEnd(),
    mean=0.0, deviation=1.0, window_frames=187, hop_frames=187, clip_seconds=29.12, config={},
)  # fmt: skip


def test_table_has_its_provenance_and_valid_values():
    content = json.loads(thresholds.TABLE.read_text(encoding="utf-8"))
    assert content["provenance"].keys() == {"script", "data", "method", "date"}
    assert content["weights"].keys() == {"mtt_musicnn", "mtt_vgg", "msd_musicnn", "msd_vgg"}
    values = [value for row in thresholds.table()[1] for value in row.thresholds.values()]
    assert all(0 < value < 0.9 for value in [thresholds.table()[0], *values])


@pytest.mark.parametrize("classes", [MAGNATAGATUNE, MILLION_SONG])
@pytest.mark.parametrize("model", ["musicnn", "musicnn_vgg"])
def test_rows_have_exactly_the_tags_of_their_weights(classes, model):
    row = thresholds.find(dataclasses.replace(SPEC, classes=classes, model=model))
    assert row is not None
    assert row.model == model
    assert row.thresholds.keys() == {*map(vocabulary.canonical, classes)}


def test_other_weights_with_the_same_tags_get_those_of_musicnn():
    row = thresholds.find(dataclasses.replace(SPEC, model="ensemble", classes=MAGNATAGATUNE[::-1]))
    assert row is not None
    assert row.name == "mtt_musicnn"


def test_unknown_tags_get_the_documented_default():
    spec = dataclasses.replace(SPEC, classes=MAGNATAGATUNE[1:])
    assert thresholds.find(spec) is None
    choice = thresholds.library_choice(spec)
    assert choice == Choice(
        top_k=thresholds.MOST_TAGS,
        threshold=thresholds.table()[0],
        consistent=True,
        merge_synonyms=True,
    )


def test_single_label_weights_get_one_genre_more_likely_than_not():
    choice = thresholds.library_choice(dataclasses.replace(SPEC, multi_label=False))
    assert choice == Choice(top_k=1, threshold=0.5)


def test_a_song_gets_tags_above_their_own_thresholds():
    choice = thresholds.library_choice(SPEC)
    for name in ("guitar", "harp", "woman"):
        just = choice.tag_thresholds[vocabulary.canonical(name)]
        scores = np.zeros(50)
        scores[MAGNATAGATUNE.index(name)] = just
        assert choose_tags(scores, MAGNATAGATUNE, choice) == (vocabulary.canonical(name),)
        scores[MAGNATAGATUNE.index(name)] = just - 0.001
        assert choose_tags(scores, MAGNATAGATUNE, choice) == ("unknown",)
    assert threshold_of("woman", choice) == threshold_of("female vocals", choice)


def test_description_of_thresholds():
    assert thresholds.describe(Choice(threshold=0.5)) == "a score of 0.5 or more"
    choice = Choice(tag_thresholds={"harp": 0.1, "guitar": 0.25})
    assert thresholds.describe(choice) == "a score above their own threshold, 0.1 to 0.25"

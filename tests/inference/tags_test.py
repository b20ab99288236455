"""Tags from scores, and tags that contradict each other."""

import dataclasses

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from deepgenre.errors import UserError
from deepgenre.inference.tags import UNKNOWN, Choice, choose_tags, consistent_mask, possible_tags

CLASSES = ("rock", "vocal", "no vocals", "male voice", "Female Vocalists", "fast", "slow", "drums",
           "no drums", "loud", "quiet")  # fmt: skip


def tags_for(choice: Choice, **scores: float) -> tuple[str, ...]:
    return choose_tags(np.array([*scores.values()]), [*scores], choice)


def test_choice_applies_count_and_thresholds():
    scores = {"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.5}
    assert tags_for(Choice(), **scores) == ("b", "c", "d", "a")
    assert tags_for(Choice(top_k=2), **scores) == ("b", "c")
    assert tags_for(Choice(threshold=0.5), **scores) == ("b", "c", "d")
    assert tags_for(Choice(threshold=0.95), **scores) == (UNKNOWN,)
    assert tags_for(Choice(unknown_below=0.95), **scores) == (UNKNOWN,)
    assert tags_for(Choice(unknown_below=0.9), **scores) == ("b", "c", "d", "a")
    assert tags_for(Choice(runner_up_threshold=0.5), **scores) == ("b", "c", "d")
    assert tags_for(Choice(runner_up_threshold=0.95), **scores) == ("b",)  # the best stays


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"threshold": 1.1}, {"unknown_below": -0.1},
                                   {"threshold": float("nan")}])  # fmt: skip
def test_invalid_choice_is_an_error_with_its_flag(wrong):
    with pytest.raises(UserError, match=rf"^--{next(iter(wrong))}: must be"):
        Choice(**wrong)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"vocal": 0.4, "no vocals": 0.3, "singing": 0.1}, {"vocal", "singing"}),
        ({"vocal": 0.2, "no vocals": 0.3, "male voice": 0.25}, {"no vocals"}),
        ({"vocal": 0.5, "man": 0.2, "female": 0.3, "woman": 0.1}, {"vocal", "female", "woman"}),
        ({"fast": 0.1, "slow": 0.2}, {"slow"}),
        ({"quiet": 0.2, "loud": 0.2}, {"loud"}),  # a tie: the first side
        ({"drum": 0.2, "drums": 0.1, "no drums": 0.15}, {"drum", "drums"}),
        ({"not rock": 0.6, "rock": 0.3}, {"not rock"}),
        ({"No Piano": 0.1, "PIANO": 0.3}, {"PIANO"}),
        ({"rock": 0.1, "blues": 0.0}, {"rock", "blues"}),
        ({"no vocals": 0.1, "no voice": 0.2}, {"no vocals", "no voice"}),
    ],
)
def test_stronger_side_of_a_contradiction_is_kept(scores, expected):
    assert {*tags_for(Choice(consistent=True), **scores)} == expected
    assert {*tags_for(Choice(top_k=9), **scores)} == {*scores}  # only on request


def test_synonyms_are_merged_on_request():
    scores = {"female": 0.2, "rock": 0.3, "woman": 0.4, "female vocal": 0.1}
    assert tags_for(Choice(), **scores) == ("woman", "rock", "female", "female vocal")
    assert tags_for(Choice(merge_synonyms=True), **scores) == ("female vocals", "rock")
    assert possible_tags([*scores], Choice(merge_synonyms=True)) == ("female vocals", "rock")
    assert possible_tags([*scores], Choice()) == (*scores,)


def test_thresholds_per_tag():
    choice = Choice(threshold=0.25, tag_thresholds={"rock": 0.5, "female vocals": 0.1})
    scores = {"rock": 0.4, "jazz": 0.3, "blues": 0.2, "woman": 0.15}
    assert tags_for(choice, **scores) == ("jazz", "woman")
    assert tags_for(dataclasses.replace(choice, tag_thresholds={}), **scores) == ("rock", "jazz")


def test_contradictions_are_compared_by_multiples_of_thresholds():
    limits = {"vocals": 0.3, "instrumental": 0.05}
    choice = Choice(consistent=True, merge_synonyms=True, tag_thresholds=limits)
    assert tags_for(choice, **{"vocal": 0.31, "no voice": 0.2}) == ("instrumental",)
    assert tags_for(choice, **{"vocal": 0.29, "no voice": 0.05}) == ("instrumental",)
    assert tags_for(choice, **{"vocal": 0.6, "no voice": 0.06}) == ("vocals",)


def test_a_song_has_one_decade():
    scores = {"60s": 0.1, "70s": 0.3, "80s": 0.2, "rock": 0.25}
    assert tags_for(Choice(consistent=True), **scores) == ("70s", "rock")


@given(hnp.arrays(np.float64, len(CLASSES), elements=st.floats(0, 1)))
def test_kept_tags_do_not_contradict(scores):
    mask = consistent_mask(scores, CLASSES)
    kept = {name for name, keep in zip(CLASSES, mask, strict=True) if keep}
    assert "rock" in kept
    assert not kept >= {"vocal", "no vocals"}
    assert not kept >= {"male voice", "no vocals"}
    for left, right in (("fast", "slow"), ("drums", "no drums"), ("loud", "quiet")):
        assert len(kept & {left, right}) == 1
        by_name: dict[str, float] = dict(zip(CLASSES, scores, strict=True))
        (winner,) = kept & {left, right}
        assert by_name[winner] == max(by_name[left], by_name[right])

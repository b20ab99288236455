"""Counts per class, and warnings of classes that are probably not what was meant."""

from pathlib import Path

import pytest

from deepgenre.data import class_counts
from deepgenre.data.clip import Clip


def clips(*labels: tuple[str, ...]) -> list[Clip]:
    return [Clip(f"{i}", Path("x"), names, f"{i}") for i, names in enumerate(labels)]


def test_counts_are_listed_the_most_frequent_first():
    members = clips(("rock",), ("jazz",), ("rock",), ())
    assert class_counts.counts_line(members) == "2: rock 2, jazz 1; 1 clips without a class"
    assert class_counts.counts_line(members, ["jazz", "pop"]) == (
        "2: jazz 1, pop 0; 3 clips without a class"
    )


def test_long_lists_state_how_many_are_left_out():
    members = clips(*[(f"tag {i}",) for i in range(70)], ("tag 3",))
    line = class_counts.counts_line(members)
    assert line.startswith("70: tag 3 2, tag 0 1, ")
    assert line.endswith(", and 10 more, the rarest with 1")
    assert line.count("tag") == class_counts.MOST_LISTED


@pytest.mark.parametrize(
    ("labels", "reasons"),
    [
        (["rock", "jazz", "00s", "2 step"], []),
        (["00", "01", "rock"], ["look like numbers of folders: '00', '01'; "]),
        (["Rock", "rock"], ["differ in case, spaces or hyphens only: 'Rock', 'rock'; "]),
        (["hip-hop", "Hip Hop", "hiphop", "pop"], ["'Hip Hop', 'hip-hop', 'hiphop'; "]),
        (["1", "Ärger", "ärger"], ["folders: '1'", "'Ärger', 'ärger'"]),
        (["Mu\u0301sica", "M\u00fasica"], ["'Mu\u0301sica', 'M\u00fasica'"]),
    ],
)
def test_suspicious_names(labels, reasons):
    warnings = class_counts.name_warnings(labels)
    assert len(warnings) == len(reasons)
    for warning, reason in zip(warnings, reasons, strict=True):
        assert reason in warning


def test_classes_with_fewer_than_two_clips_in_a_part():
    parts = {
        "train": clips(("a",), ("a",), ("b",)),
        "valid": clips(("a",), ("a",), ("b",), ("b",), ("c",), ("c",)),
        "trian": clips(("c",)),
    }
    train, other = class_counts.part_warnings(parts, ["a", "b", "c"])
    assert "part 'train' has fewer than 2 clips of 2 of 3 classes: 'b' (1), 'c' (0)" in train
    assert (
        "parts that training does not use: 'trian' (1 clips); it uses train, valid, test" in other
    )

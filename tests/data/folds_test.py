"""Folds for cross-validation, on synthetic tables of clips and on GTZAN's artists."""

import dataclasses
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.config import get_config
from deepgenre.data.datasets import gtzan, read_dataset
from deepgenre.data.folds import assign_folds
from deepgenre.errors import UserError

SHARED = Path(
    os.environ.get("DEEPGENRE_SHARED", Path(__file__).resolve().parents[3] / "shared"), "data"
)


@dataclasses.dataclass(frozen=True)
class Item:
    key: str
    labels: tuple[str, ...]
    group: str
    split: str = ""


def items(rng: random.Random, num_groups: int) -> list[Item]:
    """Returns groups of 1 to 9 clips of one label each."""
    return [
        Item(f"{group}.{number}", (f"label {group % 3}",), f"group {group}")
        for group in range(num_groups)
        for number in range(rng.randint(1, 9))
    ]


@given(seed=st.integers(0, 99), num_folds=st.integers(2, 6), extra=st.integers(0, 40))
def test_folds_separate_groups_and_have_no_empty_fold(seed, num_folds, extra):
    rng = random.Random(seed)
    members = items(rng, num_folds + extra)
    fold_of = assign_folds(members, num_folds, seed)
    assert fold_of.keys() == {member.key for member in members}
    assert set(fold_of.values()) == set(range(num_folds))
    of_group = {(member.group, fold_of[member.key]) for member in members}
    assert len(of_group) == len({member.group for member in members})
    rng.shuffle(members)
    assert assign_folds(members, num_folds, seed) == fold_of


def test_folds_depend_on_the_seed_and_have_equal_shares_of_labels():
    members = items(random.Random(0), 150)
    folds = [assign_folds(members, 5, seed) for seed in (0, 1)]
    assert folds[0] != folds[1]
    totals = Counter(member.labels for member in members)
    for fold_of in folds:
        shares = Counter((member.labels, fold_of[member.key]) for member in members)
        assert len(shares) == 15
        for (labels, _), count in shares.items():
            assert abs(count - totals[labels] / 5) <= 2


@pytest.mark.parametrize(("num_folds", "message"), [(1, "2 or more"), (4, "the data has 3")])
def test_unsuitable_number_of_folds_is_rejected(num_folds, message):
    with pytest.raises(UserError, match=message):
        assign_folds(items(random.Random(0), 3), num_folds, 0)


def test_real_folds_share_no_artist():
    path = SHARED / "gtzan_mel" / "gtzan_mel_dev.npz"
    if not (path.parent / gtzan.ARTISTS).exists():
        pytest.skip(f"real GTZAN spectrograms and artists are not at {path.parent}")
    dataset = read_dataset(get_config(), path)
    parts = gtzan.fault_filtered(dataset.clips, 0)
    kept = {*parts["train"], *parts["valid"]}
    clips = [clip for clip in dataset.clips if clip.key in kept]
    assert (len(clips), len({clip.group for clip in clips})) == (
        639,
        178,
    )  # 3 artists are in 2 genres
    fold_of = assign_folds(clips, 5, 0)
    folds_of_group = {(clip.group, fold_of[clip.key]) for clip in clips}
    assert len(folds_of_group) == 178
    assert all(115 <= count <= 140 for count in Counter(fold_of.values()).values())  # of 128

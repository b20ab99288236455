"""Policies for values that a field has already, and values taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.library import policies
from deepgenre.library.file_tags import Change
from deepgenre.library.policies import Tagging

VALUES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("policy", "now", "predicted", "expected"),
    [
        ("fill", (), ("Rock",), ("Rock",)),
        ("fill", ("Polka",), ("Rock",), ("Polka",)),
        ("add", ("Polka",), ("Rock",), ("Polka", "Rock")),
        ("add", ("rock",), ("Rock", "Pop"), ("rock", "Pop")),
        ("replace", ("Polka", "Folk"), ("Rock",), ("Rock",)),
        ("replace", ("Polka",), (), ("Polka",)),
    ],
)
def test_policies(policy, now, predicted, expected):
    assert policies.combine(policy, predicted, None)(now) == expected


@pytest.mark.parametrize("policy", list(policies.POLICIES))
@given(owner=VALUES, first=VALUES, second=VALUES)
def test_a_second_run_leaves_what_it_alone_would_have_written(policy, owner, first, second):
    after_first = policies.combine(policy, first, None)(owner)
    earlier = Change("genre", owner, after_first)
    now = policies.combine(policy, second, earlier)(after_first)
    assert now == policies.combine(policy, second, None)(owner)
    assert policies.combine(policy, (), earlier)(after_first) == owner


@pytest.mark.parametrize(
    ("old", "new", "now", "owned"),
    [
        ((), ("Rock",), ("Rock",), ()),
        (("Polka",), ("Rock",), ("Rock",), ("Polka",)),
        (("Polka",), ("Polka", "Rock"), ("Polka", "Rock", "Folk"), ("Polka", "Folk")),
        ((), ("Rock",), ("Jazz",), ("Jazz",)),
    ],
)
def test_edits_of_the_owner_are_the_owners(old, new, now, owned):
    assert policies.owned(now, Change("genre", old, new)) == owned


@pytest.mark.parametrize(
    ("given_tagging", "multi_label", "field", "policy"),
    [
        (Tagging(), False, "genre", "fill"),
        (Tagging(), True, "tags", "replace"),
        (Tagging("mood"), True, "mood", "fill"),
        (Tagging("", "add"), False, "genre", "add"),
    ],
)
def test_defaults(given_tagging, multi_label, field, policy):
    tagging = policies.resolve(given_tagging, multi_label=multi_label)
    assert (tagging.field, tagging.policy) == (field, policy)

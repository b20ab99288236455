"""What was cut in, appended or changed in place is taken back byte for byte, and costs little."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.library import binary_diff


def original_again(changed: bytes, original: bytes) -> tuple[bytes, int]:
    """Returns what the pieces make, after a way through JSON, and their size there in bytes."""
    text = json.dumps(binary_diff.diff(changed, original))
    return b"".join(binary_diff.apply(changed, json.loads(text))), len(text)


def noise(num_bytes: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(num_bytes)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 9_000), st.integers(0))
def test_any_change_is_taken_back(before, after, num_bytes, place):
    audio = noise(num_bytes, 1)
    place = min(place, len(audio))
    original = audio[:place] + before + audio[place:]
    changed = audio[:place] + after + audio[place:]
    assert original_again(changed, original)[0] == original


@given(st.integers(0, 30_000), st.integers(0, 30_000), st.integers(0, 2))
def test_contents_that_share_little_are_taken_back_too(old_bytes, new_bytes, seed):
    original = noise(old_bytes, seed)
    assert original_again(noise(new_bytes, 1), original)[0] == original


@pytest.mark.parametrize("place", [0, 60, 300_000, 999_990, 1_000_000])
@pytest.mark.parametrize("grown", [-900, 0, 40, 12_345])
def test_a_tag_costs_about_its_own_size_wherever_it_is(place, grown):
    audio, old_tag = noise(1_000_000, 1), noise(1_000, 2)
    original = audio[:place] + old_tag + audio[place:]
    changed = audio[:place] + noise(1_000 + grown, 3) + audio[place:]
    found, size = original_again(changed, original)
    assert found == original
    assert size < 1_700


def test_a_size_field_at_the_head_and_a_chunk_at_the_end_cost_little():
    audio = noise(1_000_000, 1)
    found, size = original_again(b"RIFF9999" + audio + b"id3 more", b"RIFF1111" + audio)
    assert found == b"RIFF1111" + audio
    assert size < 300


def test_a_picture_that_moves_otherwise_than_the_sound_costs_little():
    head, picture, audio = noise(500, 1), noise(100_000, 2), noise(1_000_000, 3)
    original = head + picture + b"\0" * 3_000 + audio
    found, size = original_again(head + b"more" + picture + b"\0" * 1_000 + audio, original)
    assert found == original
    assert size < 300


def test_numbers_and_sums_in_every_page_cost_little_each():
    pages = [noise(4_000, number) for number in range(250)]
    original = b"".join(b"OggS" + bytes([number]) * 8 + page for number, page in enumerate(pages))
    changed = b"".join(b"OggS" + bytes([n + 1]) * 8 + page for n, page in enumerate(pages))
    found, size = original_again(b"another page" + changed, original)
    assert found == original
    assert size < 250 * 60


@pytest.mark.parametrize("at_end", [False, True])
def test_what_both_begin_or_end_with_costs_nothing_however_little_it_is(at_end):
    shared = noise(30_000, 1)
    old, new = (
        noise(300_000, seed) + shared if at_end else shared + noise(300_000, seed)
        for seed in (2, 3)
    )
    found, size = original_again(new, old)
    assert found == old
    assert size < 300_000 * 4 / 3 + 1_000


def test_a_damaged_piece_is_an_error():
    with pytest.raises(ValueError, match="incorrect"):
        list(binary_diff.apply(b"", ["QUJD"]))

"""Binary diffs restore inserted, removed and overwritten bytes exactly, and are small."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.library import binary_diff


def restore(changed: bytes, original: bytes) -> tuple[bytes, int]:
    """Returns the original from a diff that was stored as JSON, and the size of that JSON."""
    text = json.dumps(binary_diff.diff(changed, original))
    return b"".join(binary_diff.apply(changed, json.loads(text))), len(text)


def noise(num_bytes: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(num_bytes)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 9_000), st.integers(0))
def test_any_change_is_restored(before, after, num_bytes, offset):
    audio = noise(num_bytes, 1)
    offset = min(offset, len(audio))
    original = audio[:offset] + before + audio[offset:]
    changed = audio[:offset] + after + audio[offset:]
    assert restore(changed, original)[0] == original


@given(st.integers(0, 30_000), st.integers(0, 30_000), st.integers(0, 2))
def test_unrelated_contents_are_restored(old_bytes, new_bytes, seed):
    original = noise(old_bytes, seed)
    assert restore(noise(new_bytes, 1), original)[0] == original


@pytest.mark.parametrize("offset", [0, 60, 300_000, 999_990, 1_000_000])
@pytest.mark.parametrize("grown", [-900, 0, 40, 12_345])
def test_diff_of_tag_is_about_as_large_as_tag(offset, grown):
    audio, old_tag = noise(1_000_000, 1), noise(1_000, 2)
    original = audio[:offset] + old_tag + audio[offset:]
    changed = audio[:offset] + noise(1_000 + grown, 3) + audio[offset:]
    restored, size = restore(changed, original)
    assert restored == original
    assert size < 1_700


def test_diff_of_size_field_and_appended_chunk_is_small():
    audio = noise(1_000_000, 1)
    restored, size = restore(b"RIFF9999" + audio + b"id3 more", b"RIFF1111" + audio)
    assert restored == b"RIFF1111" + audio
    assert size < 300


def test_diff_of_blocks_moved_by_different_distances_is_small():
    head, picture, audio = noise(500, 1), noise(100_000, 2), noise(1_000_000, 3)
    original = head + picture + b"\0" * 3_000 + audio
    restored, size = restore(head + b"more" + picture + b"\0" * 1_000 + audio, original)
    assert restored == original
    assert size < 300


def test_diff_of_changed_page_headers_is_small():
    pages = [noise(4_000, number) for number in range(250)]
    original = b"".join(b"OggS" + bytes([number]) * 8 + page for number, page in enumerate(pages))
    changed = b"".join(b"OggS" + bytes([n + 1]) * 8 + page for n, page in enumerate(pages))
    restored, size = restore(b"another page" + changed, original)
    assert restored == original
    assert size < 250 * 60


@pytest.mark.parametrize("at_end", [False, True])
def test_short_common_prefix_or_suffix_is_not_stored(at_end):
    shared = noise(30_000, 1)
    old, new = (
        noise(300_000, seed) + shared if at_end else shared + noise(300_000, seed)
        for seed in (2, 3)
    )
    restored, size = restore(new, old)
    assert restored == old
    assert size < 300_000 * 4 / 3 + 1_000


def test_damaged_piece_raises_value_error():
    with pytest.raises(ValueError, match="incorrect"):
        list(binary_diff.apply(b"", ["QUJD"]))

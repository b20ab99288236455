import contextlib

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.data import pipeline, shards
from deepgenre.data.device_feed import resident_feed
from deepgenre.data.sampling import Order, window_starts
from deepgenre.data.store import Records, Row

BANDS = 4
FRAMES = [30, 50, 20, 41, 35, 20, 64, 33, 29, 77, 40]  # length of each clip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Returns rows of clips with levels that identify clip and frame: 20 * clip + frame."""
    folder = tmp_path_factory.mktemp("store")
    source = folder / "source"
    source.touch()
    clips = []
    for number, frames in enumerate(FRAMES):
        levels = np.add.outer(np.arange(frames), 20 * number + np.zeros(BANDS, int))
        levels = levels.astype(np.uint8)
        clips.append((shards.measure(f"clip{number:02d}", levels, source), levels))
    entries = shards.write(folder, "a", clips[:6]) + shards.write(folder, "b", clips[6:])
    return [Row(entry.key, ("x",), entry.key, "", entry) for entry in entries]


@pytest.fixture(scope="module")
def records(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = next(tmp_path_factory.getbasetemp().glob("store*"))
    return Records(folder, rows, np.uint8)


def take(records: Records, count: int, *, seed: int = 7, **changes) -> list[dict[str, np.ndarray]]:
    order = Order(records.frames, window_frames=24, batch_size=4, seed=seed)
    labels = np.arange(len(records), dtype=np.int32)
    read = pipeline.ReadWindows(records, 24)
    with contextlib.closing(pipeline.training_batches(order, labels, read, **changes)) as batches:
        return [next(batches) for _ in range(count)]


def assert_same(first, second) -> None:
    for one, other in zip(first, second, strict=True):
        for name in ("levels", "labels"):
            np.testing.assert_array_equal(one[name], other[name])


def test_batches_are_windows_of_their_clips(records: Records):
    for batch in take(records, 20):
        assert batch["levels"].shape == (4, 24, BANDS)
        assert batch["levels"].dtype == np.uint8
        for levels, clip in zip(batch["levels"], batch["labels"], strict=True):
            length = min(24, FRAMES[clip])
            start = int(levels[0, 0]) - 20 * clip % 256
            whole = (20 * clip + start + np.arange(length)) % 256
            np.testing.assert_array_equal(levels[:length], np.repeat(whole[:, None], BANDS, 1))
            assert not levels[length:].any()  # padded with the floor


def test_windows_start_at_many_frames(records: Records):
    starts = {int(b["levels"][i, 0, 0]) for b in take(records, 60) for i in range(4)}
    assert len(starts) > 40


def test_every_epoch_is_a_new_permutation(records: Records):
    drawn = np.concatenate([batch["labels"] for batch in take(records, 11)])
    epochs = drawn.reshape(4, 11)
    for epoch in epochs:
        assert sorted(epoch) == list(range(11))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_later_first_batch_continues_the_sequence(records: Records):
    assert_same(take(records, 9)[5:], take(records, 4, first_batch=5))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(records: Records, num_workers: int):
    expected = take(records, 3, first_batch=2)
    assert_same(expected, take(records, 3, first_batch=2, num_workers=num_workers))


def test_processes_divide_the_same_global_batch(records: Records):
    whole = take(records, 8)
    shares = [take(records, 8, process_index=p, process_count=2) for p in range(2)]
    for number, batch in enumerate(whole):
        for p in range(2):
            assert shares[p][number]["levels"].shape == (2, 24, BANDS)
            np.testing.assert_array_equal(shares[p][number]["levels"], batch["levels"][p::2])
            np.testing.assert_array_equal(shares[p][number]["labels"], batch["labels"][p::2])


def test_seeds_give_different_orders(records: Records):
    first = [batch["labels"].tolist() for batch in take(records, 3)]
    assert first != [batch["labels"].tolist() for batch in take(records, 3, seed=8)]


def test_resident_clips_give_the_same_batches_as_streamed(records: Records):
    order = Order(records.frames, window_frames=24, batch_size=4, seed=7)
    labels = np.arange(len(records), dtype=np.int32)
    sequences = []
    for read, feed in (resident_feed(records, 24), (pipeline.ReadWindows(records, 24), dict)):
        with contextlib.closing(pipeline.training_batches(order, labels, read)) as batches:
            sequences.append([feed(next(batches)) for _ in range(20)])
    assert isinstance(sequences[0][0]["levels"], jax.Array)
    assert sequences[0][0]["levels"].dtype == np.uint8
    assert_same(*sequences)


@given(st.integers(1, 5_000), st.integers(1, 700), st.integers(1, 700))
def test_windows_cover_a_clip(num_frames: int, window_frames: int, hop_frames: int):
    hop_frames = min(hop_frames, window_frames)
    starts = window_starts(num_frames, window_frames, hop_frames)
    assert starts == sorted(set(starts))
    assert starts[0] >= 0
    if len(starts) == 1:
        spare = num_frames - window_frames
        assert spare <= window_frames // 10
        assert spare <= 0 or starts[0] in (spare // 2, (spare + 1) // 2)
    else:
        assert starts[0] == 0
        assert starts[-1] + window_frames == num_frames
        assert max(np.diff(starts)) <= hop_frames


def test_scoring_batches_contain_every_window_once(records: Records, rows: list[Row]):
    seen: dict[int, list[int]] = {}
    for levels, clips in pipeline.scoring_batches(
        records, rows, window_frames=24, hop_frames=12, batch_size=4
    ):
        assert levels.shape == (4, 24, BANDS)
        for window, clip in zip(levels, clips, strict=True):
            if clip == pipeline.PAD_CLIP:
                assert not window.any()
            else:
                seen.setdefault(int(clip), []).append((int(window[0, 0]) - 20 * clip) % 256)
    assert sorted(seen) == list(range(len(FRAMES)))
    for clip, starts in seen.items():
        assert starts == window_starts(FRAMES[clip], 24, 12)

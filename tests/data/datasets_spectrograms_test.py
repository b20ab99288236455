"""Precomputed spectrograms: accepted and rejected files."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepgenre.data.datasets import spectrograms
from deepgenre.errors import UserError

SHARED = Path(
    os.environ.get("DEEPGENRE_SHARED", Path(__file__).resolve().parents[3] / "shared"), "data"
)
NAMES = np.array(["rock.2", "blues.1", "rock.1"])


def save_npz(path: Path, **arrays: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    all_arrays = {"mel": rng.integers(0, 256, (3, 4, 5)).astype(np.uint8), "name": NAMES} | arrays
    kept = {name: array for name, array in all_arrays.items() if array.size}
    np.savez_compressed(path, **kept)  # type: ignore[arg-type]
    return path


def save_npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "clip.npy", array)
    return folder / "clip.npy"


def test_npz_is_read_as_clips_and_levels(tmp_path):
    path = save_npz(tmp_path / "mine.npz")
    dataset = spectrograms.read_npz(path)
    assert (dataset.name, dataset.multi_label) == ("mine", False)
    assert [clip.key for clip in dataset.clips] == ["blues.1", "rock.1", "rock.2"]
    assert [clip.labels for clip in dataset.clips] == [("blues",), ("rock",), ("rock",)]
    assert [clip.row for clip in dataset.clips] == [1, 2, 0]
    assert {(clip.path, clip.split, clip.group == clip.key) for clip in dataset.clips} == {
        (path, "", True)
    }
    with np.load(path) as arrays:
        for clip in dataset.clips:
            levels = spectrograms.npz_levels(clip.path, clip.row)
            assert (levels.shape, levels.dtype) == ((5, 4), np.uint8)
            np.testing.assert_array_equal(levels, arrays["mel"][clip.row].T)


def test_npz_with_labels_groups_and_parts(tmp_path):
    path = save_npz(
        tmp_path / "x.npz",
        name=np.array(["c", "b", "a"]),
        label=np.array(["pop", "jazz", "jazz"]),
        group=np.array(["P", "Q", "Q"]),
        split=np.array(["train", "test", ""]),
    )
    first, _, last = spectrograms.read_npz(path).clips
    assert (first.key, first.labels, first.group, first.split) == ("a", ("jazz",), "Q", "")
    assert (last.key, last.labels, last.group, last.split) == ("c", ("pop",), "P", "train")


def test_rewritten_npz_is_read_again(tmp_path):
    path = save_npz(tmp_path / "x.npz")
    spectrograms.npz_levels(path, 0)
    save_npz(path, mel=np.full((3, 4, 5), 9, np.uint8))
    os.utime(path, ns=(0, 0))
    assert set(spectrograms.npz_levels(path, 0).flat) == {9}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mel": np.array([])}, "no array 'mel'"),
        ({"name": np.array([])}, "no array 'name'"),
        ({"mel": np.zeros((3, 4), np.uint8)}, r"'mel' is uint8 \(3, 4\)"),
        ({"mel": np.zeros((3, 4, 5), np.int16)}, "'mel' is int16"),
        ({"mel": np.zeros((2, 4, 5), np.uint8)}, r"'name' is <U7 \(3,\).*\(2,\)"),
        ({"label": np.array(["a", "b"])}, r"'label' is <U1 \(2,\)"),
        ({"split": np.array([0, 1, 2])}, r"'split' is int64 \(3,\)"),
        ({"group": np.array([["a", "b", "c"]])}, r"'group' is <U1 \(1, 3\)"),
        ({"name": np.array(["a.1", "a.2", "a.1"])}, "'a.1' occurs twice"),
        ({"name": np.array(["a.1", "a.2", "a3"])}, "'a3' is not '<label>.<rest>'"),
        ({"name": np.array(["a.1", "a.2", None], object)}, "cannot be read.*without pickles"),
    ],
)
def test_invalid_npz_is_rejected(tmp_path, arrays, message):
    path = save_npz(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=message) as info:
        spectrograms.read_npz(path)
    assert str(info.value).startswith(f"{path}: ")


def test_unreadable_npz_is_rejected(tmp_path):
    path = save_npz(tmp_path / "x.npz")
    whole = path.read_bytes()
    for content in (b"", b"no zip", whole[:-40], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x.npz: cannot be read"):
            spectrograms.read_npz(path)
    for missing in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            spectrograms.npz_levels(missing, 0)


def test_missing_row_is_rejected(tmp_path):
    path = save_npz(tmp_path / "x.npz")
    for row in (-1, 3):
        with pytest.raises(UserError, match=rf"has 3 clips and no row {row}"):
            spectrograms.npz_levels(path, row)


@given(cut=st.floats(0, 1), position=st.floats(0, 1), byte=st.integers(0, 255))
def test_damaged_file_gives_levels_or_an_error_of_one_line(tmp_path_factory, cut, position, byte):
    folder = tmp_path_factory.mktemp("damaged")
    npz = save_npz(folder / "x.npz")
    npy = save_npy(folder, np.zeros((6, 9), np.float32))
    for path, read in (
        (npz, lambda: spectrograms.npz_levels(npz, 0)),
        (npy, lambda: spectrograms.npy_levels(npy, num_bands=6, range_db=80)),
    ):
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] = byte
        path.write_bytes(content[: int(len(content) * max(cut, 0.5))])
        try:
            levels = read()
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert levels.dtype == np.uint8


def test_npy_floats_are_decibels_relative_to_the_maximum(tmp_path):
    decibels = np.array([[7.0, -33.0, -73.0], [-13.0, -200.0, 6.9]], np.float32)
    path = save_npy(tmp_path, decibels)
    levels = spectrograms.npy_levels(path, num_bands=2, range_db=80.0)
    # -40 of 80 dB is between levels 127 and 128; rint rounds to the even one.
    assert levels.tolist() == [[255, 191], [128, 0], [0, 255]]
    assert levels.dtype == np.uint8
    doubled = save_npy(tmp_path, 2 * decibels)
    np.testing.assert_array_equal(
        spectrograms.npy_levels(doubled, num_bands=2, range_db=160.0), levels
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_orientation_is_inferred_from_the_number_of_bands(tmp_path, dtype, order):
    rng = np.random.default_rng(0)
    array = np.asarray(rng.integers(0, 80, (6, 11)), dtype=dtype, order=order)
    bands_first = spectrograms.npy_levels(save_npy(tmp_path, array), num_bands=6, range_db=80)
    frames_first = spectrograms.npy_levels(save_npy(tmp_path, array.T), num_bands=6, range_db=80)
    assert bands_first.shape == (11, 6)
    assert bands_first.flags.c_contiguous
    np.testing.assert_array_equal(bands_first, frames_first)
    if dtype == np.uint8:
        np.testing.assert_array_equal(bands_first, array.T)


def test_npy_square_is_bands_first(tmp_path):
    square = np.arange(9, dtype=np.uint8).reshape(3, 3)
    levels = spectrograms.npy_levels(save_npy(tmp_path, square), num_bands=3, range_db=80)
    np.testing.assert_array_equal(levels, square.T)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(6, np.float32), r"shape \(6,\)"),
        (np.zeros((1, 6, 9), np.float32), r"shape \(1, 6, 9\)"),
        (np.zeros((7, 9), np.float32), r"shape \(7, 9\).*6 bands"),
        (np.zeros((6, 0), np.float32), "npy: "),
        (np.zeros((6, 9), np.int16), "is int16"),
        (np.zeros((6, 9), np.complex64), "is complex64"),
        (np.full((6, 9), np.nan, np.float32), "NaN or infinity"),
        (np.where(np.eye(6, 9), -np.inf, 0.0), "NaN or infinity"),
        (np.array([[{}] * 9] * 6), "cannot be read"),
    ],
)
def test_invalid_npy_is_rejected(tmp_path, array, message):
    path = save_npy(tmp_path, array)
    with pytest.raises(UserError, match=message) as info:
        spectrograms.npy_levels(path, num_bands=6, range_db=80)
    assert str(info.value).startswith(f"{path}: ")


def test_unreadable_npy_is_rejected(tmp_path):
    path = save_npy(tmp_path, np.zeros((6, 9), np.float32))
    whole = path.read_bytes()
    endless = (
        whole[:8] + (20_000).to_bytes(2, "little") + b" " * 20_000
    )  # numpy's error has 3 lines
    for content in (b"", b"no numpy", whole[:100], whole[:-1], endless):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"clip.npy: cannot be read") as info:
            spectrograms.npy_levels(path, num_bands=6, range_db=80)
        assert "\n" not in str(info.value)
    with pytest.raises(UserError, match="cannot be read"):
        spectrograms.npy_levels(tmp_path / "absent.npy", num_bands=6, range_db=80)


def test_reads_the_real_spectrograms():
    path = SHARED / "gtzan_mel" / "gtzan_mel_dev.npz"
    if not path.exists():
        pytest.skip(f"real GTZAN spectrograms are not at {path}")
    clips = spectrograms.read_npz(path).clips
    assert len(clips) == 709
    assert len({clip.labels for clip in clips}) == 10
    for clip in clips[::100]:
        levels = spectrograms.npz_levels(path, clip.row)
        assert levels.shape == (387, 128)
        assert levels.max() > 240


def decibels(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-80, 0, shape).astype(np.float32)


def test_npz_in_decibels_equals_npy_in_decibels(tmp_path):
    mel = decibels(3, 4, 5)
    path = save_npz(tmp_path / "x.npz", mel=mel)
    for row in range(3):
        expected = spectrograms.npy_levels(save_npy(tmp_path, mel[row]), num_bands=4, range_db=80)
        levels = spectrograms.npz_levels(path, row, num_bands=4, range_db=80)
        np.testing.assert_array_equal(levels, expected)
        assert levels.flags.c_contiguous


def test_npz_with_frames_first_is_transposed_and_says_so(tmp_path):
    bands_first = np.random.default_rng(0).integers(0, 256, (3, 4, 9)).astype(np.uint8)
    one = save_npz(tmp_path / "one.npz", mel=bands_first)
    two = save_npz(tmp_path / "two.npz", mel=bands_first.transpose(0, 2, 1))
    assert spectrograms.read_npz(one, num_bands=4).notes == ()
    (note,) = spectrograms.read_npz(two, num_bands=4).notes
    assert "have shape (9, 4); read as 9 frames of 4 bands" in note
    for path in (one, two):
        levels = spectrograms.npz_levels(path, 2, num_bands=4)
        np.testing.assert_array_equal(levels, bands_first[2].T)


def test_npz_with_another_number_of_bands(tmp_path):
    path = save_npz(tmp_path / "x.npz", mel=np.zeros((3, 4, 9), np.uint8))
    assert spectrograms.npz_levels(path, 0, num_bands=8).shape == (9, 4)  # fewer bands than frames
    path = save_npz(tmp_path / "y.npz", mel=np.zeros((3, 9, 4), np.uint8))
    with pytest.raises(UserError, match=r"shape \(9, 4\), of which neither is the 8 bands"):
        spectrograms.read_npz(path, num_bands=8)


def test_arrays_of_an_npz_that_are_not_read_are_stated(tmp_path):
    path = save_npz(tmp_path / "x.npz", labels=np.arange(3), sample_rate=np.array(22050))
    (note,) = spectrograms.read_npz(path).notes
    assert note.startswith(f"{path}: arrays that are not read: labels, sample_rate; those that are")
    known = {"group": NAMES, "split": NAMES, "hop_length": np.array(512), "tags": np.eye(3)}
    assert spectrograms.read_npz(save_npz(path, label=NAMES, **known)).notes == ()


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_npz_with_integer_labels(tmp_path, dtype):
    path = save_npz(tmp_path / "x.npz", label=np.array([2, 0, 2], dtype))
    labels = {clip.row: clip.labels for clip in spectrograms.read_npz(path).clips}
    assert labels == {0: ("2",), 1: ("0",), 2: ("2",)}


def test_npz_with_tags(tmp_path):
    tags = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
    names = np.array(["slow", "loud", "guitar"])
    path = save_npz(tmp_path / "x.npz", tags=tags, tag_names=names)
    dataset = spectrograms.read_npz(path, multi_label=True)
    assert dataset.multi_label
    labels = {clip.row: clip.labels for clip in dataset.clips}
    assert labels == {0: ("guitar", "slow"), 1: (), 2: ("loud",)}


@pytest.mark.parametrize(
    ("arrays", "multi_label", "message"),
    [
        ({}, True, "holds one genre per clip, and this config is for tags"),
        ({"tags": np.eye(3)}, True, "has 'tags' and no 'tag_names'"),
        ({"tags": np.eye(3), "tag_names": NAMES}, False, "holds tags, and this config is for one"),
        ({"tags": 2 * np.eye(3), "tag_names": NAMES}, True, "'tags' is float64 .*save 0 and 1"),
        ({"tags": np.eye(3)[:2], "tag_names": NAMES}, True, r"save 0 and 1, \(3, 3\)"),
        ({"tags": np.eye(3), "tag_names": NAMES[[0, 1, 1]]}, True, "unique texts"),
        ({"hop_length": np.float32(2.5)}, False, "hop_length is 2.5; give a whole number"),
        ({"hop_length": np.array([1, 2])}, False, "give a whole number above 0"),
    ],
)
def test_npz_that_does_not_fit_the_config(tmp_path, arrays, multi_label, message):
    path = save_npz(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=message) as info:
        spectrograms.read_npz(path, multi_label=multi_label)
    assert str(info.value).startswith(f"{path}: ")


def test_stated_fields_of_the_front_end(tmp_path):
    path = save_npz(tmp_path / "x.npz", hop_length=np.array(512), sample_rate_hz=np.array(16000))
    stated = {"sample_rate_hz": 16000, "hop_length": 512}
    assert spectrograms.read_npz(path).frontend == stated
    assert spectrograms.stated_in_sidecar(tmp_path) == {}
    sidecar = tmp_path / "spectrograms.json"
    sidecar.write_text('{"sample_rate_hz": 16000, "hop_length": 512}')
    assert spectrograms.stated_in_sidecar(tmp_path) == stated
    for content, reason in (
        ("no json", "cannot be read as JSON"),
        ("[]", "must be an object"),
        ('{"hops_length": 512}', "did you mean 'hop_length'?"),
        ('{"hop_length": 0}', "hop_length is 0"),
    ):
        sidecar.write_text(content)
        with pytest.raises(UserError, match=r"spectrograms\.json: ") as info:
            spectrograms.stated_in_sidecar(tmp_path)
        assert reason in str(info.value)


POWER = np.random.default_rng(2).gamma(0.05, 100, (6, 50)).astype(np.float32)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (POWER, "is never negative, with a median of"),
        (1e4 * POWER, "covers .* to "),
        (POWER / POWER.max(), "only, which is no spectrogram in dB"),
        (np.log10(1 + 1e4 * POWER), "only, which is no spectrogram in dB"),
        (np.random.default_rng(3).standard_normal((6, 50)), "only, which is no spectrogram in dB"),
        (np.log(np.maximum(POWER / POWER.max(), 1e-10)), "covers -23 to 0 only"),
    ],
)
def test_npy_that_cannot_be_decibels_is_refused(tmp_path, array, reason):
    path = save_npy(tmp_path, array)
    with pytest.raises(UserError, match=reason) as info:
        spectrograms.npy_levels(path, num_bands=6, range_db=80)
    assert "--config.spectrogram_scale=power" in str(info.value)
    forced = spectrograms.npy_levels(path, num_bands=6, range_db=80, scale="db")
    assert forced.max() == 255


def test_power_is_converted(tmp_path):
    in_db = 10 * np.log10(np.maximum(POWER, 1e-10))
    expected = spectrograms.npy_levels(save_npy(tmp_path, in_db), num_bands=6, range_db=80)
    given = save_npy(tmp_path, POWER)
    levels = spectrograms.npy_levels(given, num_bands=6, range_db=80, scale="power")
    np.testing.assert_array_equal(levels, expected)
    natural = save_npy(tmp_path, np.log(np.maximum(POWER, 1e-10)))
    levels = spectrograms.npy_levels(natural, num_bands=6, range_db=80, scale="natural_log")
    np.testing.assert_allclose(levels.astype(int), expected, atol=1)  # float32 of a logarithm
    with pytest.raises(UserError, match="contains negative power"):
        given = save_npy(tmp_path, -POWER)
        spectrograms.npy_levels(given, num_bands=6, range_db=80, scale="power")


@pytest.mark.parametrize(
    "array", [np.zeros((6, 9)), np.full((6, 9), -80.0), np.linspace(0, 80, 54).reshape(6, 9)]
)
def test_silence_and_decibels_above_a_floor_are_decibels(tmp_path, array):
    spectrograms.npy_levels(save_npy(tmp_path, array), num_bands=6, range_db=80)

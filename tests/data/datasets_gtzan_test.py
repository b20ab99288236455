"""GTZAN's layouts and splits, on empty files: reading the table opens no audio."""

import os
from pathlib import Path

import numpy as np
import pytest

from deepgenre.data.clip import Clip
from deepgenre.data.datasets import gtzan, read_dataset
from deepgenre.errors import UserError

SHARED = Path(
    os.environ.get("DEEPGENRE_SHARED", Path(__file__).resolve().parents[3] / "shared"), "data"
)
WHOLE = [
    Clip(f"{genre}.{i:05d}", Path("x"), (genre,), f"{genre}.{i:05d}")
    for genre in gtzan.GENRES
    for i in range(100)
]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def sizes(parts: dict[str, list[str]]) -> dict[str, int]:
    return {name: len(keys) for name, keys in parts.items()}


@pytest.mark.parametrize("layout", ["genres", "genres_original", "Data/genres_original", "."])
@pytest.mark.parametrize("suffix", ["au", "wav", "mp3", "flac", "npy"])
def test_reads_every_layout_and_format(tmp_path, layout, suffix):
    rock = touch(tmp_path / layout / "rock" / f"rock.00007.{suffix}")
    touch(tmp_path / layout / "blues" / f"blues.00029.{suffix}")
    dataset = gtzan.read(tmp_path)
    assert (dataset.name, dataset.multi_label) == ("gtzan", False)
    assert [clip.key for clip in dataset.clips] == ["blues.00029", "rock.00007"]
    assert dataset.clips[1] == Clip("rock.00007", rock, ("rock",), "rock.00007")


def test_ignores_files_that_are_not_clips_of_the_collection(tmp_path):
    touch(tmp_path / "genres/jazz/jazz.00054.wav")
    for other in (
        "jazz/._jazz.00054.wav",
        "jazz/jazz.54.wav",
        "jazz/jazz.000540.wav",
        "jazz/blues.00001.wav",
        "jazz/jazz.00055.png",
        "jazz/jazz.00056.wav.txt",
        "polka/polka.00001.wav",
    ):
        touch(tmp_path / "genres" / other)
    assert [clip.key for clip in gtzan.read(tmp_path).clips] == ["jazz.00054"]


def test_clip_in_two_formats_is_read_once(tmp_path):
    for suffix in ("wav", "au"):
        touch(tmp_path / f"genres/pop/pop.00001.{suffix}")
    assert [clip.path.suffix for clip in gtzan.read(tmp_path).clips] == [".au"]


def test_missing_and_empty_folder_messages_give_the_sources(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"marsyas/gtzan.*andradaolteanu.*archive.org") as info:
            gtzan.read(folder)
        assert str(folder) in str(info.value)
        assert "\n" not in str(info.value)
    (tmp_path / "genres/pop").mkdir(parents=True)
    with pytest.raises(UserError, match=r"genres: contains no clip named like 'blues.00000.wav'"):
        gtzan.read(tmp_path)


def test_fault_filtered_counts():
    parts = gtzan.fault_filtered(WHOLE, 0)
    assert sizes(parts) == {"train": 443, "valid": 197, "test": 290}
    assert len({key for keys in parts.values() for key in keys}) == 930
    assert "jazz.00054" in parts["train"]
    readable = [clip for clip in WHOLE if clip.key != "jazz.00054"]
    assert sizes(gtzan.fault_filtered(readable, 0)) == {"train": 442, "valid": 197, "test": 290}


def test_fault_filtered_counts_per_genre():
    """Lengths of the published lists, in the order of `GENRES`."""
    parts = gtzan.fault_filtered(WHOLE, 0)
    counts = {
        name: [sum(key.startswith(genre) for key in keys) for genre in gtzan.GENRES]
        for name, keys in parts.items()
    }
    assert counts == {
        "train": [46, 48, 45, 42, 47, 43, 44, 41, 43, 44],
        "valid": [23, 20, 23, 22, 18, 17, 20, 13, 17, 24],
        "test": [31, 31, 30, 29, 27, 27, 27, 30, 26, 32],
    }


def test_fault_filtered_equals_the_parts_of_the_real_spectrograms():
    path = SHARED / "gtzan_mel" / "gtzan_mel_dev.npz"
    if not path.exists():
        pytest.skip(f"real GTZAN spectrograms are not at {path}")
    with np.load(path) as arrays:
        expected = dict(zip(arrays["name"].tolist(), arrays["split"].tolist(), strict=True))
    parts = gtzan.fault_filtered([clip for clip in WHOLE if clip.key in expected], 0)
    assert sizes(parts) == {"train": 442, "valid": 197}
    part_of = {key: name for name, keys in parts.items() for key in keys}
    assert {key: part_of.get(key, "excluded") for key in expected} == expected


def test_paper_random_is_67_to_33_in_every_genre():
    parts = gtzan.SPLITS["paper_random"](WHOLE, 5)
    assert sizes(parts) == {"train": 670, "valid": 330}
    for genre in gtzan.GENRES:
        assert sum(key.startswith(genre) for key in parts["valid"]) == 33


def test_reads_real_clips():
    folder = SHARED / "gtzan_audio"
    if not folder.exists():
        pytest.skip(f"real GTZAN audio is not at {folder}")
    clips = gtzan.read(folder).clips
    assert len(clips) == 50
    assert clips == gtzan.read(folder / "genres").clips
    assert dict.fromkeys(gtzan.GENRES, 5) == {
        genre: sum(clip.labels == (genre,) for clip in clips) for genre in gtzan.GENRES
    }


def test_table_of_artists_gives_groups(tmp_path):
    for key in ("blues.00001", "blues.00002", "rock.00007", "rock.00012", "rock.00019"):
        touch(tmp_path / "genres" / key.split(".")[0] / f"{key}.wav")
    (tmp_path / gtzan.ARTISTS).write_text(
        "name,artist\nblues.00001,John Lee Hooker\nblues.00002,John Lee Hooker\nrock.00012,\n"
    )
    groups = {clip.key: clip.group for clip in gtzan.read(tmp_path).clips}
    assert groups["blues.00001"] == groups["blues.00002"] == "artist: John Lee Hooker"
    assert groups["rock.00012"] == groups["rock.00019"]  # of the same tens, without an artist
    assert len({groups["rock.00007"], groups["rock.00012"], groups["blues.00001"]}) == 3


def test_table_of_artists_beside_an_npz_gives_groups(tmp_path):
    names = np.array(["blues.00001", "blues.00030", "mine.7"])
    np.savez(tmp_path / "x.npz", mel=np.zeros((3, 4, 5), np.uint8), name=names)
    before = read_dataset("gtzan", tmp_path / "x.npz", multi_label=False)
    assert [clip.group for clip in before.clips] == list(names)
    (tmp_path / gtzan.ARTISTS).write_text("name,artist\nblues.00001,A\nblues.00030,A\n")
    dataset = read_dataset("gtzan", tmp_path / "x.npz", multi_label=False)
    assert [clip.group for clip in dataset.clips] == ["artist: A", "artist: A", "mine.7"]
    assert read_dataset("folder", tmp_path / "x.npz", multi_label=False) == before


@pytest.mark.parametrize("table", [b"", b"clip,artist\nblues.00001,A\n", b"name,artist\n\xff,B\n"])
def test_unreadable_table_of_artists_is_rejected(tmp_path, table):
    touch(tmp_path / "genres/blues/blues.00001.wav")
    (tmp_path / gtzan.ARTISTS).write_bytes(table)
    with pytest.raises(UserError, match=f"{gtzan.ARTISTS}: ") as info:
        gtzan.read(tmp_path)
    assert "\n" not in str(info.value)

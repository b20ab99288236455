"""Shards whose files were damaged, exchanged or edited: found, and only these rebuilt."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from deepgenre import config as defaults
from deepgenre.data import prepare as prepare_module
from deepgenre.data import shards, store
from deepgenre.data.prepare import prepare
from deepgenre.data.shards import DamagedShardError
from deepgenre.data.store import Records
from deepgenre.errors import UserError

NUM_CLIPS = 9  # three shards of three clips
HOLD = """
import sys, time
from pathlib import Path
from deepgenre import files
with files.updating(Path(sys.argv[1])):
    print('ready', flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "CLIPS_PER_SHARD", 3)


def config_of(folder: Path):
    config = defaults.get_config()
    config.dataset, config.store_dir, config.prepare_workers = "folder", str(folder / "store"), 1
    return config


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    music = tiny.compose(folder / "music", clips_per_genre=3, seconds=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "CLIPS_PER_SHARD", 3)
        prepare(config_of(folder), music)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of the original folder; files keep their times."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def store_of(folder: Path) -> Path:
    return next((folder / "store").iterdir())


def shard_files(folder: Path) -> list[tuple[Path, Path]]:
    """Returns index and records of each shard."""
    indices = sorted((store_of(folder) / "shards").glob("*.jsonl"))
    return [(index, index.with_suffix(".arrayrecord")) for index in indices]


def levels_by_key(folder: Path) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "CLIPS_PER_SHARD", 3)
        prepared = prepare(config_of(folder), folder / "music")
    records = Records(prepared.folder, prepared.rows, np.uint8)
    return {row.key: records[i].tobytes() for i, row in enumerate(prepared.rows)}


def edit_rows(index: Path, edit: Callable[[list[dict]], object]) -> None:
    """Edits the lines of an index, the last of which is its footer."""
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    edit(rows)
    index.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def state_of(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(bytes(content))


def set_value(name: str, value) -> Callable[[Path, Path], None]:
    return lambda index, records: edit_rows(index, lambda rows: rows[0].update({name: value}))


def drop_row(index: Path, records: Path) -> None:
    edit_rows(index, lambda rows: rows.pop(0))


def swap_records(index: Path, records: Path) -> None:
    def swap(rows: list[dict]) -> None:
        rows[0]["record"], rows[1]["record"] = rows[1]["record"], rows[0]["record"]

    edit_rows(index, swap)


def swap_rows(index: Path, records: Path) -> None:
    edit_rows(index, lambda rows: rows.insert(0, rows.pop(1)))


FOUND_AT_ONCE = {
    "truncated": lambda index, records: os.truncate(records, records.stat().st_size // 2),
    "empty": lambda index, records: os.truncate(records, 0),
    "missing": lambda index, records: records.unlink(),
    "longer": lambda index, records: records.write_bytes(records.read_bytes() + b"\0"),
    "index_cut": lambda index, records: os.truncate(index, index.stat().st_size - 40),
    "index_without_footer": lambda index, records: edit_rows(index, lambda rows: rows.pop()),
    "index_empty": lambda index, records: os.truncate(index, 0),
    "index_not_utf8": lambda index, records: flip(index, 2) or index.write_bytes(b"\xff\xfe{"),
    "index_bit": lambda index, records: flip(index, 60),
    "row_dropped": drop_row,
    "records_swapped": swap_records,
    "rows_swapped": swap_rows,
    "bands": set_value("bands", 64),
    "frames": set_value("frames", 1),
    "sum": set_value("level_sum", 1),
    "record_out_of_range": set_value("record", 170),
    "record_null": set_value("record", None),
    "record_text": set_value("record", "0"),
    "record_negative": set_value("record", -1),
    "record_true": set_value("record", True),
    "shard_elsewhere": set_value("shard", "../../other"),
    "surplus_field": set_value("mood", "calm"),
    "infinite": set_value("level_sum", float("inf")),
    "brackets": lambda index, records: index.write_text("[" * 100_000 + "\n"),
    "digits": lambda index, records: index.write_text("9" * 5000 + "\n"),
}


@pytest.mark.parametrize("name", FOUND_AT_ONCE)
def test_damage_is_found_at_once_and_only_its_shard_is_rebuilt(folder, original, decoded, name):
    files = shard_files(folder)
    FOUND_AT_ONCE[name](*files[1])
    assert [*store.read_contents(store_of(folder)).damaged] == [files[1][0].stem]
    untouched = {path: state_of(path) for pair in (files[0], files[2]) for path in pair}
    levels = levels_by_key(folder)
    assert 0 < len(decoded) <= 3
    assert levels == levels_by_key(original)
    assert {path: state_of(path) for path in untouched} == untouched
    assert not store.read_contents(store_of(folder)).damaged


def copy_records_of_another_shard(folder: Path) -> None:
    (_, first), (_, second), _ = shard_files(folder)
    assert first.stat().st_size == second.stat().st_size  # else it would be found at once
    shutil.copy(first, second)


def flip_a_record(folder: Path) -> None:
    _, records = shard_files(folder)[1]
    flip(records, 2000)  # within a record, not in a header of the file's blocks


@pytest.mark.parametrize("damage", [copy_records_of_another_shard, flip_a_record])
def test_damage_within_records_is_found_when_they_are_read(folder, original, decoded, damage):
    damage(folder)
    index, records = shard_files(folder)[1]
    with pytest.raises(UserError, match=rf"{records.name}: record \d of clip .* is damaged"):
        levels_by_key(folder)  # as in training
    assert not decoded
    prepare(config_of(folder), folder / "music", verify=True)  # as in mode prepare
    assert 0 < len(decoded) <= 3
    assert levels_by_key(folder) == levels_by_key(original)
    assert not index.exists() or store.verify(store_of(folder)) == {}


def test_intact_records_of_a_damaged_shard_are_kept_without_their_sources(folder):
    flip_a_record(folder)
    before = store.read_measured(store_of(folder))
    (bad,) = store.verify(store_of(folder))
    rows = {row.key for row in shards.read(store_of(folder), bad).rows}
    shutil.rmtree(folder / "music")
    store.repair(store_of(folder), np.uint8, [bad])
    lost = before.keys() - store.read_measured(store_of(folder)).keys()
    assert lost < rows
    assert not store.verify(store_of(folder))


def as_earlier_version(folder: Path) -> None:
    """Removes checksums and footers, as versions before 0.3 wrote shards."""

    def strip(rows: list[dict]) -> None:
        rows.pop()
        for row in rows:
            del row["crc32"]

    for index, _ in shard_files(folder):
        before = index.stat()
        edit_rows(index, strip)
        os.utime(index, ns=(before.st_atime_ns, before.st_mtime_ns))
    edit_rows(
        store_of(folder) / "index.jsonl",
        lambda rows: [row["measured"].pop("crc32") for row in rows],
    )


def test_stores_of_earlier_versions_get_checksums_without_decoding(
    folder, original, decoded, capsys
):
    as_earlier_version(folder)
    assert len(store.read_contents(store_of(folder)).unchecked) == 3
    assert levels_by_key(folder) == levels_by_key(original)
    assert not decoded
    assert "added checksums to 3 shards of an earlier version" in capsys.readouterr().err
    for (index, _), (expected, _) in zip(shard_files(folder), shard_files(original), strict=True):
        assert index.read_bytes() == expected.read_bytes()
        assert index.stat().st_mtime_ns == expected.stat().st_mtime_ns


@pytest.mark.parametrize("name", ["row_dropped", "rows_swapped", "bands", "frames", "sum"])
def test_damage_in_stores_of_earlier_versions_is_found(folder, original, decoded, name):
    as_earlier_version(folder)
    FOUND_AT_ONCE[name](*shard_files(folder)[1])
    assert levels_by_key(folder) == levels_by_key(original)
    assert len(decoded) == 3


def test_read_only_store_of_an_earlier_version_is_read_as_it_is(folder, original, monkeypatch):
    as_earlier_version(folder)
    before = {index: index.read_bytes() for index, _ in shard_files(folder)}
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert levels_by_key(folder) == levels_by_key(original)
    assert {index: index.read_bytes() for index in before} == before


def test_records_without_an_index_are_removed(folder):
    index, records = shard_files(folder)[0]
    index.rename(index.with_suffix(".elsewhere"))
    prepare(config_of(folder), folder / "music")
    assert {path.stem for path, _ in shard_files(folder)} >= {
        path.stem for path in records.parent.glob("*.arrayrecord")
    }


def test_temporary_files_of_killed_writers_are_removed(folder):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = shard_files(folder)[0][0].parent / f".0123.arrayrecord.{process.pid}.part"
    left.write_bytes(b"half")
    (folder / "music" / "low" / "000.wav").touch()
    prepare(config_of(folder), folder / "music")
    assert not left.exists()


def test_a_second_process_is_refused_only_where_it_would_change_the_store(folder):
    from deepgenre import files

    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, store_of(folder) / "index.jsonl"],
        env=os.environ | {"PYTHONPATH": str(tiny.ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout and holder.stdout.readline() == "ready\n"
        assert len(prepare(config_of(folder), folder / "music").rows) == NUM_CLIPS
        (folder / "music" / "low" / "000.wav").touch()
        with pytest.raises(UserError, match=rf"is being updated by process {holder.pid}"):
            prepare(config_of(folder), folder / "music")
        holder.kill()
    assert len(prepare(config_of(folder), folder / "music").rows) == NUM_CLIPS
    assert files.stamp(store_of(folder) / ".index.jsonl.lock") is None


def test_a_clock_that_went_back_does_not_bring_an_old_record_back(folder, decoded):
    song = folder / "music" / "low" / "000.wav"
    tiny.compose(folder / "music", clips_per_genre=1, seconds=0.2)
    prepare(config_of(folder), folder / "music")
    assert song.exists() and decoded
    newest = max((index for index, _ in shard_files(folder)), key=lambda path: path.stat().st_mtime)
    os.utime(newest, (0, 0))
    decoded.clear()
    rows = {row.key: row for row in prepare(config_of(folder), folder / "music").rows}
    assert not decoded
    assert rows["low/000.wav"].measured.source_bytes == song.stat().st_size


@settings(max_examples=int(os.environ.get("DEEPGENRE_FUZZ", 60)), deadline=None)
@given(st.data())
def test_no_change_of_an_index_gives_other_rows_or_a_traceback(original, data):
    """Any bytes: either the same rows, or the error that names the shard."""
    index, _ = shard_files(original)[0]
    whole, expected = index.read_bytes(), shards.read(store_of(original), index.stem)
    start = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 40))
    added = data.draw(st.binary(max_size=12) | st.sampled_from([b"null", b"1e999", b'"', b"{}\n"]))
    try:
        index.write_bytes(whole[:start] + added + whole[start + cut :])
        assert shards.read(store_of(original), index.stem) == expected
    except DamagedShardError as error:
        assert index.stem in str(error)
    finally:
        index.write_bytes(whole)

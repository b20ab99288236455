"""Files of predictions: round trips with arbitrary names, and resumed files."""

import csv
import dataclasses
import json
import os
import resource
import string
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from deepgenre.errors import UserError
from deepgenre.inference.prediction_files import identity, writer
from deepgenre.inference.prediction_files.rows import Layout, Prediction, Result, encodable
from deepgenre.inference.prediction_files.text import FORMULA_PREFIXES

CLASSES = ("rock", "=jazz", "ä, b", "path")
LAYOUT = Layout({"": CLASSES})
MADE_WITH = {"weights": "vgg 1", "threshold": 0.5}
SUFFIXES = pytest.mark.parametrize("suffix", writer.FORMATS)
# Names as file systems allow them, including bytes that are not UTF-8 (surrogates in Python).
PATHS = st.one_of(
    st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name).map(os.fsdecode),
    st.text(alphabet="=+-@\t\r\n'\",|ab ", min_size=1, max_size=8),
).map(Path)


def prediction(path: str | Path, *, fingerprint=(10, 20), error: str = "") -> Prediction:
    scores = None if error else np.array([0.5, 0.25, 0.125, 0.125], np.float32)
    results = () if scores is None else (Result(scores, ("rock", "=jazz")),)
    return Prediction(Path(path), fingerprint, results, error)


def write(output: Path, *predictions: Prediction) -> None:
    with writer.open_new(output, LAYOUT, MADE_WITH, {}) as (_, add):
        for prediction in predictions:
            add(prediction)


def resume(
    output: Path, fingerprints, *, count: int | None = None, made_with=MADE_WITH
) -> list[Path]:
    """Resumes an output with `count` of its missing files; returns all that were missing."""
    with writer.open_resumed(output, LAYOUT, made_with, fingerprints) as (todo, add):
        for path in todo[:count]:
            add(prediction(path, fingerprint=fingerprints[path]))
    return todo


def written_rows(output: Path) -> list[dict]:
    if output.suffix == ".jsonl":
        return [json.loads(line) for line in output.read_bytes().splitlines()]
    if output.suffix == ".csv":
        with output.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, strict=True))
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    return parquet.read_table(output).to_pylist()


def test_json_lines_have_the_documented_fields(tmp_path):
    write(tmp_path / "o.jsonl", prediction("a.wav"), prediction("b", error="bad", fingerprint=None))
    first, second = written_rows(tmp_path / "o.jsonl")
    assert first["tags"] == ["rock", "=jazz"]
    assert first["scores"] == {"rock": 0.5, "=jazz": 0.25, "ä, b": 0.125, "path": 0.125}
    assert (first["bytes"], first["mtime_ns"]) == (10, 20)
    assert {**second, "crc32": ""} == {"path": "b", "error": "bad", "crc32": ""}


def test_csv_escapes_formulas_and_line_breaks(tmp_path):
    write(tmp_path / "o.csv", prediction("=cmd|' /C calc'!A0"), prediction("'b\nc", error="-bad"))
    lines = (tmp_path / "o.csv").read_bytes().decode()
    assert lines.startswith('path,bytes,mtime_ns,error,tags,rock,\'=jazz,"ä, b",score_path\r\n')
    first, second = written_rows(tmp_path / "o.csv")
    assert first["path"] == "'=cmd|' /C calc'!A0"
    assert first["tags"] == "rock|=jazz"
    assert second["path"] == "''b\nc"
    assert second["error"] == "'-bad"
    assert second["rock"] == ""


@SUFFIXES
@settings(deadline=None, max_examples=40)
@given(names=st.lists(PATHS, min_size=1, max_size=5, unique=True))
def test_any_name_can_be_written_and_resumed(tmp_path_factory, suffix, names):
    output = tmp_path_factory.mktemp("out") / f"o{suffix}"
    fingerprints = dict.fromkeys(names, (10, 20))
    write(output, *map(prediction, names))
    rows = written_rows(output)
    assert len(rows) == len(names)
    for path, row in zip(names, rows, strict=True):
        if suffix == ".jsonl":
            assert row["path"] == str(path)
        elif suffix == ".csv":
            assert not row["path"].startswith(FORMULA_PREFIXES[:-1])
            assert row["path"].removeprefix("'").startswith(encodable(str(path))[:1])
        else:
            assert row["path"] == encodable(str(path))
    before = output.read_bytes()
    missing = resume(output, fingerprints)
    if len({writer.FORMATS[suffix].name(path) for path in names}) == len(names):
        assert missing == []
    if suffix != ".parquet":
        assert output.read_bytes() == before


@SUFFIXES
def test_resume_skips_written_files(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    fingerprints = {Path(name): (10, 20) for name in string.ascii_lowercase}
    assert resume(output, fingerprints, count=10) == list(fingerprints)
    assert resume(output, fingerprints) == list(fingerprints)[10:]
    assert [row["path"] for row in written_rows(output)] == list(string.ascii_lowercase)
    assert resume(output, fingerprints) == []


@SUFFIXES
def test_of_several_rows_of_a_file_the_last_valid_one_is_kept(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    first, other = prediction("a"), prediction("b")
    later = dataclasses.replace(first, results=(Result(first.results[0].scores, ("later",)),))
    changed = dataclasses.replace(later, fingerprint=(11, 20))
    write(output, first, other, later, changed, prediction("a", error="bad"))
    assert resume(output, {Path("a"): (10, 20)}) == []
    rows = [(row["path"], row["tags"]) for row in written_rows(output)]
    tags = {".jsonl": (["rock", "=jazz"], ["later"])}.get(suffix, ("rock|=jazz", "later"))
    assert rows == [("b", tags[0]), ("a", tags[1])]


@SUFFIXES
def test_resume_processes_failed_and_changed_files(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    write(
        output,
        prediction("same"),
        prediction("larger"),
        prediction("failed", error="bad"),
        prediction("missing", error="gone", fingerprint=None),
        prediction("not requested", fingerprint=(1, 1)),
    )
    fingerprints = {
        Path("same"): (10, 20),
        Path("larger"): (11, 20),
        Path("failed"): (10, 20),
        Path("missing"): None,
    }
    assert [str(path) for path in resume(output, fingerprints)] == ["larger", "failed", "missing"]
    paths = [row["path"] for row in written_rows(output)]
    assert paths == ["same", "not requested", "larger", "failed", "missing"]
    assert not any(row.get("error") for row in written_rows(output))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_file_truncated_at_any_byte_can_be_resumed(tmp_path, suffix):
    output, complete = tmp_path / f"o{suffix}", tmp_path / f"complete{suffix}"
    names = ["a", "b\r\nc", 'd"\ne', "ü\n"]
    fingerprints = {Path(name): (10, 20) for name in names}
    write(complete, *map(prediction, names))
    content = complete.read_bytes()
    num_missing = set()
    for length in range(len(content) + 1):
        output.write_bytes(content[:length])
        identity.write(output, MADE_WITH)
        num_missing.add(len(resume(output, fingerprints)))
        assert output.read_bytes() == content
    assert num_missing == {0, 1, 2, 3, 4}


@SUFFIXES
def test_incompatible_file_is_an_error_and_unchanged(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    contents = {
        ".jsonl": ['{"name": "x"}\n', "not JSON\n", '{"path": "x", "scores": {"rock": 1}}\n'],
        ".csv": ["a,b\r\n1,2\r\n", "path,bytes,mtime_ns,error,tags,rock\r\n"],
        ".parquet": ["not Parquet"],
    }[suffix]
    for content in contents:
        output.write_text(content, newline="")
        with pytest.raises(UserError, match=rf"o{suffix}: .* give another --output"):
            resume(output, {Path("a"): (1, 1)})
        assert output.read_text() == content.replace("\r\n", "\n")
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_parquet_of_other_classes_is_an_error(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    write(tmp_path / "o.parquet", prediction("a"))
    with (
        pytest.raises(UserError, match="its columns are not those of these weights"),
        writer.open_resumed(tmp_path / "o.parquet", Layout({"": ("rock", "pop")}), MADE_WITH, {}),
    ):
        pass


def test_parquet_has_typed_columns_and_several_row_groups(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    predictions = [prediction(str(number)) for number in range(2_500)]
    write(tmp_path / "o.parquet", *predictions, prediction("x", error="bad", fingerprint=None))
    table = parquet.read_table(tmp_path / "o.parquet")
    assert table.num_rows == 2_501
    assert str(table.schema.field("rock").type) == "float"
    assert str(table.schema.field("mtime_ns").type) == "int64"
    assert table.to_pylist()[-1] == {
        "path": "x", "bytes": None, "mtime_ns": None, "error": "bad", "tags": "",
        "rock": None, "=jazz": None, "ä, b": None, "score_path": None,
    }  # fmt: skip


def test_parquet_without_pyarrow_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"\.parquet needs pyarrow, pip install"):
        write(tmp_path / "o.parquet", prediction("a"))


def test_resume_requires_an_output():
    with (
        pytest.raises(UserError, match="--resume"),
        writer.open_resumed(None, LAYOUT, MADE_WITH, {}),
    ):
        pass


@SUFFIXES
def test_output_of_other_settings_is_refused_and_unchanged(tmp_path, suffix, capsys):
    output = tmp_path / f"o{suffix}"
    write(output, prediction("a"))
    before = output.read_bytes()
    for other in ({"weights": "vgg 2", "threshold": 0.5}, {"weights": "vgg 1", "threshold": 0.0}):
        changed = {name: other[name] for name in other if other[name] != MADE_WITH[name]}
        ((name, value),) = changed.items()
        with pytest.raises(
            UserError, match=rf"o{suffix}: .*{name}: {MADE_WITH[name]!r} -> {value!r}"
        ):
            resume(output, {Path("b"): (1, 1)}, made_with=other)
        assert output.read_bytes() == before
    assert resume(output, {Path("a"): (10, 20), Path("b"): (1, 1)}) == [Path("b")]
    assert capsys.readouterr().err == ""


@SUFFIXES
def test_output_without_identity_is_continued_with_a_warning_once(tmp_path, suffix, capsys):
    output = tmp_path / f"o{suffix}"
    write(output, prediction("a"))
    identity.remove(output)  # as older versions wrote it
    fingerprints = {Path("a"): (10, 20), Path("b"): (1, 1)}
    assert resume(output, fingerprints, count=0) == [Path("b")]
    assert "does not state with which weights" in capsys.readouterr().err
    assert resume(output, fingerprints) == [Path("b")]
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"threshold: 0\.5 -> 1"):
        resume(output, fingerprints, made_with={**MADE_WITH, "threshold": 1})


@SUFFIXES
def test_new_output_replaces_the_identity_only_when_it_is_complete(tmp_path, suffix):
    output, other = tmp_path / f"o{suffix}", {**MADE_WITH, "weights": "vgg 2"}
    write(output, prediction("a"))
    with (
        pytest.raises(ZeroDivisionError),
        writer.open_new(output, LAYOUT, other, {}) as (_, add),
    ):
        add(prediction("b"))
        raise ZeroDivisionError
    assert resume(output, {Path("a"): (10, 20)}) == []
    with writer.open_new(output, LAYOUT, other, {}) as (_, add):
        add(prediction("b"))
    with pytest.raises(UserError, match="weights: 'vgg 2' -> 'vgg 1'"):
        resume(output, {})
    output.unlink()  # a new file may be of any settings
    assert resume(output, {Path("a"): (10, 20)}) == [Path("a")]


@SUFFIXES
@pytest.mark.parametrize("is_resumed", [False, True])
def test_run_killed_before_its_identity_is_written_leaves_none(
    tmp_path, monkeypatch, suffix, is_resumed
):
    output = tmp_path / f"o{suffix}"
    write(output, prediction("a"))
    if is_resumed:
        output.unlink()  # its identity stays

    def killed(output, made_with, with_digest=False):
        raise KeyboardInterrupt

    monkeypatch.setattr(identity, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        if is_resumed:
            resume(output, {Path("b"): (1, 1)}, made_with={**MADE_WITH, "threshold": 1})
        else:
            write(output, prediction("b"))
    assert output.exists() != is_resumed  # which writes it before there is an output
    assert not identity.path_of(output).exists()


def flip(path: Path, place: int) -> None:
    """Flips the lowest bit of a byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@SUFFIXES
def test_changed_score_is_reported_by_name_and_the_file_left_as_it_is(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    fingerprints = {Path(name): (10, 20) for name in "abc"}
    resume(output, fingerprints, count=2)  # the digest is that of the last run
    resume(output, fingerprints)
    whole = output.read_bytes()
    place = whole.rfind(b"125") if suffix != ".parquet" else len(whole) // 3
    flip(output, place)
    damaged = output.read_bytes()
    with pytest.raises(UserError, match=rf"o{suffix}: cannot be resumed"):
        resume(output, fingerprints)
    assert output.read_bytes() == damaged
    output.write_bytes(whole)
    assert resume(output, fingerprints) == []


def test_owner_who_edits_a_table_may_continue_it(tmp_path):
    output = tmp_path / "o.csv"
    fingerprints = {Path(name): (10, 20) for name in "abc"}
    write(output, *map(prediction, "abc"))
    kept = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join([kept[0], *kept[2:]]))
    with pytest.raises(UserError, match=r"remove .*o\.csv\.meta\.json to continue it as it is"):
        resume(output, fingerprints)
    identity.remove(output)
    assert resume(output, fingerprints) == [Path("a")]


def test_outputs_of_versions_without_checksums_are_resumed(tmp_path):
    fingerprints = {Path(name): (10, 20) for name in "abc"}
    write(tmp_path / "o.jsonl", prediction("a"))
    (row,) = written_rows(tmp_path / "o.jsonl")
    del row["crc32"]
    (tmp_path / "o.jsonl").write_text(json.dumps(row) + "\n")
    assert resume(tmp_path / "o.jsonl", fingerprints) == [Path("b"), Path("c")]
    assert ["crc32" in row for row in written_rows(tmp_path / "o.jsonl")] == [False, True, True]
    write(tmp_path / "o.csv", prediction("a"))
    identity.path_of(tmp_path / "o.csv").write_text(json.dumps(MADE_WITH))
    assert resume(tmp_path / "o.csv", fingerprints) == [Path("b"), Path("c")]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_disk_that_gets_full_within_a_row_leaves_no_part_of_it(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    fingerprints = {Path(f"{number}.mp3"): (10, 20) for number in range(20)}
    resume(output, fingerprints, count=15)
    whole = output.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"o{suffix}"):
            resume(output, fingerprints)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert output.read_bytes() == whole


def test_damaged_identity_is_an_error(tmp_path):
    write(tmp_path / "o.csv", prediction("a"))
    for content in ("{", "[1]", '"text"'):
        identity.path_of(tmp_path / "o.csv").write_text(content)
        with pytest.raises(UserError, match=r"o\.csv\.meta\.json: is damaged"):
            resume(tmp_path / "o.csv", {})


@SUFFIXES
def test_second_run_on_an_output_is_refused_by_name(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    refused = pytest.raises(
        UserError, match=rf"o{suffix}: is being updated by process {os.getpid()}"
    )
    with writer.open_resumed(output, LAYOUT, MADE_WITH, {Path("a"): (10, 20)}) as (_, add):
        with refused:
            resume(output, {})
        with refused:
            write(output, prediction("b"))
        add(prediction("a"))
    assert [row["path"] for row in written_rows(output)] == ["a"]
    assert not (tmp_path / f".o{suffix}.lock").exists()


def test_lock_of_a_killed_run_does_not_stay(tmp_path):
    code = """
import os, pathlib, sys
from deepgenre.files import updating
with updating(pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "o.csv"], check=False)
    assert (tmp_path / ".o.csv.lock").exists()
    write(tmp_path / "o.csv", prediction("a"))
    assert {path.name for path in tmp_path.iterdir()} == {"o.csv", "o.csv.meta.json"}


@SUFFIXES
def test_networks_side_by_side_have_their_own_columns(tmp_path, suffix):
    output = tmp_path / f"o{suffix}"
    layout = Layout({"gtzan": ("rock", "tags"), "mtt": ("rock",)})
    both = (
        Result(np.array([0.75, 0.25], np.float32), ("rock", "tags")),
        Result(np.array([0.5], np.float32), ()),
    )
    with writer.open_new(output, layout, MADE_WITH, {}) as (_, add):
        add(Prediction(Path("a"), (10, 20), both))
        add(Prediction(Path("b"), (10, 20), (), "bad"))
    first, second = written_rows(output)
    if suffix == ".jsonl":
        assert first["gtzan:tags"] == ["rock", "tags"]
        assert first["gtzan:scores"] == {"rock": 0.75, "tags": 0.25}
        assert (first["mtt:tags"], first["mtt:scores"]) == ([], {"rock": 0.5})
    else:
        assert [*first] == [
            "path", "bytes", "mtime_ns", "error",
            "gtzan:tags", "gtzan:rock", "gtzan:score_tags", "mtt:tags", "mtt:rock",
        ]  # fmt: skip
        assert (first["gtzan:tags"], first["mtt:tags"]) == ("rock|tags", "")
        assert (float(first["gtzan:rock"]), float(first["mtt:rock"])) == (0.75, 0.5)
    assert second["error"] == "bad"
    fingerprints = dict.fromkeys(map(Path, "ab"), (10, 20))
    with writer.open_resumed(output, layout, MADE_WITH, fingerprints) as (todo, _):
        assert todo == [Path("b")]
    with (
        pytest.raises(UserError, match="give another --output"),
        writer.open_resumed(output, Layout({"gtzan": ("rock",)}), MADE_WITH, fingerprints),
    ):
        pass


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_descriptors_are_written_and_resumed(tmp_path: Path, suffix: str):
    output = tmp_path / f"o{suffix}"
    columns = ("tempo_bpm", "key")
    row = dataclasses.replace(
        prediction("a.mp3", fingerprint=(1, 2)), descriptors={"tempo_bpm": 120.5}
    )
    layout, made_with = Layout({"": CLASSES}, columns), {**MADE_WITH, "describe": [*columns]}
    with writer.open_new(output, layout, made_with, {}) as (_, add):
        add(row)
    fingerprints = {Path("a.mp3"): (1, 2), Path("b.mp3"): (3, 4)}
    with writer.open_resumed(output, layout, made_with, fingerprints) as (todo, add):
        assert todo == [Path("b.mp3")]
        add(
            dataclasses.replace(
                prediction("b.mp3", fingerprint=(3, 4)), descriptors={"key": "A minor"}
            )
        )
    first, second = written_rows(output)
    assert [*first][4:7] == ["tempo_bpm", "key", "tags"] or suffix == ".jsonl"
    assert float(first["tempo_bpm"]) == 120.5 and not first["key"]
    assert not second["tempo_bpm"] and second["key"] == "A minor"
    with (
        pytest.raises(UserError, match=r"describe: \['tempo_bpm', 'key'\] -> \['key'\]"),
        writer.open_resumed(
            output, Layout({"": CLASSES}, ("key",)), {**MADE_WITH, "describe": ["key"]}, {}
        ),
    ):
        pass

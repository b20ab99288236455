"""Files of predictions: round trips with arbitrary names, and resumed files."""

import csv
import dataclasses
import json
import os
import string
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from deepgenre.errors import UserError
from deepgenre.inference.prediction_files import writer
from deepgenre.inference.prediction_files.rows import Prediction, encodable
from deepgenre.inference.prediction_files.text import FORMULA_PREFIXES

CLASSES = ("rock", "=jazz", "ä, b", "path")
SUFFIXES = pytest.mark.parametrize("suffix", writer.FORMATS)
# Names as file systems allow them, including bytes that are not UTF-8 (surrogates in Python).
PATHS = st.one_of(
    st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name).map(os.fsdecode),
    st.text(alphabet="=+-@\t\r\n'\",|ab ", min_size=1, max_size=8),
).map(Path)


def prediction(path: str | Path, *, fingerprint=(10, 20), error: str = "") -> Prediction:
    scores = None if error else np.array([0.5, 0.25, 0.125, 0.125], np.float32)
    return Prediction(Path(path), fingerprint, scores, () if error else ("rock", "=jazz"), error)


def write(output: Path, *predictions: Prediction) -> None:
    with writer.open_new(output, CLASSES, {}) as (_, add):
        for prediction in predictions:
            add(prediction)


def resume(output: Path, fingerprints, *, count: int | None = None) -> list[Path]:
    """Resumes an output with `count` of its missing files; returns all that were missing."""
    with writer.open_resumed(output, CLASSES, fingerprints) as (todo, add):
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
    assert second == {"path": "b", "error": "bad"}


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
        writer.open_resumed(tmp_path / "o.parquet", ("rock", "pop"), {}),
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
    with pytest.raises(UserError, match="--resume"), writer.open_resumed(None, CLASSES, {}):
        pass


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_descriptors_are_written_and_resumed(tmp_path: Path, suffix: str):
    output = tmp_path / f"o{suffix}"
    columns = ("tempo_bpm", "key")
    row = dataclasses.replace(
        prediction("a.mp3", fingerprint=(1, 2)), descriptors={"tempo_bpm": 120.5}
    )
    with writer.open_new(output, CLASSES, {}, columns) as (_, add):
        add(row)
    fingerprints = {Path("a.mp3"): (1, 2), Path("b.mp3"): (3, 4)}
    with writer.open_resumed(output, CLASSES, fingerprints, columns) as (todo, add):
        assert todo == [Path("b.mp3")]
        add(
            dataclasses.replace(
                prediction("b.mp3", fingerprint=(3, 4)), descriptors={"key": "A minor"}
            )
        )
    if suffix == ".jsonl":
        first, second = map(json.loads, output.read_text().splitlines())
        assert (first["tempo_bpm"], first["key"]) == (120.5, None)
        assert (second["tempo_bpm"], second["key"]) == (None, "A minor")
    with (
        pytest.raises(UserError, match="--describe"),
        writer.open_resumed(output, CLASSES, fingerprints, ("key",)),
    ):
        pass

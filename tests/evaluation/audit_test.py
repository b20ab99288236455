"""Mode `audit`: planted faults are found, and sound data gives no warning. All data synthetic."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from near_duplicates_test import RATE_HZ, mp3, piece

from deepgenre.errors import UserError
from deepgenre.evaluation import ledger
from deepgenre.evaluation.audit import checks, nuisances, order
from deepgenre.evaluation.audit import run as audits
from deepgenre.evaluation.audit.feature_files import read_features
from deepgenre.evaluation.audit.subject import Finding, Subject, shared, track_of

CLASSES, PER_CLASS, FEATURES = 10, 100, 64


def finding(findings: list[Finding], check: str) -> Finding:
    return next(one for one in findings if one.check == check)


def extracted(batch_size: int, normalise: str) -> np.ndarray:
    """Returns features of random clips, scaled or normalised by batch statistics.

    batch_size: 0 for the statistics of all rows. The clips have no relation to any class.
    """
    rng = np.random.default_rng(0)
    contents = rng.standard_normal((CLASSES * PER_CLASS, 4))
    rows = np.tanh(contents @ rng.standard_normal((4, 256)))
    rows += 0.02 * rng.standard_normal(rows.shape)
    batches = np.split(rows, range(batch_size, len(rows), batch_size)) if batch_size else [rows]
    normalised = {
        "range": [(b - b.min(0)) / (b.max(0) - b.min(0)) for b in batches],
        "mean": [(b - b.mean(0)) / b.std(0) for b in batches],
        "rectified": [np.maximum((b - b.mean(0)) / b.std(0), 0) for b in batches],
    }
    return np.concatenate(normalised[normalise])


def in_class_order() -> list[tuple[str, ...]]:
    return [(f"class {row // PER_CLASS}",) for row in range(CLASSES * PER_CLASS)]


def subject(features: np.ndarray, **changes: object) -> Subject:
    keys = [f"{row:04d}" for row in range(len(features))]
    return Subject("made", keys, in_class_order(), features=features, **changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("batch_size", [20, 25, 32])
def test_features_scaled_by_batches_in_class_order_are_found(batch_size):
    found = checks.file_order(subject(extracted(batch_size, "range")))
    assert found.status == "warning"
    assert found.details["batch_size"] == batch_size
    # The clips have no class: every score above chance is false.
    assert found.details["probe"] > 0.4  # pyright: ignore[reportOperatorIssue]
    assert found.details["probe_of_held_out_batches"] < 0.2  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize("normalise", ["mean", "rectified"])
@pytest.mark.parametrize("batch_size", [20, 32])
def test_batches_with_equal_means_are_found(normalise, batch_size):
    effect = order.batch_effect(extracted(batch_size, normalise), in_class_order())
    assert effect is not None and effect.is_normalised
    assert effect.batch_size == batch_size


@pytest.mark.parametrize("normalise", ["range", "mean", "rectified"])
def test_fixed_statistics_are_not_suspected(normalise):
    features = extracted(0, normalise)
    assert checks.file_order(subject(features)).status == "ok"
    assert order.probe(features, in_class_order()) < 0.2


def test_classes_in_turn_are_not_suspected():
    rng = np.random.default_rng(2)
    labels = [f"class {row % CLASSES}" for row in range(CLASSES * PER_CLASS)]
    classes = np.tile(rng.standard_normal((CLASSES, FEATURES)), (PER_CLASS, 1))
    features = 3 * classes + rng.standard_normal(classes.shape)
    assert order.batch_effect(features, labels) is None


def test_classes_that_differ_and_albums_in_a_row_are_not_suspected():
    rng = np.random.default_rng(1)
    classes = np.repeat(rng.standard_normal((CLASSES, FEATURES)), PER_CLASS, axis=0)
    lengths = rng.integers(3, 20, 200)
    albums = np.repeat(rng.standard_normal((200, FEATURES)), lengths, axis=0)[: len(classes)]
    features = 2 * classes + albums + rng.standard_normal(classes.shape)
    assert checks.file_order(subject(features)).status == "ok"


def test_equal_rows_are_found_and_counted_by_part_and_label():
    features = np.random.default_rng(0).standard_normal((1000, 8))
    features[500] = features[3]
    features[7] = features[6] * (1 + 1e-7)
    parts = {f"{row:04d}": "test" if row >= 400 else "train" for row in range(1000)}
    found = checks.near_duplicate_clips(subject(features, parts=parts))
    assert found.status == "warning"
    assert {tuple(pair["clips"]) for pair in found.details["pairs"]} == {  # pyright: ignore
        ("0003", "0500"),
        ("0006", "0007"),
    }
    assert "1 pairs are in two parts, 1 have different labels" in found.text
    copies = features[:10].copy()
    copies[7] = copies[6]
    within = Subject(
        "made", [*"abcdefghij"], [("x",)] * 10, (), dict.fromkeys("abcdefghij", "train"), copies
    )
    assert checks.near_duplicate_clips(within).status == "note"


def test_tracks_and_artists_in_two_parts():
    assert track_of("3/c_layne-potemkin-01-you_are-0-29.mp3") == track_of(
        "a/c_layne-potemkin-01-you_are-59-88.mp3"
    )
    assert track_of("blues.00029.0.wav") == track_of("blues.00029.7.wav") == "blues.00029"
    assert track_of("blues.00029") == "blues.00029" != track_of("blues.00030")
    assert track_of("song_part2.mp3") == track_of("song_part10.mp3")
    assert shared(["a", "a", "b", ""], ["train", "test", "test", "test"]) == {
        "train, test": {"shared": 1, "clips": 3}
    }
    keys = [f"rock.{track:05d}.{segment}" for track in range(20) for segment in range(3)]
    parts = {key: "test" if key.endswith("2") else "train" for key in keys}
    found = checks.shared_tracks(Subject("made", keys, parts=parts))
    assert (found.status, found.details["parts"]) == (
        "warning",
        {"train, test": {"shared": 20, "clips": 20}},
    )
    by_track = {key: "test" if key < "rock.00005" else "train" for key in keys}
    assert checks.shared_tracks(Subject("made", keys, parts=by_track)).status == "ok"
    assert checks.shared_tracks(Subject("made", keys)).status == "warning"
    groups = [key.partition(".")[2][:4] for key in keys]
    assert (
        checks.shared_artists(Subject("made", keys, groups=groups, parts=parts)).status == "warning"
    )
    assert (
        checks.shared_artists(Subject("made", keys, groups=keys, parts=parts)).status
        == "not checked"
    )


def test_a_property_that_tells_the_classes_is_found():
    rng = np.random.default_rng(0)
    labels = [("a",) if row < 100 else ("b",) for row in range(200)]
    told = np.array([[0.0 if own == ("a",) else 3.0] for own in labels]) + rng.random((200, 1))
    found = nuisances.separability(told, labels, ())
    assert found is not None and found.best > 0.99
    found = nuisances.separability(rng.random((200, 2)), labels, ())
    assert found is not None and 0.3 < found.mean < 0.7
    assert nuisances.separability(told[:15], labels[:15], ()) is None


def test_silence_and_bandwidth_of_clips():
    bands = np.full((80, 16), 0.0)
    bands[16:64] = 200
    assert nuisances.silence(bands, 0.125) == pytest.approx([0.4, 2.0, 2.0, 10.0])
    levels = np.zeros((50, 128))
    levels[:, :90] = 180
    assert nuisances.bandwidth(levels) == pytest.approx([89, 180, 0])


def test_the_ledger_counts_weights(tmp_path, capsys):
    for weights in ("one", "two", "two"):
        ledger.record(tmp_path, "test", weights, "gtzan x 0")
    with (tmp_path / ledger.LEDGER).open("ab") as stream:
        stream.write(b'{"time": ')
    entries = ledger.consultations(tmp_path)
    assert "line 4 is damaged" in capsys.readouterr().err
    assert len(entries) == 3
    found = checks.consulted_test(Subject("made", ["a"], consultations=entries))
    assert (found.status, found.text[:37]) == ("note", "3 times, with 2 different weights; a ")
    many = [ledger.Consultation("", "test", str(number), "") for number in range(9)]
    assert checks.consulted_test(Subject("made", ["a"], consultations=many)).status == "warning"


def test_feature_files_of_all_kinds(tmp_path):
    features = np.random.default_rng(0).standard_normal((6, 3))
    np.save(tmp_path / "x.npy", features)
    np.savez(tmp_path / "x.npz", X=features, y=[0, 0, 1, 1, 2, 2], name=[*"abcdef"])
    lines = ["filename,rms,label,note"]
    lines += [f"blues.0000{row}.wav,{features[row, 0]},blues,text" for row in range(6)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    assert read_features(tmp_path / "x.npy").keys[5] == "row 5"
    assert read_features(tmp_path / "x.npz").labels[2] == ("1",)
    table = read_features(tmp_path / "x.csv")
    np.testing.assert_allclose(table.features, features[:, :1])  # pyright: ignore
    assert table.labels[0] == ("blues",)


def test_unusable_feature_files_are_one_line_each(tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "a.npz", label=["x"])
    np.savez(tmp_path / "b.npz", features=np.ones((3, 2)), label=["x"])
    np.save(tmp_path / "c.npy", np.full((3, 2), np.nan))
    (tmp_path / "d.csv").write_text("a,b\n1\n")
    (tmp_path / "e.npz").write_bytes(b"PK")
    np.save(tmp_path / "good.npy", np.random.default_rng(0).standard_normal((9, 4)))
    files = [tmp_path / name for name in ("a.npz", "b.npz", "c.npy", "d.csv", "e.npz", "f.txt")]
    assert tiny.call(monkeypatch, "audit", *files, tmp_path / "good.npy") == 1
    captured = capsys.readouterr()
    assert all(str(path) in captured.err for path in files)
    assert "near-duplicates" in captured.out
    with pytest.raises(UserError, match="give feature files"):
        audits.run([], None, None)


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """Returns a folder per genre: copies across genres, and one genre cut at 3 kHz."""
    folder = tmp_path_factory.mktemp("audit") / "music"
    for genre in range(2):
        for number in range(12):
            path = folder / f"genre {genre}" / f"artist {number // 2}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = piece(100 * genre + number, seconds=12)
            if genre:
                spectrum = np.fft.rfft(samples)
                spectrum[int(3000 / RATE_HZ * samples.size) :] = 0
                samples = np.fft.irfft(spectrum, samples.size)
            soundfile.write(path, samples, RATE_HZ)
    soundfile.write(
        folder / "genre 0" / "copy.wav", 0.2 * mp3(piece(103, seconds=12), "32k"), RATE_HZ
    )
    return folder


def test_a_dataset_with_planted_faults(music, tmp_path, monkeypatch, capsys):
    output = tmp_path / "audit.json"
    arguments = tiny.settings(music, "--config.frontend.n_mels=64", f"--output={output}")
    assert tiny.call(monkeypatch, "audit", *arguments) == 0
    (findings,) = json.loads(output.read_text()).values()
    found = {one["check"]: one for one in findings}
    assert found["near-duplicates"]["status"] == "warning"
    assert found["near-duplicates"]["details"]["groups"] == [
        ["genre 0/copy.wav", "genre 1/artist 1/3.wav"]
    ]
    assert found["bandwidth alone"]["status"] == "warning"
    assert found["silence alone"]["status"] == "ok"
    assert found["shared artists"]["status"] == "ok"
    printed = capsys.readouterr().out
    assert printed.index("warning") < printed.index("  ok  ")


def test_a_run_is_audited_with_its_ledger(trained, tones, tmp_path, monkeypatch):
    run, output = tmp_path / "run", tmp_path / "audit.json"
    shutil.copytree(trained, run)
    ledger = run / "consultations.jsonl"
    ledger.write_text(ledger.read_text().splitlines(True)[0])  # other tests evaluate this run too
    arguments = [f"--workdir={run}", f"--data_dir={tones}", f"--output={output}"]
    assert tiny.call(monkeypatch, "audit", *arguments) == 0
    (findings,) = json.loads(output.read_text()).values()
    consulted = finding([Finding(**one) for one in findings], "test part consulted")
    assert (consulted.status, consulted.text) == ("ok", "1 times, with 1 different weights")

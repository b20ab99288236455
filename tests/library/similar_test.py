"""Modes `embed` and `similar`: embeddings of songs, updates of an index, nearest songs."""

import csv
import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.inference import embed, infer, song_index
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.weights import checkpoint, weight_file


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Returns a folder of twelve songs, four per pitch, and a file that is not audio."""
    folder = tiny.compose(tmp_path / "library", clips_per_genre=4, seconds=2.0)
    (folder / "bad.mp3").write_text("no music")
    return folder


@pytest.fixture
def run_command(monkeypatch, capsys, trained, tmp_path):
    """Runs the command line in `tmp_path`; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, network: Path = trained) -> tuple[int, str, str]:
        capsys.readouterr()
        code = tiny.call(monkeypatch, f"--weights={network}", *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_embed_writes_mean_over_windows_per_song(run_command, library, trained, tmp_path):
    long_song = library / "long.flac"
    soundfile.write(long_song, tiny.tone(880, 9.0, 3), tiny.RATE_HZ)
    code, _, errors = run_command("--mode=embed", f"--files={library}", "--output=v.npz")
    assert code == 1
    assert "bad.mp3: is not audio" in errors
    index = song_index.read_index(tmp_path / "v.npz")
    assert len(index.songs) == 13
    weights = checkpoint.restore(trained)
    assert index.model == embed.model_digest(weights)
    (outputs,) = infer.infer_files(weights, [long_song], embed=True)
    assert outputs.embeddings is not None
    assert len(outputs.embeddings) > 1
    indexed = {song.path: song for song in index.songs}[long_song]
    np.testing.assert_allclose(
        indexed.vector, outputs.embeddings.mean(axis=0), rtol=1e-4, atol=1e-5
    )
    assert indexed.fingerprint == (long_song.stat().st_size, long_song.stat().st_mtime_ns)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:  # the documented format
        assert arrays["vectors"].shape == (13, indexed.vector.size)
        assert json.loads(arrays["paths"].tobytes())[0] == str(index.songs[0].path)


def names(table: str) -> list[str]:
    """Returns the names of the nearest songs, nearest first."""
    return [Path(line.split("  ")[-1]).name for line in table.splitlines() if line[0] == " "]


def test_nearest_songs_have_same_pitch_and_exclude_query(run_command, library, tmp_path):
    query = f"--query={library}/low/001.wav"
    command = ["--mode=similar", f"--library={library}", "--top_k=3"]
    code, table, _ = run_command(
        *command, query, f"--query={library}/high/000.wav", "--output=near.jsonl"
    )
    assert code == 1  # the bad file of the library
    lines = [json.loads(line) for line in (tmp_path / "near.jsonl").read_text().splitlines()]
    assert [line["rank"] for line in lines] == [1, 2, 3, 1, 2, 3]
    for line in lines:
        assert Path(line["path"]).parent == Path(line["query"]).parent
        assert line["path"] != line["query"]
    assert [line["cosine"] for line in lines[:3]] == sorted(
        (line["cosine"] for line in lines[:3]), reverse=True
    )
    assert names(table) == [Path(line["path"]).name for line in lines]
    assert not [path for path in library.rglob("*") if path.suffix == ".npz"]
    assert table.startswith(run_command(*command, query, "--output=near.csv")[1])
    with (tmp_path / "near.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [line["path"] for line in lines[:3]]
    assert [float(row["cosine"]) for row in rows] == [line["cosine"] for line in lines[:3]]


def test_query_outside_library_with_index_only(run_command, library, tmp_path):
    run_command(
        "--mode=embed", f"--files={library}/mid", f"--files={library}/low", "--output=v.npz"
    )
    outside = tmp_path / "outside.ogg"
    soundfile.write(outside, tiny.tone(880, 2.0, 77), tiny.RATE_HZ)
    code, table, _ = run_command(
        "--mode=similar", f"--query={outside}", "--index=v.npz", "--top_k=99"
    )
    assert code == 0
    nearest = [Path(line.split("  ")[-1]).parent.name for line in table.splitlines()[1:]]
    assert nearest == ["mid"] * 4 + ["low"] * 4


def test_index_is_updated_with_its_library(run_command, library, tmp_path):
    (library / "bad.mp3").unlink()
    update = ["--mode=embed", f"--files={library}", "--output=v.npz"]
    assert "0 songs kept, 0 dropped, 12 to process" in run_command(*update)[2]
    before = (tmp_path / "v.npz").read_bytes()
    assert "12 songs kept, 0 dropped, 0 to process" in run_command(*update)[2]
    assert (tmp_path / "v.npz").read_bytes() == before
    soundfile.write(library / "new.flac", tiny.tone(880, 2.0, 5), tiny.RATE_HZ)
    soundfile.write(library / "low" / "000.wav", tiny.tone(5000, 2.5, 5), tiny.RATE_HZ)
    os.utime(library / "low" / "001.wav", ns=(1, 1))
    (library / "low" / "002.wav").unlink()
    assert "9 songs kept, 3 dropped, 3 to process" in run_command(*update)[2]
    indexed = {song.path for song in song_index.read_index(tmp_path / "v.npz").songs}
    assert len(indexed) == 12
    assert library / "low" / "002.wav" not in indexed
    command = ["--mode=similar", "--index=v.npz", f"--query={library}/low/000.wav", "--top_k=4"]
    table = run_command(*command)[1]
    assert all("/high/" in line for line in table.splitlines()[1:])  # its new pitch


def test_index_of_other_weights_is_rejected(run_command, library, trained, tmp_path):
    run_command("--mode=embed", f"--files={library}/mid", "--output=v.npz")
    weights = checkpoint.restore(trained)
    params = dict(weights.variables["params"])
    params["logits"] = {name: leaf + 1e-3 for name, leaf in params["logits"].items()}
    other = dataclasses.replace(weights, variables=weights.variables | {"params": params})
    weight_file.write(tmp_path / "other.safetensors", other, dtype="float32")
    before = (tmp_path / "v.npz").read_bytes()
    for call in (
        ["--mode=embed", f"--files={library}/mid", "--output=v.npz"],
        ["--mode=similar", f"--query={library}/mid/000.wav", "--index=v.npz"],
    ):
        code, output, errors = run_command(*call, network=tmp_path / "other.safetensors")
        assert code == 1
        assert output == ""
        assert "v.npz: was made with other weights" in errors.splitlines()[-1]
    assert (tmp_path / "v.npz").read_bytes() == before


class KilledError(Exception):
    """Simulates a kill: no code after it runs."""


@pytest.mark.parametrize("end", ["SIGTERM", "kill"])
def test_interrupted_embed_keeps_finished_songs(run_command, library, monkeypatch, end):
    (library / "bad.mp3").unlink()
    monkeypatch.setattr(embed, "SAVE_EVERY_SECONDS", 0.0 if end == "kill" else 1e9)

    def interrupted_infer_files(weights, todo, **options):
        for number, outputs in enumerate(infer.infer_files(weights, todo, **options)):
            if number == 5 and end == "kill":
                raise KilledError
            if number == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield outputs

    update = ["--mode=embed", f"--files={library}", "--output=v.npz"]
    with monkeypatch.context() as patch:
        patch.setattr(embed, "infer_files", interrupted_infer_files)
        if end == "kill":
            with pytest.raises(KilledError):
                run_command(*update)
        else:
            code, _, errors = run_command(*update)
            assert code == 130
            assert "stopped with 6 of 12 songs" in errors.splitlines()[-1]
    kept = 5 if end == "kill" else 6
    assert len(song_index.read_index(Path("v.npz")).songs) == kept
    code, _, errors = run_command(*update)
    assert code == 0
    assert f"{kept} songs kept, 0 dropped, {12 - kept} to process" in errors
    assert len(song_index.read_index(Path("v.npz")).songs) == 12


def test_index_round_trip_and_damaged_files(run_command, tmp_path):
    paths = [Path("/m/星 \udcff\n.mp3"), Path("/m/" + "x" * 300)]
    songs = tuple(Song(path, (1, 2**62), np.arange(3, dtype=np.float32)) for path in paths)
    song_index.write_index(tmp_path / "v.npz", SongIndex("model", songs, b"search"))
    index = song_index.read_index(tmp_path / "v.npz")
    assert [song.path for song in index.songs] == paths
    assert index.songs[0].fingerprint == (1, 2**62)
    assert (index.model, index.search) == ("model", b"search")
    content = bytearray((tmp_path / "v.npz").read_bytes())
    soundfile.write(tmp_path / "x.wav", tiny.tone(110, 2.0, 1), tiny.RATE_HZ)
    content[len(content) // 2] ^= 255
    for damaged in (bytes(content), bytes(content[:300]), b"", b"text"):
        (tmp_path / "v.npz").write_bytes(damaged)
        code, _, errors = run_command("--mode=similar", "--query=x.wav", "--index=v.npz")
        assert code == 1
        assert "v.npz: is not a song index, or is damaged" in errors.splitlines()[-1]


def test_approximate_search_is_stored_in_index(run_command, library, tmp_path, monkeypatch):
    monkeypatch.setattr(song_index, "EXACT_SONGS", 10)
    monkeypatch.setattr(song_index, "RECALL_SONGS", 12)
    command = ["--mode=similar", f"--library={library}", "--index=v.npz", "--top_k=3"]
    command.append(f"--query={library}/low/001.wav")
    code, table, errors = run_command(*command)
    assert code == 1  # the bad file, which is retried each time
    assert "12 songs, approximate search: " in errors
    assert "of the 10 nearest are found" in errors
    search = song_index.read_index(tmp_path / "v.npz").search
    assert search
    built = []
    monkeypatch.setattr(song_index, "build_search", built.append)
    assert run_command(*command)[1] == table
    assert not built
    assert song_index.read_index(tmp_path / "v.npz").search == search


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=similar", "--library=."], "--query: give songs"),
        (["--mode=similar", "--query=x.wav"], "--library: give the songs"),
        (["--mode=similar", "--query=x.wav", "--index=v.npz"], "v.npz: does not exist"),
        (["--mode=similar", "--query=x.wav", "--library=.", "--top_k=0"], "--top_k: must be 1"),
        (["--mode=similar", "--query=x.wav", "--library=.", "--output=x.txt"], "'.txt' is unknown"),
        (["--mode=similar", "--query=x.wav", "--library=no"], "'no' does not exist"),
        (["--mode=similar", "x.wav"], "--library: give the songs"),
        (["--mode=embed", "--files=x.wav"], "--output: give"),
        (["--mode=embed", "--output=v.npz"], "--files: give"),
    ],
)
def test_user_errors_are_one_line(run_command, tmp_path, arguments, message):
    soundfile.write(tmp_path / "x.wav", tiny.tone(110, 2.0, 1), tiny.RATE_HZ)
    code, _, errors = run_command(*arguments)
    assert code == 1
    assert message in errors.splitlines()[-1]

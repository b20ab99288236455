"""Modes `embed` and `similar`: embeddings of songs, updates of an index, nearest songs."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.inference import embed, infer, song_index, song_search
from deepgenre.inference.song_index import Song, SongIndex
from deepgenre.library import similar
from deepgenre.weights import checkpoint, weight_file
from deepgenre.weights.digest import model_digest


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
    assert index.model == model_digest(weights)
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
    command = ["--mode=similar", f"--library={library}", "--top_k=3", "--copies"]
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
        "--mode=similar", outside, "--index=v.npz", "--top_k=99", "--copies"
    )
    assert code == 0
    nearest = [Path(line.split("  ")[-1]).parent.name for line in table.splitlines()[1:]]
    assert nearest == ["mid"] * 4 + ["low"] * 4


def test_embed_adds_and_updates_and_removes_only_with_prune(run_command, library, tmp_path):
    (library / "bad.mp3").unlink()
    update = ["--mode=embed", f"--files={library}", "--output=v.npz"]
    assert "0 of 12 files unchanged, 12 to process; 0 other songs kept" in run_command(*update)[2]
    before = (tmp_path / "v.npz").read_bytes()
    assert "12 of 12 files unchanged, 0 to process; 0 other" in run_command(*update)[2]
    assert (tmp_path / "v.npz").read_bytes() == before
    soundfile.write(library / "new.flac", tiny.tone(880, 2.0, 5), tiny.RATE_HZ)
    soundfile.write(library / "low" / "000.wav", tiny.tone(5000, 2.5, 5), tiny.RATE_HZ)
    os.utime(library / "low" / "001.wav", ns=(1, 1))
    (library / "low" / "002.wav").unlink()
    assert "9 of 12 files unchanged, 3 to process; 1 other songs kept" in run_command(*update)[2]
    gone = library / "low" / "002.wav"
    assert len(indexed(tmp_path / "v.npz")) == 13
    assert gone in indexed(tmp_path / "v.npz")
    command = ["--mode=similar", "--index=v.npz", f"--query={library}/low/000.wav", "--top_k=4"]
    table = run_command(*command, "--copies")[1]
    assert all("/high/" in line for line in table.splitlines()[1:])  # its new pitch
    errors = run_command(*update, "--prune")[2]
    assert "12 of 12 files unchanged, 0 to process; 1 other songs removed" in errors
    assert len(indexed(tmp_path / "v.npz")) == 12
    assert gone not in indexed(tmp_path / "v.npz")


def indexed(path: Path) -> list[Path]:
    """Returns the paths of the songs in an index."""
    return [song.path for song in song_index.read_index(path).songs]


def test_library_of_one_folder_is_searched_alone_and_keeps_the_rest(run_command, library, tmp_path):
    run_command("--mode=embed", library, "--output=v.npz")
    command = ["--mode=similar", f"{library}/low/000.wav", "--index=v.npz", "--top_k=99"]
    code, table, errors = run_command(*command, f"--library={library}/mid", "--copies")
    assert code == 0
    assert "4 of 4 files unchanged, 0 to process; 8 other songs kept" in errors
    assert {Path(line.split("  ")[-1]).parent.name for line in table.splitlines()[1:]} == {"mid"}
    assert len(indexed(tmp_path / "v.npz")) == 12
    soundfile.write(tmp_path / "new.wav", tiny.tone(880, 2.0, 5), tiny.RATE_HZ)
    table = run_command(*command, f"--library={tmp_path}/new.wav", "--copies")[1]
    assert names(table) == ["new.wav"]
    assert len(indexed(tmp_path / "v.npz")) == 13
    run_command(*command, f"--library={library}/mid", "--prune")
    assert {path.parent.name for path in indexed(tmp_path / "v.npz")} == {"mid"}


def test_gone_songs_are_left_out_and_changed_ones_marked(run_command, library, tmp_path):
    run_command("--mode=embed", library, "--output=v.npz")
    for number in (1, 2):
        (library / "low" / f"00{number}.wav").unlink()
    os.utime(library / "low" / "003.wav", ns=(1, 1))
    command = ["--mode=similar", f"{library}/low/000.wav", "--index=v.npz", "--copies"]
    code, table, errors = run_command(*command, "--top_k=99", "--output=near.jsonl")
    assert code == 0
    assert len(names(table)) == 9
    assert "left out 2 songs whose files are gone" in errors
    marked = [line for line in table.splitlines() if "(changed since it was indexed)" in line]
    assert len(marked) == 1
    assert "003.wav" in marked[0]
    lines = [json.loads(line) for line in (tmp_path / "near.jsonl").read_text().splitlines()]
    assert [Path(line["path"]).name for line in lines if line["changed"]] == ["003.wav"]
    assert [line["rank"] for line in lines] == [*range(1, 10)]
    run_command(*command, "--output=near.csv")
    with (tmp_path / "near.csv").open(newline="") as stream:
        assert [row["changed"] for row in csv.DictReader(stream)].count("changed") == 1


def test_one_song_under_several_paths_is_one_song(run_command, library, tmp_path):
    (library / "bad.mp3").unlink()
    (tmp_path / "link").symlink_to(library)
    (library / "same.wav").symlink_to(library / "low" / "000.wav")
    run_command("--mode=embed", "library/low", "--output=v.npz")
    before = (tmp_path / "v.npz").read_bytes()
    for folder in ("link/low", "library/mid/../low", library / "low"):
        errors = run_command("--mode=embed", folder, "--output=v.npz")[2]
        assert "4 of 4 files unchanged, 0 to process; 0 other songs" in errors
    assert (tmp_path / "v.npz").read_bytes() == before
    for query in ("link/low/000.wav", "library/same.wav", library / "low" / "000.wav"):
        table = run_command("--mode=similar", query, "--index=v.npz", "--copies")[1]
        assert sorted(names(table)) == ["001.wav", "002.wav", "003.wav"]
    (tmp_path / "linked.npz").symlink_to("v.npz")
    run_command("--mode=embed", library, "--output=linked.npz")
    assert (tmp_path / "linked.npz").is_symlink()
    assert len(indexed(tmp_path / "v.npz")) == 12


def test_copies_of_the_query_are_left_out_and_named(run_command, library, monkeypatch):
    monkeypatch.setattr(similar, "COPY_COSINE", 0.999999)  # the tones are nearly the same to it
    samples, rate_hz = soundfile.read(library / "low" / "000.wav", dtype="int16")
    soundfile.write(library / "copy.flac", samples, rate_hz)
    with soundfile.SoundFile(library / "tags.flac", "w", rate_hz, 1) as file:
        file.title = "Other tags"
        file.write(samples)
    shutil.copy(library / "low" / "000.wav", library / "copy.wav")
    command = ["--mode=similar", f"{library}/low/000.wav", f"--library={library}", "--top_k=3"]
    _, table, errors = run_command(*command)
    assert sorted(names(table)) == ["001.wav", "002.wav", "003.wav"]
    line = next(line for line in errors.splitlines() if "left out" in line)
    assert "000.wav: left out 3 copies" in line
    assert all(name in line for name in ("copy.flac", "tags.flac", "copy.wav", "--copies"))
    table = run_command(*command, "--copies")[1]
    assert sorted(names(table)) == ["copy.flac", "copy.wav", "tags.flac"]


def test_playlist_lists_each_similar_song_once(run_command, library, tmp_path):
    (library / "mid" / "000.wav").rename(library / "mid" / "line\nbreak.wav")
    queries = [library / "low" / "000.wav", library / "low" / "001.wav"]
    command = ["--mode=similar", *queries, f"--library={library}/low", "--index=v.npz", "--copies"]
    code, _, _ = run_command(*command, "--output=lists/near.m3u8")
    assert code == 0
    lines = (tmp_path / "lists" / "near.m3u8").read_text().splitlines()
    assert lines[:2] == ["#EXTM3U", "#PLAYLIST:Similar to 000, 001"]
    songs = [line for line in lines if line[0] != "#"]
    assert sorted(songs) == [f"../library/low/00{number}.wav" for number in range(4)]
    assert lines[2] == f"#EXTINF:-1,{Path(songs[0]).stem}"
    code, table, errors = run_command(
        *command, f"--library={library}/mid", "--output=lists/near.m3u8"
    )
    assert code == 1
    assert "line\\nbreak.wav': its name contains a line break" in errors
    assert len(names(table)) == 2 * (3 + 3)


def test_second_process_that_updates_an_index_is_refused(run_command, library, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(tmp_path / "v.npz")],
        stdout=subprocess.PIPE, env=tiny.environment() | {"PYTHONPATH": str(tiny.ROOT)},
    )  # fmt: skip
    try:
        assert holder.stdout
        holder.stdout.readline()
        for command in (
            ["--mode=embed", library / "low", "--output=v.npz"],
            [
                "--mode=similar",
                library / "low" / "000.wav",
                f"--library={library}/low",
                "--index=v.npz",
            ],
        ):
            code, _, errors = run_command(*command)
            assert code == 1
            assert errors.splitlines()[-1].endswith(
                f"v.npz: is being updated by process {holder.pid} on {socket.gethostname()}; "
                "wait until it ends"
            )
    finally:
        holder.kill()
        holder.communicate()
    assert run_command("--mode=embed", library / "low", "--output=v.npz")[0] == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".v.npz")]


HOLD_LOCK = """
import sys, time
from pathlib import Path
from deepgenre import files
with files.updating(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


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
    assert f"{kept} of 12 files unchanged, {12 - kept} to process" in errors
    assert len(song_index.read_index(Path("v.npz")).songs) == 12


def test_index_with_embeddings_of_other_length_is_refused(run_command, library, trained):
    digest = model_digest(checkpoint.restore(trained))
    song = Song(library / "none.wav", (1, 1), np.ones(3, np.float32))
    song_index.write_index(Path("v.npz"), SongIndex(digest, (song,)))
    before = Path("v.npz").read_bytes()
    for command in (
        ["--mode=embed", library / "low", "--output=v.npz"],
        ["--mode=similar", library / "low" / "000.wav", "--index=v.npz"],
    ):
        code, _, errors = run_command(*command)
        assert code == 1
        assert "v.npz: is damaged (embeddings of 3 numbers" in errors.splitlines()[-1]
    assert Path("v.npz").read_bytes() == before


def test_embedding_that_is_not_finite_fails_its_file_only(run_command, library, monkeypatch):
    def infer_files(weights, todo, **options):
        for outputs in infer.infer_files(weights, todo, **options):
            if outputs.path.name == "001.wav" and outputs.embeddings is not None:
                outputs.embeddings[0, 0] = np.inf
            yield outputs

    monkeypatch.setattr(embed, "infer_files", infer_files)
    code, _, errors = run_command("--mode=embed", library / "low", "--output=v.npz")
    assert code == 1
    assert "001.wav: its embedding contains NaN or infinity" in errors
    assert len(indexed(Path("v.npz"))) == 3


def test_approximate_search_is_stored_in_index(run_command, library, tmp_path, monkeypatch):
    monkeypatch.setattr(song_search, "EXACT_SONGS", 10)
    monkeypatch.setattr(song_search, "RECALL_SONGS", 12)
    command = ["--mode=similar", f"--library={library}", "--index=v.npz", "--top_k=3", "--copies"]
    command.append(f"--query={library}/low/001.wav")
    code, table, errors = run_command(*command)
    assert code == 1  # the bad file, which is retried each time
    assert "12 songs, approximate search: " in errors
    assert "of the 10 nearest are found" in errors
    assert song_index.read_index(tmp_path / "v.npz").cells
    built = []
    monkeypatch.setattr(song_search, "find_cells", built.append)
    assert run_command(*command)[1] == table
    assert not built


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
        (["--mode=similar", "x.wav", "--index=v.npz", "--prune"], "--prune: needs --library"),
        (["--mode=embed", "--files=x.wav"], "--output: give"),
        (["--mode=embed", "--output=v.npz"], "--files: give"),
    ],
)
def test_user_errors_are_one_line(run_command, tmp_path, arguments, message):
    soundfile.write(tmp_path / "x.wav", tiny.tone(110, 2.0, 1), tiny.RATE_HZ)
    code, _, errors = run_command(*arguments)
    assert code == 1
    assert message in errors.splitlines()[-1]

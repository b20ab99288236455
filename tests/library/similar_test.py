"""Vectors of songs, an index that follows a library, and the songs that are found in it."""

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
from deepgenre.inference.song_index import Song, Vectors
from deepgenre.weights import checkpoint, weight_file


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Twelve songs, four a pitch, and a bad file."""
    folder = tiny.compose(tmp_path / "library", clips_per_genre=4, seconds=2.0)
    (folder / "bad.mp3").write_text("no music")
    return folder


@pytest.fixture
def say(monkeypatch, capsys, trained, tmp_path):
    """Runs the command in the test's folder; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, network: Path = trained) -> tuple[int, str, str]:
        capsys.readouterr()
        code = tiny.call(monkeypatch, f"--weights={network}", *arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_embed_writes_the_mean_over_windows_of_every_song(say, library, trained, tmp_path):
    long_song = library / "long.flac"
    soundfile.write(long_song, tiny.tone(880, 9.0, 3), tiny.RATE_HZ)
    code, _, errors = say("--mode=embed", f"--files={library}", "--output=v.npz")
    assert code == 1
    assert "bad.mp3: is not audio" in errors
    found = song_index.read(tmp_path / "v.npz")
    assert len(found.songs) == 13
    weights = checkpoint.restore(trained)
    assert found.model == embed.identity(weights)
    (heard,) = infer.infer_files(weights, [long_song], embed=True)
    assert heard.embeddings is not None
    assert len(heard.embeddings) > 1
    held = {song.path: song for song in found.songs}[long_song]
    np.testing.assert_allclose(held.vector, heard.embeddings.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert held.fingerprint == (long_song.stat().st_size, long_song.stat().st_mtime_ns)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:  # as others read it
        assert arrays["vectors"].shape == (13, held.vector.size)
        assert json.loads(arrays["paths"].tobytes())[0] == str(found.songs[0].path)


def names(table: str) -> list[str]:
    """Returns the found songs' names, nearest first."""
    return [Path(line.split("  ")[-1]).name for line in table.splitlines() if line[0] == " "]


def test_the_nearest_songs_are_of_the_same_pitch_and_not_the_song_itself(say, library, tmp_path):
    query = f"--query={library}/low/001.wav"
    ask = ["--mode=similar", f"--library={library}", "--top_k=3"]
    code, table, _ = say(*ask, query, f"--query={library}/high/000.wav", "--output=near.jsonl")
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
    assert table.startswith(say(*ask, query, "--output=near.csv")[1])
    with (tmp_path / "near.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [line["path"] for line in lines[:3]]
    assert [float(row["cosine"]) for row in rows] == [line["cosine"] for line in lines[:3]]


def test_a_song_from_outside_finds_its_like_in_an_index_alone(say, library, tmp_path):
    say("--mode=embed", f"--files={library}/mid", f"--files={library}/low", "--output=v.npz")
    outside = tmp_path / "outside.ogg"
    soundfile.write(outside, tiny.tone(880, 2.0, 77), tiny.RATE_HZ)
    code, table, _ = say("--mode=similar", f"--query={outside}", "--index=v.npz", "--top_k=99")
    assert code == 0
    found = [Path(line.split("  ")[-1]).parent.name for line in table.splitlines()[1:]]
    assert found == ["mid"] * 4 + ["low"] * 4


def test_an_index_follows_its_library(say, library, tmp_path):
    (library / "bad.mp3").unlink()
    update = ["--mode=embed", f"--files={library}", "--output=v.npz"]
    assert "0 songs kept, 0 dropped, 12 to hear" in say(*update)[2]
    before = (tmp_path / "v.npz").read_bytes()
    assert "12 songs kept, 0 dropped, 0 to hear" in say(*update)[2]
    assert (tmp_path / "v.npz").read_bytes() == before
    soundfile.write(library / "new.flac", tiny.tone(880, 2.0, 5), tiny.RATE_HZ)
    soundfile.write(library / "low" / "000.wav", tiny.tone(5000, 2.5, 5), tiny.RATE_HZ)
    os.utime(library / "low" / "001.wav", ns=(1, 1))
    (library / "low" / "002.wav").unlink()
    assert "9 songs kept, 3 dropped, 3 to hear" in say(*update)[2]
    found = {song.path: song for song in song_index.read(tmp_path / "v.npz").songs}
    assert len(found) == 12
    assert library / "low" / "002.wav" not in found
    ask = ["--mode=similar", "--index=v.npz", f"--query={library}/low/000.wav", "--top_k=4"]
    table = say(*ask)[1]
    assert all("/high/" in line for line in table.splitlines()[1:])  # it sounds like these now


def test_an_index_of_other_weights_is_refused_in_one_line(say, library, trained, tmp_path):
    say("--mode=embed", f"--files={library}/mid", "--output=v.npz")
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
        code, said, errors = say(*call, network=tmp_path / "other.safetensors")
        assert code == 1
        assert said == ""
        assert "v.npz: was made with other weights" in errors.splitlines()[-1]
    assert (tmp_path / "v.npz").read_bytes() == before


class KilledError(Exception):
    """In the place of a kill: nothing after it runs."""


@pytest.mark.parametrize("end", ["SIGTERM", "kill"])
def test_an_indexing_that_ends_early_keeps_what_was_heard(say, library, monkeypatch, end):
    (library / "bad.mp3").unlink()
    monkeypatch.setattr(embed, "SAVE_EVERY_SECONDS", 0.0 if end == "kill" else 1e9)

    def cut(weights, todo, **options):
        for number, heard in enumerate(infer.infer_files(weights, todo, **options)):
            if number == 5 and end == "kill":
                raise KilledError
            if number == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield heard

    update = ["--mode=embed", f"--files={library}", "--output=v.npz"]
    with monkeypatch.context() as patch:
        patch.setattr(embed, "infer_files", cut)
        if end == "kill":
            with pytest.raises(KilledError):
                say(*update)
        else:
            code, _, errors = say(*update)
            assert code == 130
            assert "stopped with 6 of 12 songs" in errors.splitlines()[-1]
    kept = 5 if end == "kill" else 6
    assert len(song_index.read(Path("v.npz")).songs) == kept
    code, _, errors = say(*update)
    assert code == 0
    assert f"{kept} songs kept, 0 dropped, {12 - kept} to hear" in errors
    assert len(song_index.read(Path("v.npz")).songs) == 12


def test_any_path_comes_back_and_damage_is_one_line(say, tmp_path):
    odd = [Path("/m/星 \udcff\n.mp3"), Path("/m/" + "x" * 300)]
    songs = tuple(Song(path, (1, 2**62), np.arange(3, dtype=np.float32)) for path in odd)
    song_index.write(tmp_path / "v.npz", Vectors("model", songs, b"search"))
    found = song_index.read(tmp_path / "v.npz")
    assert [song.path for song in found.songs] == odd
    assert found.songs[0].fingerprint == (1, 2**62)
    assert (found.model, found.search) == ("model", b"search")
    content = bytearray((tmp_path / "v.npz").read_bytes())
    soundfile.write(tmp_path / "x.wav", tiny.tone(110, 2.0, 1), tiny.RATE_HZ)
    content[len(content) // 2] ^= 255
    for damaged in (bytes(content), bytes(content[:300]), b"", b"text"):
        (tmp_path / "v.npz").write_bytes(damaged)
        code, _, errors = say("--mode=similar", "--query=x.wav", "--index=v.npz")
        assert code == 1
        assert "v.npz: is no index of songs, or damaged" in errors.splitlines()[-1]


def test_beyond_exact_the_search_is_kept_in_the_index(say, library, tmp_path, monkeypatch):
    monkeypatch.setattr(song_index, "EXACT_SONGS", 10)
    monkeypatch.setattr(song_index, "RECALL_SONGS", 12)
    ask = ["--mode=similar", f"--library={library}", "--index=v.npz", "--top_k=3"]
    ask.append(f"--query={library}/low/001.wav")
    code, table, errors = say(*ask)
    assert code == 1  # the bad file, which is tried again each time
    assert "12 songs, searched in part: " in errors
    assert "of the 10 nearest are found" in errors
    kept = song_index.read(tmp_path / "v.npz").search
    assert kept
    built = []
    monkeypatch.setattr(song_index, "build", built.append)
    assert say(*ask)[1] == table
    assert not built
    assert song_index.read(tmp_path / "v.npz").search == kept


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--mode=similar", "--library=."], "--query: give songs"),
        (["--mode=similar", "--query=x.wav"], "--library: give the songs"),
        (["--mode=similar", "--query=x.wav", "--index=v.npz"], "v.npz: does not exist"),
        (["--mode=similar", "--query=x.wav", "--library=.", "--top_k=0"], "--top_k: must be 1"),
        (["--mode=similar", "--query=x.wav", "--library=.", "--output=x.txt"], "'.txt' is unknown"),
        (["--mode=similar", "--query=x.wav", "--library=no"], "'no' does not exist"),
        (["--mode=similar", "x.wav"], "takes no files"),
        (["--mode=embed", "--files=x.wav"], "--output: give"),
        (["--mode=embed", "--output=v.npz"], "--files: give"),
    ],
)
def test_mistakes_are_one_line(say, tmp_path, arguments, wanted):
    soundfile.write(tmp_path / "x.wav", tiny.tone(110, 2.0, 1), tiny.RATE_HZ)
    code, _, errors = say(*arguments)
    assert code == 1
    assert wanted in errors.splitlines()[-1]

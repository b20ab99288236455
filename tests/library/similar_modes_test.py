"""Mode `similar` by several terms, with a gap, as a path, and as a comparison; shared songs."""

import itertools
import json
from pathlib import Path

import pytest
import soundfile
import tiny

from deepgenre.inference import shared_songs, song_index
from deepgenre.library import file_tags


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """Returns a folder of twelve songs, four per pitch, of two artists, with clicks at a tempo."""
    folder = tiny.compose(
        tmp_path_factory.mktemp("similar") / "library", clips_per_genre=4, seconds=8
    )
    for number, path in enumerate(sorted(folder.rglob("*.wav"))):
        samples, rate_hz = soundfile.read(path)
        samples[:: round(60 / (80 + 40 * (number % 2)) * rate_hz)] += 0.6
        soundfile.write(path, samples * (0.5 if number % 2 else 1.0), rate_hz)
        file_tags.write(path, {"artist": (f"Artist {number % 2}",)})
    return folder


@pytest.fixture
def run_command(monkeypatch, capsys, trained, tmp_path):
    """Runs the command line in `tmp_path`; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = tiny.call(monkeypatch, f"--weights={trained}", *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def names(table: str) -> list[str]:
    """Returns the names of the listed songs, with their folders."""
    lines = [line for line in table.splitlines() if line[0] == " "]
    return ["/".join(Path(line.split("  ")[-1]).parts[-2:]) for line in lines]


def test_index_is_refreshed_for_terms_that_it_lacks(run_command, library, tmp_path):
    run_command("--mode=embed", library, "--output=v.npz")
    old = (tmp_path / "v.npz").read_bytes()
    query = ["--mode=similar", library / "low/000.wav", "--index=v.npz", "--copies", "--top_k=3"]
    code, _, errors = run_command(*query, "--similarity=loudness:1,tags:1")
    assert code == 1
    assert errors.splitlines()[-1] == (
        "deepgenre: v.npz: has no loudness and tags of 12 of 12 songs; refresh it with: deepgenre "
        "embed FOLDERS --output=v.npz --describe=loudness,tags"
    )
    assert (tmp_path / "v.npz").read_bytes() == old
    describe = "--describe=loudness,tags"
    run_command("--mode=embed", library / "low", "--output=v.npz", describe)
    errors = run_command(*query, "--similarity=loudness:1")[2]
    assert "has no loudness of 8 of 12 songs" in errors
    errors = run_command("--mode=embed", library, "--output=v.npz", describe)[2]
    assert "4 of 12 files unchanged, 8 to process" in errors
    code, table, _ = run_command(*query, "--similarity=loudness:1", "--output=n.jsonl")
    assert code == 0
    assert names(table)[0] == "low/002.wav"  # the only other with its pitch and amplitude
    lines = [json.loads(line) for line in (tmp_path / "n.jsonl").read_text().splitlines()]
    assert all(line["similarity"] > 0.9 for line in lines)
    errors = run_command("--mode=embed", library, "--output=v.npz")[2]
    assert "12 of 12 files unchanged" in errors
    song = song_index.read_index(tmp_path / "v.npz").songs[0]
    assert song.details.computed == {"loudness", "tags"}


def test_library_gets_what_the_terms_need(run_command, library):
    command = ["--mode=similar", library / "low/000.wav", f"--library={library}/low", "--copies"]
    code, table, errors = run_command(*command, "--similarity=embedding:1,loudness:1")
    assert code == 0
    assert "4 to process" in errors
    assert names(table)[0] == "low/002.wav"
    errors = run_command(*command, "--similarity=embedding:1")[2]
    assert "4 of 4 files unchanged" in errors


def test_gap_and_exclusions(run_command, library, tmp_path):
    run_command("--mode=embed", library, "--output=v.npz")
    query = ["--mode=similar", library / "low/000.wav", "--index=v.npz", "--copies", "--top_k=8"]
    table = run_command(*query, "--artist_gap=1", "--output=n.m3u8")[1]
    parities = [int(Path(name).stem) % 2 for name in names(table)]
    assert len(parities) == 8
    assert all(a != b for a, b in itertools.pairwise(parities))
    listed = (tmp_path / "n.m3u8").read_text().splitlines()
    assert [line for line in listed if line[0] != "#"]
    errors = run_command(*query, "--artist_gap=3")[2]
    assert "000.wav: only 2 of 11 songs fit --artist_gap" in errors
    errors = run_command(*query, "--artist_gap=1", "--exclude=*", "--copies")[2]
    assert "fit --artist_gap" not in errors  # nothing is left out because of it
    (tmp_path / "no.txt").write_text(str(library / "low/001.wav"))
    command = [*query, "--exclude=no.txt", f"--exclude={library}/high", "--exclude=*/MID/*3.wav"]
    code, table, errors = run_command(*command)
    assert code == 0
    assert "--exclude: 6 of 12 songs" in errors
    assert sorted(names(table)) == ["low/002.wav", "low/003.wav"] + [
        f"mid/00{n}.wav" for n in range(3)
    ]


def test_path_between_two_songs(run_command, library, tmp_path):
    run_command("--mode=embed", library, "--output=v.npz")
    command = ["--mode=similar", library / "low/000.wav", "--index=v.npz", "--copies"]
    target = f"--path_to={library}/high/003.wav"
    code, table, _ = run_command(*command, target, "--top_k=6", "--output=p.m3u8")
    assert code == 0
    found = names(table)
    assert (found[0], found[-1], len({*found})) == ("low/000.wav", "high/003.wav", 6)
    lines = (tmp_path / "p.m3u8").read_text().splitlines()
    assert lines[1] == "#PLAYLIST:From 000 to 003"
    assert [line.split("library/")[1] for line in lines if line[0] != "#"] == found
    code, _, errors = run_command(*command, target, "--top_k=13")
    assert code == 1
    assert "--path_to: only 10 songs are left for 11 places" in errors
    code, _, errors = run_command(*command, "--path_to=missing.wav")
    assert code == 1
    assert "'missing.wav' does not exist" in errors


def test_comparison_of_two_songs(run_command, library, tmp_path):
    songs = [library / "low/000.wav", library / "low/001.wav"]
    command = ["--mode=similar", songs[0], f"--explain={songs[1]}"]
    code, text, _ = run_command(*command, "--similarity=tempo:1,loudness:1", "--output=e.jsonl")
    assert code == 0
    (found,) = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert found["loudness"].endswith(" LU quieter")
    assert found["loudness"] in text
    terms = found["terms"]
    assert found["similarity"] == pytest.approx((terms["tempo"] + terms["loudness"]) / 2)
    assert found["rank"] is None
    run_command("--mode=embed", library, "--output=v.npz")
    text = run_command(*command, "--index=v.npz")[1]
    assert " of 11 songs" in text.splitlines()[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--similarity=tempo"], "--similarity: 'tempo' needs a weight"),
        (["--artist_gap=-1"], "--artist_gap: must be 0 or more, is -1"),
        (["--path_to=a.wav"], "--path_to: is the other song itself"),
        (["--explain=a.wav"], "--explain: is the other song itself"),
        (["--explain=b.wav", "--path_to=b.wav"], "--path_to: is not used with --explain"),
        (["--path_to=b.wav", "--top_k=2"], "--top_k: must be 3 or more with --path_to"),
        (["c.wav", "--path_to=b.wav"], "--path_to: needs one other song, 2 are given"),
        (["--explain=b.wav", "--output=e.csv"], "--output suffix: '.csv' is unknown"),
        (["--index=s.parquet", "--library=b.wav"], "--library: is not added to s.parquet"),
        (["--index=s.parquet", "--output=n.m3u8"], "a playlist contains files"),
        (["--index=s.parquet", "--artist_gap=1"], "artists are read from files"),
        (["--index=s.parquet"], "s.parquet: does not exist"),
    ],
)
def test_wrong_options_are_one_line(run_command, library, tmp_path, flags, message):
    for name in "abc":
        (tmp_path / f"{name}.wav").write_bytes((library / "low/000.wav").read_bytes())
    code, output, errors = run_command("--mode=similar", "a.wav", *flags)
    assert (code, output) == (1, "")
    assert message in errors.splitlines()[-1]


def test_shared_songs_are_written_searched_and_compared(
    run_command, library, tmp_path, monkeypatch
):
    command = ["--mode=embed", library / "low", library / "mid", "--output=s.parquet"]
    code, _, errors = run_command(*command, "--describe=fingerprint")
    assert code == 0
    assert "wrote s.npz" in errors
    assert str(library).encode() not in (tmp_path / "s.parquet").read_bytes()
    shared = shared_songs.read(tmp_path / "s.parquet")
    index = song_index.read_index(tmp_path / "s.npz")
    assert {song.vector.tobytes() for song in shared.songs} == {
        song.vector.tobytes() for song in index.songs
    }
    assert all(song.details.scores is not None for song in shared.songs)
    run_command(*command[:2], "--index=s.npz", "--output=low.parquet", "--paths=names")
    assert len(shared_songs.read(tmp_path / "low.parquet").songs) == 4
    code, table, _ = run_command(
        "--mode=similar", library / "low/000.wav", "--index=s.parquet", "--copies", "--top_k=9"
    )
    assert code == 0
    assert len(names(table)) == 8
    assert table.splitlines()[1].startswith("  1.000  s.parquet#")
    run_command("--mode=embed", library, "--output=v.npz", "--describe=fingerprint")
    with monkeypatch.context() as patch:
        assert tiny.call(patch, "--mode=overlap", "v.npz", "s.parquet", "--output=o.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    both = {row["second"] for row in rows if row["kind"] == "both"}
    assert both == {str(song.path) for song in shared.songs}
    code, _, errors = run_command("--mode=embed", "--index=v.npz", "--output=v.parquet")
    assert code == 1
    assert "v.npz: has no tags of 12 of 12 songs; refresh it with" in errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output=v.npz", "--describe=tempi"], "--describe: 'tempi' is unknown"),
        (["--output=v.npz", "--paths=full"], "--paths: is for an --output that ends in .parquet"),
        (["--output=v.npz", "--index=w.npz"], "--index: is for an --output that ends in .parquet"),
        (["--output=v.csv"], "--output: give the name of the file to write, ending in .npz or"),
    ],
)
def test_wrong_options_of_embed_are_one_line(run_command, library, flags, message):
    code, output, errors = run_command("--mode=embed", library, *flags)
    assert (code, output) == (1, "")
    assert message in errors.splitlines()[-1]

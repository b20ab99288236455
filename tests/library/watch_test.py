"""Mode `watch` as a process of its own: files that come, grow, fail, move and go; restarts."""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import tiny

from deepgenre.files import updating
from deepgenre.library import file_tags


class Watch:
    """A running `deepgenre watch`, and what it printed so far."""

    def __init__(self, *arguments: str | Path, cwd: Path) -> None:
        self.process = tiny.start("--mode=watch", *arguments, cwd=cwd)
        self.lines: list[str] = []
        self._threads = [
            threading.Thread(target=self._collect, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, stream) -> None:
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    def count(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    def wait_for(self, text: str, number: int = 1) -> None:
        """Waits until `number` lines contain the text."""
        wait_until(lambda: self.count(text) >= number or self.process.poll() is not None)
        assert self.count(text) >= number, (text, self.lines)

    def end(self, number: int) -> int:
        """Sends a signal; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        for thread in self._threads:
            thread.join(10)
        assert not self.count("Traceback"), self.lines
        return code


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


@pytest.fixture
def watch(trained: Path, tmp_path: Path, music: Path):
    """Starts the mode on `music`, with the output in `out`; ends it after the test."""
    started: list[Watch] = []

    def start(*arguments: str, folder: Path = music) -> Watch:
        running = Watch(
            f"--weights={trained}",
            f"--output={tmp_path / 'out'}",
            "--threshold=0",
            "--poll_seconds=0.1",
            "--settle_seconds=0.5",
            *arguments,
            folder,
            cwd=tmp_path,
        )
        started.append(running)
        return running

    yield start
    for running in started:
        running.process.kill()
        running.process.wait()


def song(path: Path, hz: float = 110, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        temporary = path.with_name(f".{path.name}")
        stack.callback(lambda: temporary.replace(path))
        samples = tiny.tone(hz, 2.0, seed)
        soundfile.write(temporary, samples, tiny.RATE_HZ, format=path.suffix[1:])
    return path


def listed(tmp_path: Path) -> dict[str, set[str]]:
    """Returns the file names in each playlist that is not empty."""
    found = {}
    for playlist in (tmp_path / "out").glob("*.m3u8"):
        try:
            lines = playlist.read_text().splitlines()
        except FileNotFoundError:  # without songs, it was removed meanwhile
            continue
        if names := {Path(line).name for line in lines if not line.startswith("#")}:
            found[playlist.stem] = names
    return found


def rows(tmp_path: Path) -> list[dict]:
    (path,) = (tmp_path / "out").glob("songs-*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def num_rows(tmp_path: Path) -> int:
    """Returns the number of complete rows."""
    paths = (tmp_path / "out").glob("songs-*.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in paths)


def genre(path: Path) -> str:
    return "; ".join(file_tags.read(path)["genre"])


def organize(tmp_path: Path, *arguments: str | Path) -> tuple[int, str, str]:
    out = f"--output={tmp_path / 'out'}"
    return tiny.finish(tiny.start("--mode=organize", out, *arguments, cwd=tmp_path))


def analysed(running: Watch, path: Path) -> int:
    """Returns how often the scores of a file were printed."""
    return sum(line.endswith(f"  {path}") for line in running.lines)


def test_tags_what_is_added_waits_for_slow_copies_and_continues(watch, music, tmp_path):
    old = song(music / "old.flac", 110)
    running = watch("--write")
    running.wait_for("old.flac: genre: '' -> 'Low'")
    new = song(music / "album" / "new.flac", 5000)
    running.wait_for("new.flac: genre: '' -> 'High'")

    # Slow copies: one that keeps the file open, one that opens it for each piece.
    source = song(tmp_path / "source.flac", 880).read_bytes()
    pieces = [source[start : start + 8000] for start in range(0, len(source), 8000)]
    held, reopened = music / "held.flac", music / "reopened.flac"
    with held.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
            stream.flush()
            with reopened.open("ab") as other:
                other.write(piece)
            time.sleep(0.3)
        running.wait_for("reopened.flac: genre: '' -> 'Mid'")
        time.sleep(1.0)  # longer than it must be unchanged
        assert not analysed(running, held)
    running.wait_for("held.flac: genre: '' -> 'Mid'")
    assert not running.count("failed"), running.lines

    part = song(music / "x.flac.flac", 110, 3).rename(music / "download.flac.part")
    time.sleep(1.0)
    assert not analysed(running, part)
    done = part.rename(music / "download.flac")
    running.wait_for("download.flac: genre: '' -> 'Low'")
    wait_until(lambda: "download.flac" in listed(tmp_path).get("low", ()))
    songs = [old, new, held, reopened, done]
    assert all(analysed(running, path) == 1 for path in songs)
    assert running.end(signal.SIGTERM) == 0
    assert running.count("ended: 5 songs, 0 failures") == 1
    assert [genre(path) for path in songs] == ["Low", "High", "Mid", "Mid", "Low"]

    before = {path: path.read_bytes() for path in songs}
    late = song(music / "while it was off.flac", 5000, 2)
    running = watch("--write")
    running.wait_for("while it was off.flac: genre: '' -> 'High'")
    assert running.end(signal.SIGINT) == 0
    assert [line for line in running.lines if "genre:" in line or "flac" in line] == [
        line for line in running.lines if str(late) in line
    ]
    assert before == {path: path.read_bytes() for path in songs}
    assert listed(tmp_path) == {
        "low": {"old.flac", "download.flac"},
        "mid": {"held.flac", "reopened.flac"},
        "high": {"new.flac", "while it was off.flac"},
    }


def test_kill_9_loses_nothing(watch, music, tmp_path):
    songs = [song(music / f"{number}.flac", 110, number) for number in range(12)]
    for number in (1, 3, 14):  # rows on disk when killed: while analysing, then writing tags
        running = watch("--write")
        wait_until(lambda number=number: num_rows(tmp_path) >= number)
        running.end(signal.SIGKILL)
    done = {row["path"] for row in rows(tmp_path) if "written" in row}
    assert 0 < len(done) < len(songs)
    (predictions,) = (tmp_path / "out").glob("songs-*.jsonl")
    with predictions.open("ab") as stream:
        stream.write(b'{"path": "half')
    running = watch("--write")
    running.wait_for("flac: genre: '' -> 'Low'", len(songs) - len(done) - 1)  # one may lack its row
    wait_until(lambda: len(listed(tmp_path).get("low", ())) == len(songs))
    assert running.end(signal.SIGTERM) == 0
    assert not any(analysed(running, Path(path)) for path in done)
    assert all(genre(path) == "Low" for path in songs)
    assert len({row["path"] for row in rows(tmp_path)}) == len(songs)
    running = watch("--write")
    running.wait_for("12 songs, 0 failures in")
    assert running.end(signal.SIGTERM) == 0
    assert not any(analysed(running, path) for path in songs)
    assert organize(tmp_path, "--undo")[0] == 0
    assert not any(genre(path) for path in songs)


def test_failures_are_listed_and_retried_only_when_changed(watch, music, tmp_path):
    bad = music / "bad.mp3"
    bad.write_text("no music")
    good = song(music / "good.flac")
    running = watch()
    running.wait_for("1 songs, 1 failures")
    time.sleep(1.0)
    assert running.count("failed: ") == 1
    assert "bad.mp3: is not audio" in (tmp_path / "out" / "report.md").read_text()
    assert running.end(signal.SIGTERM) == 0
    running = watch()
    running.wait_for("1 songs, 1 failures")
    time.sleep(1.0)
    assert not running.count("failed: ")
    assert not analysed(running, good)
    song(tmp_path / "right.wav", 5000).replace(bad)
    running.wait_for("2 songs, 0 failures")
    assert listed(tmp_path)["high"] == {"bad.mp3"}
    assert "is not audio" not in (tmp_path / "out" / "report.md").read_text()
    assert running.end(signal.SIGTERM) == 0


def test_renames_deletions_and_moved_folders(watch, music, tmp_path):
    first, second = song(music / "first.flac"), song(music / "second.flac", 5000)
    running = watch("--write")
    running.wait_for("genre:", 2)
    wait_until(lambda: len(listed(tmp_path)) == 2)
    first.rename(music / "renamed.flac")
    wait_until(lambda: listed(tmp_path).get("low") == {"renamed.flac"})
    second.unlink()
    wait_until(lambda: "high" not in listed(tmp_path))
    album = tmp_path / "album"
    for number in range(3):
        song(album / "cd" / f"{number}.flac", 880, number)
    album.rename(music / "album")
    wait_until(lambda: len(listed(tmp_path).get("mid", ())) == 3)
    assert running.end(signal.SIGTERM) == 0
    (music / "album").rename(music / "renamed while off")
    running = watch("--write")
    wait_until(lambda: "renamed while off" in (tmp_path / "out" / "mid.m3u8").read_text())
    assert running.end(signal.SIGTERM) == 0
    assert not any("  low " in line or "flac: genre" in line for line in running.lines)


def test_folder_that_goes_away_and_comes_back(watch, music, tmp_path):
    share = music / "share"
    songs = [song(share / f"{number}.flac", 110, number) for number in range(2)]
    running = watch(folder=share)
    wait_until(lambda: len(listed(tmp_path).get("low", ())) == 2)
    for empty in (False, True):
        away = share.rename(tmp_path / "away")
        if empty:  # a mount point without its mount
            share.mkdir()
        running.wait_for("what is known of its files is kept", 1 + empty)
        assert len(listed(tmp_path)["low"]) == 2
        if empty:
            share.rmdir()
        away.rename(share)
        running.wait_for("can be read again", 1 + empty)
    running.end(signal.SIGKILL)
    share.rename(tmp_path / "away")
    running = watch(folder=share)  # restarted before the mount
    running.wait_for("what is known of its files is kept")
    running.wait_for("2 songs, 0 failures in")
    (tmp_path / "away").rename(share)
    song(share / "new.flac", 5000)
    wait_until(lambda: listed(tmp_path).get("high") == {"new.flac"})
    assert len(listed(tmp_path)["low"]) == 2
    assert running.end(signal.SIGTERM) == 0
    assert not any(analysed(running, path) for path in songs)


def test_tags_that_the_owner_changes_stay(watch, music):
    path = song(music / "a.flac")
    running = watch("--write")
    running.wait_for("a.flac: genre: '' -> 'Low'")
    time.sleep(1.0)
    file_tags.write(path, {"genre": ("Polka",)})
    wait_until(lambda: analysed(running, path) == 2)
    time.sleep(0.5)
    assert running.end(signal.SIGTERM) == 0
    running = watch("--write")
    running.wait_for("1 songs, 0 failures in")
    assert running.end(signal.SIGTERM) == 0
    assert genre(path) == "Polka"
    song(path, 5000)  # another recording under the same name
    running = watch("--write")
    running.wait_for("a.flac: genre: '' -> 'High'")


def test_continues_from_organize_without_a_new_analysis(watch, music, trained, tmp_path):
    path = song(music / "a.flac")
    arguments = [f"--weights={trained}", "--threshold=0", music.relative_to(tmp_path)]
    assert organize(tmp_path, *arguments)[0] == 0
    running = watch("--write")
    running.wait_for("a.flac: genre: '' -> 'Low'")
    assert running.end(signal.SIGTERM) == 0
    assert not analysed(running, path)
    code, output, errors = organize(tmp_path, *arguments, "--write")
    assert (code, output) == (0, "")
    assert "1 of 1 files are already in the output" in errors


def test_an_undo_stays_and_organize_keeps_what_is_remembered(watch, music, trained, tmp_path):
    path = song(music / "a.flac")
    before = path.read_bytes()
    running = watch("--write")
    running.wait_for("a.flac: genre: '' -> 'Low'")
    assert running.end(signal.SIGTERM) == 0
    code, output, errors = organize(tmp_path, f"--weights={trained}", "--threshold=0", music)
    assert (code, output) == (0, "")
    assert "1 of 1 files are already in the output" in errors
    assert "does not state" not in errors
    (row,) = rows(tmp_path)
    assert (row["seconds"], row["written"]) == (2.0, {"genre": ["Low"]})
    assert row["stamp"] == [path.stat().st_size, path.stat().st_mtime_ns]
    assert organize(tmp_path, "--undo")[0] == 0
    assert path.read_bytes() == before
    running = watch("--write")
    running.wait_for("1 songs, 0 failures in")
    assert running.end(signal.SIGTERM) == 0
    assert not running.count("genre:")
    assert not analysed(running, path)
    assert path.read_bytes() == before


def test_policy_field_and_mapping_as_in_organize(watch, music, tmp_path):
    path = song(music / "a.flac")
    file_tags.write(path, {"grouping": ("Mine",)})
    (tmp_path / "names.txt").write_text("low = Deep\nmid =\nhigh = Bright\n")
    flags = ["--field=grouping", "--policy=add", f"--mapping={tmp_path / 'names.txt'}"]
    running = watch("--write", *flags)
    running.wait_for("a.flac: grouping: 'Mine' -> 'Mine; Deep'")
    song(music / "dropped.flac", 880)
    wait_until(lambda: listed(tmp_path).get("mid") == {"dropped.flac"})
    assert running.end(signal.SIGTERM) == 0
    assert file_tags.read(path)["grouping"] == ("Mine", "Deep")
    assert not file_tags.read(music / "dropped.flac")["grouping"]
    running = watch("--write", "--field=grouping", "--policy=add")  # other names: ours go back
    running.wait_for("a.flac: grouping: 'Mine; Deep' -> 'Mine; low'")
    assert running.end(signal.SIGTERM) == 0


def test_files_wait_while_another_run_updates_the_predictions(watch, music, tmp_path):
    running = watch()
    running.wait_for("watching ")
    (meta,) = (tmp_path / "out").glob("songs-*.meta.json")
    with updating(meta.with_name(meta.name.removesuffix(".meta.json"))):
        path = song(music / "a.flac")
        running.wait_for("is being updated by process")
        time.sleep(1.0)
        assert not analysed(running, path)
    running.wait_for("1 songs, 0 failures in")
    assert running.count("is being updated by process") == 1
    assert analysed(running, path) == 1
    assert running.end(signal.SIGTERM) == 0


def test_mistakes_are_one_line(watch, music, tmp_path):
    running = watch()
    running.wait_for("watching ")
    for arguments, folder, message in [
        ((), music, "is being updated by process"),
        ((f"--output={tmp_path / 'other'}",), music / "missing", "is not a folder"),
        (("--settle_seconds=-1",), music, "--settle_seconds: must be 0 to 86400"),
    ]:
        second = watch(*arguments, folder=folder)
        assert second.process.wait(60) == 1
        wait_until(lambda second=second: bool(second.lines))
        assert message in second.lines[-1]
        assert not second.count("Traceback")

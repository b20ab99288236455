import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio import decoding, waveforms
from deepgenre.errors import UserError
from deepgenre.isolated import calls

PATH = Path("song.mp3")


@pytest.fixture(autouse=True)
def fresh_workers():
    """Workers of this test, which can import `hostile`."""
    calls.end_idle()
    yield
    calls.end_idle()


def collect(stream) -> list[tuple[np.ndarray, int]]:
    return [(samples.copy(), rate_hz) for samples, rate_hz in stream]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (hostile.crash, "crashed .SIGSEGV.; convert"),
        (hostile.leave, "crashed .exit code 3."),
        (hostile.hang, "did not get on for 1 s and was stopped"),
        (hostile.spin, "did not get on for 1 s"),
        (hostile.fill_memory, "needs more than 2 GiB of memory"),
    ],
)
def test_a_crash_costs_one_file(monkeypatch, function, message):
    calls.call(hostile.process_id, PATH)  # imports take no time below
    monkeypatch.setattr(calls, "SECONDS", 1.0)
    with pytest.raises(UserError, match=rf"^song.mp3: .*{message}"):
        calls.call(function, PATH)
    monkeypatch.setattr(calls, "SECONDS", 60.0)
    assert calls.call(hostile.process_id, PATH) != os.getpid()


def test_results_and_errors_are_those_of_the_function():
    worker = calls.call(hostile.process_id, PATH)
    with pytest.raises(UserError, match=r"^song.mp3: reason$"):
        calls.call(hostile.fail, PATH, "reason")
    with pytest.raises(FileNotFoundError) as error:
        calls.call(hostile.missing, PATH)
    assert error.value.filename == "song.mp3"
    with pytest.raises(RuntimeError, match=r"in bug\n.*\n.*KeyError: 'of the program'"):
        calls.call(hostile.bug, PATH)
    assert calls.call(hostile.process_id, PATH) == worker  # one for all of them


def test_large_blocks_of_a_stream_are_parted():
    warnings: list[str] = []
    found = collect(calls.stream(hostile.blocks, PATH, warnings.append))
    expected = hostile.expected()
    assert warnings == ["song.mp3: a warning"]
    assert [(samples.shape[1], rate) for samples, rate in found] == [
        (2, 10_000), (2, 10_000), (2, 10_000), (2, 10_000), (1, 9_000), (1, 9_000), (3, 11_000),
        (3, 11_000), (3, 11_000),
    ]  # fmt: skip
    for channels in (1, 2, 3):
        np.testing.assert_array_equal(
            np.concatenate([s for s, _ in found if s.shape[1] == channels]),
            np.concatenate([s for s, _ in expected if s.shape[1] == channels]),
        )


def test_a_stream_that_is_left_early_or_crashes():
    worker = calls.call(hostile.process_id, PATH)
    stream = calls.stream(hostile.blocks, PATH, lambda line: None)
    next(stream)
    stream.close()
    assert calls.call(hostile.process_id, PATH) == worker
    crashing = calls.stream(hostile.crash_later, PATH, lambda line: None)
    assert len(next(crashing)[0]) == 1 << 20
    with pytest.raises(UserError, match="SIGSEGV"):
        next(crashing)


def test_a_worker_that_died_between_two_calls_costs_nothing():
    worker = calls.call(hostile.process_id, PATH)
    os.kill(worker, 9)
    deadline = time.monotonic() + 10
    while calls._idle[0].process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert calls.call(hostile.process_id, PATH) != worker


def test_threads_have_workers_of_their_own():
    barrier = threading.Barrier(2)

    def two_at_once(number: int) -> int:
        stream = calls.stream(hostile.blocks, PATH, lambda line: None)
        next(stream)
        barrier.wait(60)
        return sum(len(samples) for samples, _ in stream)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(two_at_once, range(2))
    assert first == second > 0
    assert len(calls._idle) == 2


def test_workers_end_with_their_parent(tmp_path):
    """Also those in the middle of a call."""
    code = (
        f"import sys; sys.path[:0] = {[str(tiny.ROOT), str(Path(__file__).parent)]}\n"
        "import hostile, os, threading; from pathlib import Path\n"
        "from deepgenre.isolated import calls\n"
        "print(calls.call(hostile.process_id, Path('a')), flush=True)\n"
        "threading.Thread(target=calls.call, args=(hostile.hang, Path('a')), daemon=True).start()\n"
        "import time; time.sleep(0.3); os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    tiny.wait_for_end([int(parent.stdout)])


def test_modules_beside_music_are_not_imported(tmp_path, monkeypatch):
    """A folder of music is not trusted, and may be the working directory."""
    (tmp_path / "soundfile.py").write_text("raise SystemExit('imported')")
    soundfile.write(tmp_path / "a.wav", tiny.tone(440, 0.5, 1), 22_050)
    monkeypatch.chdir(tmp_path)
    assert waveforms.load(Path("a.wav"), 22_050).size == 11_025


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Puts a program first on the path; returns a file that libsndfile leaves to it."""
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    song = folder / "song.m4a"
    song.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    return song


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo $$ > pid; exec sleep 600", "did not get on for 2 s"),
        ("kill -SEGV $$", "is not audio that libsndfile or ffmpeg can decode"),
        ("exec yes >&2", "is not audio that libsndfile or ffmpeg can decode"),
    ],
)
def test_a_hostile_ffmpeg(tmp_path, monkeypatch, script, message):
    song = fake_ffmpeg(tmp_path, monkeypatch, script)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        calls.call(hostile.fail, PATH, "a worker that has loaded all")
    monkeypatch.setattr(calls, "SECONDS", 2.0)
    with pytest.raises(UserError, match=message) as error:
        list(decoding.blocks(song))
    assert len(str(error.value)) < 500
    if "pid" in script:
        tiny.wait_for_end([int((tmp_path / "pid").read_text())])


def test_memory_of_ffmpeg_is_limited(tmp_path, monkeypatch):
    script = f"exec {sys.executable} -c 'print(len(bytes(10 << 30)))'"
    song = fake_ffmpeg(tmp_path, monkeypatch, script)
    with pytest.raises(UserError, match="MemoryError"):
        list(decoding.blocks(song))

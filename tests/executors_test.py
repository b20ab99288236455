"""A real scheduler and workers of Dask, as processes, do what processes of this machine do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre import executors
from deepgenre.data import prepare
from deepgenre.errors import UserError
from deepgenre.inference import on_cluster, song_index
from deepgenre.processes.local import free_port

CLIPS = 32
WORKER = """
import sys, time
from distributed.cli.dask_worker import main
from deepgenre.audio import frontend
original = frontend.levels
def slow(*inputs):
    time.sleep(0.05)  # so that a kill falls into a shard
    return original(*inputs)
frontend.levels = slow
main()
"""


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.processes = [self._start("distributed.cli.dask_scheduler", "--host=127.0.0.1",
                                      f"--port={self.port}", "--no-dashboard")]  # fmt: skip
        self.workers = [self.add_worker(), self.add_worker()]

    @property
    def address(self) -> str:
        return f"dask://127.0.0.1:{self.port}"

    def add_worker(self) -> subprocess.Popen[bytes]:
        return self._start("", f"tcp://127.0.0.1:{self.port}", "--no-nanny", "--nthreads=1",
                           "--no-dashboard", f"--local-directory={self.folder}")  # fmt: skip

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        program = ["-m", module] if module else ["-c", WORKER]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                cwd=self.folder,  # not that of the main process
                env=tiny.environment() | {"PYTHONPATH": str(tiny.ROOT)},
                stdout=log,
                stderr=log,
            )
        return process

    def close(self) -> None:
        for process in (*self.processes, *self.workers):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="needs Dask: pip install 'deepgenre[dask]'")
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("music") / "music"
    tiny.compose(folder, clips_per_genre=CLIPS, seconds=0.1)
    (folder / "low" / "bad.wav").write_bytes(b"no audio")
    return folder


def content(store: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_store_is_the_same_when_a_worker_is_killed(cluster, music, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "CLIPS_PER_SHARD", 8)
    here = tiny.config(music, store_dir=str(tmp_path / "here"))
    there = tiny.config(music, store_dir="there")  # relative: workers have other current folders
    monkeypatch.chdir(tmp_path)
    assert prepare.run(here, music) == 1
    (warning,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")
    ]

    def kill_one() -> None:
        shards = tmp_path / "there"
        while not list(shards.rglob("*.jsonl")):
            time.sleep(0.005)
        os.kill(cluster.workers[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    assert prepare.run(there, music, cluster=cluster.address) == 1
    killer.join(10)
    assert cluster.workers[0].wait(10) == -signal.SIGKILL
    messages = capsys.readouterr().err
    assert warning in messages
    assert f" workers at {cluster.address}" in messages
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert len(list((tmp_path / "here").rglob("*.jsonl"))) > 10  # shards, and the index


def test_other_weights_on_a_worker_are_refused(trained):
    with pytest.raises(UserError, match="--cluster: workers find other weights at "):
        on_cluster._loaded((str(trained),), "digest of others", 0.0, 0.0)


def test_rows_and_embeddings_are_the_same_in_order(cluster, trained, music, tmp_path, monkeypatch):
    monkeypatch.setattr(on_cluster, "FILES_PER_SHARD", 5)
    monkeypatch.chdir(music)
    songs = [f"{pitch}/{n:03d}.wav" for n in range(4) for pitch in tiny.PITCHES_HZ]
    (tmp_path / "list.txt").write_text("/nowhere/missing.wav\n")
    inputs = ["low/bad.wav", tmp_path / "list.txt", *songs]
    for name, more in {"here": [], "there": [f"--cluster={cluster.address}"]}.items():
        for mode, suffix in (("predict", "csv"), ("embed", "npz")):
            output = f"--output={tmp_path / name}.{suffix}"
            windows = ["--window_seconds=1.8"] if mode == "predict" else []
            arguments = (mode, *inputs, f"--weights={trained}", output, *windows, *more)
            assert tiny.call(monkeypatch, *arguments) == 1
    here, there = ((tmp_path / f"{name}.csv").read_text() for name in ("here", "there"))
    assert there == here
    assert len(there.splitlines()) == 1 + len(inputs)
    one, other = (song_index.read_index(tmp_path / f"{name}.npz") for name in ("here", "there"))
    assert [song.path for song in one.songs] == [song.path for song in other.songs]
    for a, b in zip(one.songs, other.songs, strict=True):
        np.testing.assert_allclose(a.vector, b.vector, rtol=1e-4, atol=1e-6)  # other batches


def test_results_come_in_the_order_of_tasks(monkeypatch):
    def slower_first(number: int) -> int:
        time.sleep(0.02 * (3 - number % 3))
        return number

    monkeypatch.setattr(on_cluster, "SHARDS_AHEAD", 3)
    with ThreadPoolExecutor(3) as pool:
        assert [*on_cluster.in_order(pool, slower_first, ([n] for n in range(10)))] == [*range(10)]


def test_what_a_cluster_lacks_is_named(cluster, tmp_path):
    with (
        pytest.raises(UserError, match=r"--cluster: worker on .* does not see /nowhere"),
        executors.cluster(cluster.address, [Path("/nowhere")]),
    ):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors.deepgenre, "__version__", "0.0.1")
        with (
            pytest.raises(UserError, match=r"has deepgenre .*, this is 0\.0\.1"),
            executors.cluster(cluster.address, []),
        ):
            pass


@pytest.mark.parametrize("address", ["dask://host", "host:1", "ray://host:1", "dask://:80"])
def test_addresses_are_checked(address):
    with (
        pytest.raises(UserError, match="--cluster: must be dask://HOST:PORT"),
        executors.cluster(address, []),
    ):
        pass


def test_no_scheduler_is_one_line(monkeypatch):
    pytest.importorskip("distributed", reason="needs Dask: pip install 'deepgenre[dask]'")
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 1)
    with (
        pytest.raises(UserError, match="no scheduler of Dask answers at"),
        executors.cluster(f"dask://127.0.0.1:{free_port()}", []),
    ):
        pass


def test_missing_dask_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UserError, match=r"pip install 'deepgenre\[dask\]'"),
        executors.cluster("dask://host:8786", []),
    ):
        pass

"""What several tests share: a small dataset of *synthetic* tones, a spec, the command line."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grain  # noqa: F401 (defines absl flags, which flagsaver would take away again)
import jax
import numpy as np
import pytest
import soundfile
from absl.testing import flagsaver
from array_record.python import array_record_data_source  # noqa: F401 (likewise)

from deepgenre import config as defaults
from deepgenre import main
from deepgenre.audio.frontend import FrontEnd
from deepgenre.devices import shard
from deepgenre.training.step import Recipe, compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights
from deepgenre.weights.state import initial_state

ROOT = Path(__file__).parents[1]
COMPILED = Path.home() / ".cache" / "deepgenre" / "test-compiled"
RATE_HZ = 22_050
PITCHES_HZ = {"low": 110, "mid": 880, "high": 5000}
# The smallest that the paper's 1D network hears: 298 frames, here of 128 samples.
SETTINGS = (
    f"--config={ROOT / 'configs/folder.py'}",
    "--config.batch_size=8",
    "--config.num_epochs=2",
    "--config.window_seconds=1.5",
    "--config.log_every_steps=1",
    "--config.prepare_workers=1",
    "--config.frontend.hop_length=128",
    "--config.frontend.n_mels=16",
    "--config.frontend.n_fft=1024",
    "--config.frontend.n_mfcc=8",
)


def settings(music: Path, *others: str) -> list[str]:
    """Returns the flags of a small run on a folder of music, whose store lies beside it."""
    store = music.parent / "store"
    return [*SETTINGS, f"--data_dir={music}", f"--config.store_dir={store}", *others]


def tone(hz: float, seconds: float, seed: int) -> np.ndarray:
    """Returns a sine in a little noise, float64 (samples,)."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(time.size)
    return 0.3 * np.sin(2 * np.pi * hz * time) + 0.01 * noise


def compose(folder: Path, *, clips_per_genre: int, seconds: float) -> Path:
    """Writes <folder>/<low, mid or high>/<number>.wav; returns the folder."""
    for genre, pitch_hz in PITCHES_HZ.items():
        (folder / genre).mkdir(parents=True, exist_ok=True)
        for number in range(clips_per_genre):
            samples = tone(pitch_hz * 2 ** (0.02 * number), seconds, number)
            soundfile.write(folder / genre / f"{number:03d}.wav", samples, RATE_HZ)
    return folder


def spec(**changes: Any) -> Spec:
    """Returns the spec of a small paper_1d on 16 bands and three classes, with changes."""
    config = defaults.get_config().to_dict()
    plain = Spec(
        model="paper_1d",
        network={"dropout": 0.0, "batch_norm": True},
        classes=("a", "b", "c"),
        multi_label=False,
        frontend=FrontEnd(n_mels=16, n_mfcc=8),
        mean=128.0,
        deviation=64.0,
        window_frames=298,
        hop_frames=298,
        clip_seconds=15.0,
        config=config,
    )
    return dataclasses.replace(plain, **changes)


def steps_on_one_batch(
    spec: Spec, batch: dict[str, np.ndarray], tx: Any, steps: int, num_devices: int
) -> tuple[Any, list[float]]:
    """Returns params and running statistics after some steps on one batch, and the losses."""
    losses = []
    step = compile_train_step(spec, tx, Recipe(), num_devices=num_devices)
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    state = initial_state(specs.build(spec), tx, shape, seed=0)
    for _ in range(steps):
        state, scalars = step(state, shard(batch, num_devices) if num_devices > 1 else batch)
        losses.append(float(scalars["loss"]))
    return jax.device_get((state.params, state.batch_stats)), losses


def untrained(spec: Spec) -> Weights:
    """Returns the spec's network with random weights, made without compiling anything."""
    shape = jax.ShapeDtypeStruct((1, spec.window_frames, spec.frontend.num_bands), np.float32)
    made = jax.eval_shape(lambda x: specs.build(spec).init(jax.random.key(0), x, False), shape)
    rng = np.random.default_rng(0)

    def leaf(about: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(about.shape) < 2:  # biases, scales and variances alike
            return rng.uniform(0.5, 1.5, about.shape).astype(np.float32)
        fan_in = np.prod(about.shape[:-1])
        return (rng.standard_normal(about.shape) / np.sqrt(fan_in)).astype(np.float32)

    kept = {name: made[name] for name in ("params", "batch_stats") if name in made}
    return Weights(spec, jax.tree.map(leaf, kept), step=1, metrics={})


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Runs `python -m deepgenre.main ARGUMENTS` in this process; returns the exit code.

    What would end in a traceback there is an exception here.
    """
    argv = ["deepgenre", *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", argv)  # where ml_collections looks for overrides
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(COMPILED))
    with flagsaver.flagsaver():
        try:
            return main.main(main._parse_flags(argv))
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            return stop.code


def start(*arguments: str | Path, cwd: Path, num_devices: int = 1) -> subprocess.Popen[str]:
    """Starts `python -m deepgenre.main ARGUMENTS` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "deepgenre.main", *map(str, arguments)],
        cwd=cwd,
        env=environment(num_devices),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def environment(num_devices: int = 1) -> dict[str, str]:
    """Returns the environment of a process with so many fake CPU devices."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(num_devices),
        "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
    }


def finish(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str, str]:
    """Returns exit code, standard output and standard error, when the process has ended."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert "Traceback" not in errors, errors
    return process.returncode, output, errors


def children(pid: int) -> list[int]:
    """Returns the processes that any thread of a process has started and that still run."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def wait_for_end(pids: list[int]) -> None:
    """Returns when the processes have ended; fails where one goes on for half a minute."""
    deadline = time.monotonic() + 30
    while alive := [pid for pid in pids if _is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().split()[2] != "Z"

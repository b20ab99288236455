"""Test helpers: a small dataset of *synthetic* tones, a spec, the command line."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grain  # noqa: F401 (defines absl flags, which flagsaver would remove)
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from absl.testing import flagsaver
from array_record.python import array_record_data_source  # noqa: F401 (likewise)

import deepgenre
from deepgenre import config as defaults
from deepgenre import main, models
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
# The shortest input of the paper's 1D network: 298 frames, here with a hop of 128 samples.
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
    """Returns the flags of a small run on a folder of music, with the store beside the folder."""
    store = music.parent / "store"
    return [*SETTINGS, f"--data_dir={music}", f"--config.store_dir={store}", *others]


def config(music: Path, **changes: Any) -> Any:
    """Returns the config of `settings`, written in Python."""
    given = [argument.removeprefix("--config.").split("=") for argument in settings(music)]
    fields = {field: value for field, value in given if not field.startswith("--")}
    known = defaults.leaves(defaults.get_config().to_dict())
    typed = {field: type(known[field])(value) for field, value in fields.items()}
    return deepgenre.get_config("folder", **{**typed, **changes})


def tone(hz: float, seconds: float, seed: int) -> np.ndarray:
    """Returns a sine with weak noise, float64 (samples,)."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(time.size)
    return 0.3 * np.sin(2 * np.pi * hz * time) + 0.01 * noise


def compose(folder: Path, *, clips_per_genre: int, seconds: float) -> Path:
    """Writes <folder>/<low|mid|high>/<number>.wav; returns the folder."""
    for genre, pitch_hz in PITCHES_HZ.items():
        (folder / genre).mkdir(parents=True, exist_ok=True)
        for number in range(clips_per_genre):
            samples = tone(pitch_hz * 2 ** (0.02 * number), seconds, number)
            soundfile.write(folder / genre / f"{number:03d}.wav", samples, RATE_HZ)
    return folder


def spec(**changes: Any) -> Spec:
    """Returns the spec of a small paper_1d with 16 bands and three classes, with `changes`."""
    config = defaults.get_config().to_dict()
    default = Spec(
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
    return dataclasses.replace(default, **changes)


def steps_on_one_batch(
    spec: Spec, batch: dict[str, np.ndarray], tx: Any, steps: int, num_devices: int
) -> tuple[Any, list[float]]:
    """Returns (params, batch_stats) after `steps` steps on one batch, and the losses."""
    losses = []
    step = compile_train_step(spec, tx, Recipe(), num_devices=num_devices)
    shape = (1, spec.window_frames, spec.frontend.num_bands)
    state = initial_state(specs.build(spec), tx, shape, seed=0)
    for _ in range(steps):
        state, scalars = step(state, shard(batch, num_devices) if num_devices > 1 else batch)
        losses.append(float(scalars["loss"]))
    return jax.device_get((state.params, state.batch_stats)), losses


def untrained(spec: Spec) -> Weights:
    """Returns random weights for the spec, without compiling its network."""
    shape = jax.ShapeDtypeStruct((1, spec.window_frames, spec.frontend.num_bands), np.float32)
    shapes = jax.eval_shape(lambda x: specs.build(spec).init(jax.random.key(0), x, False), shape)
    rng = np.random.default_rng(0)

    def random_leaf(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) < 2:  # biases, scales and variances
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1])
        return (rng.standard_normal(leaf.shape) / np.sqrt(fan_in)).astype(np.float32)

    kept = {name: shapes[name] for name in ("params", "batch_stats") if name in shapes}
    return Weights(spec, jax.tree.map(random_leaf, kept), step=1, metrics={})


def shapes(
    name: str,
    frames: int,
    bands: int,
    num_classes: int = 10,
    *,
    train: bool = False,
    **options: Any,
) -> tuple[Any, Any]:
    """Returns logits and variables of a new network, as shapes, without computing them."""
    module = models.build(name, num_classes, options, dtype="bfloat16")
    return jax.eval_shape(
        lambda: module.init_with_output(
            {"params": jax.random.key(0), "dropout": jax.random.key(1)},
            jnp.zeros((2, frames, bands)),
            train=train,
            mutable=True,
        )
    )


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Runs `python -m deepgenre.main ARGUMENTS` in this process; returns the exit code.

    An error that would print a traceback there is raised here.
    """
    argv = ["deepgenre", *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", argv)  # ml_collections reads overrides from here
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(COMPILED))
    with flagsaver.flagsaver():
        try:
            return main.main(main.parse_flags(argv))
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            return stop.code


def start(*arguments: str | Path, cwd: Path, num_devices: int = 1) -> subprocess.Popen[str]:
    """Starts `python -m deepgenre.main ARGUMENTS` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "deepgenre.main", *map(str, arguments)],
        cwd=cwd,
        env=environment(num_devices),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def environment(num_devices: int = 1) -> dict[str, str]:
    """Returns environment variables for a process with `num_devices` fake CPU devices."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(num_devices),
        "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
    }


def finish(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str, str]:
    """Waits for the process; returns exit code, standard output and standard error."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert "Traceback" not in errors, errors
    return process.returncode, output, errors


def children(pid: int) -> list[int]:
    """Returns the running child processes of all threads of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def wait_for_end(pids: list[int]) -> None:
    """Waits until the processes have ended; fails after 30 seconds."""
    deadline = time.monotonic() + 30
    while alive := [pid for pid in pids if _is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().split()[2] != "Z"

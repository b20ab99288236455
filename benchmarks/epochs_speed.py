"""Seconds of whole epochs of training, validation and checkpoints included, on *synthetic* clips.

    python benchmarks/epochs_speed.py --clips=13510 --epochs=20 --output=epochs.json

The clips are noise of MagnaTagATune's size, 628 frames of 128 bands, with random tags; one in 100
is a validation clip. They are prepared once. Each dtype trains the network of configs/mtat.py in a
process of its own, for one epoch and for --epochs more, alternately, with a filled compile cache:
the difference of the two is the time of --epochs. On a GPU whose memory is large enough, the clips
are held there.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from deepgenre.files import replacing

_CLIPS = flags.DEFINE_integer("clips", 13_510, "Training clips.")
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Epochs to time.")
_BATCH = flags.DEFINE_integer("batch", 128, "Clips per step.")
_FRAMES = flags.DEFINE_integer("frames", 628, "Frames per clip.")
_MODELS = flags.DEFINE_list("models", ["paper_2d"], "Networks.")
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "Types of activations.")
_OUTPUT = flags.DEFINE_string("output", "epochs_speed.json", "JSON file of the rows.")

BANDS, TAGS = 128, 50


def write_clips(path: Path) -> None:
    """Writes the .npz."""
    generator, number = np.random.default_rng(0), _CLIPS.value + max(1, _CLIPS.value // 100)
    np.savez(
        path,
        mel=generator.integers(0, 256, (number, BANDS, _FRAMES.value), np.uint8),
        name=np.array([f"{clip:06d}" for clip in range(number)]),
        tags=(generator.random((number, TAGS)) < 0.06).astype(np.uint8),
        tag_names=np.array([f"tag {tag}" for tag in range(TAGS)]),
        split=np.array(["train"] * _CLIPS.value + ["valid"] * (number - _CLIPS.value)),
        sample_rate_hz=22_050,
        hop_length=1024,
    )


def seconds_of(folder: Path, mode: str, *options: str) -> float:
    """Returns the time of a command on the clips."""
    command = [sys.executable, "-m", "deepgenre.main", mode, "--config=mtat", "--quiet"]
    command += [f"--data_dir={folder / 'clips.npz'}", f"--config.store_dir={folder / 'store'}"]
    command += ["--config.split=as_given", "--config.select_by=loss"]
    command += [f"--config.batch_size={_BATCH.value}", *options]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def row_of(folder: Path, model: str, dtype: str) -> dict[str, object]:
    """Returns the measurements of one network and dtype."""

    def train(epochs: int) -> float:
        with tempfile.TemporaryDirectory(dir=folder) as workdir:
            options = [f"--workdir={workdir}", f"--config.num_epochs={epochs}"]
            choice = [f"--config.model={model}", f"--config.dtype={dtype}"]
            return seconds_of(folder, "train", *options, *choice)

    train(1)  # compiles
    start, whole = train(1), train(1 + _EPOCHS.value)
    clips = _CLIPS.value // _BATCH.value * _BATCH.value * _EPOCHS.value
    return {
        "model": model,
        "dtype": dtype,
        "device": jax.devices()[0].device_kind,
        "clips": _CLIPS.value,
        "epochs": _EPOCHS.value,
        "batch": _BATCH.value,
        "seconds_of_first_epoch_and_start": round(start, 2),
        "seconds": round(whole - start, 2),
        "clips_per_second": round(clips / (whole - start), 1),
    }


def main(argv: Sequence[str]) -> None:
    """Measures, prints a row per network and dtype, and writes them."""
    del argv
    rows = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:  # on a disk; /tmp may be in memory
        folder = Path(name)
        write_clips(folder / "clips.npz")
        seconds_of(folder, "prepare")
        for model in _MODELS.value:
            for dtype in _DTYPES.value:
                rows.append(row_of(folder, model, dtype))
                print(json.dumps(rows[-1]), flush=True)
                with replacing(Path(_OUTPUT.value)) as temporary:
                    temporary.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)

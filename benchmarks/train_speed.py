"""Training speed of the paper's networks: our step and PyTorch's, with the same shapes.

    python3 -m venv peer && peer/bin/pip install torch
    python benchmarks/train_speed.py --peer_python=peer/bin/python

Each case is a network and a type of activations. Ours is the step of a training run (8-bit levels
as input, standardisation, Adam); PyTorch's takes a standardised batch in memory, channels last,
eager and compiled; the faster counts (--peer_modes). Both run in separate processes, alternately,
--repeats times. A ratio is PyTorch's median step time divided by ours within one repeat; the table
gives its median, minimum and maximum. 'of matrix rate' is the rate of the layers' operations
divided by that of plain matrix products, measured in the same process.

    python benchmarks/train_speed.py --networks=paper_2d --dtypes=float32 \
        --batches=4,8,16 --frames=314,628,1256 --devices=1,2

shows how speed and memory scale, with one row per combination; without --peer_python only ours is
measured. On a CPU, several devices are virtual ones on the same cores. Prints Markdown; writes the
times of all steps to --output.
"""

import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import replacing

_PEER_PYTHON = flags.DEFINE_string("peer_python", "", "Python with PyTorch; '': measure only ours.")
_PEER_MODES = flags.DEFINE_list("peer_modes", ["eager", "compiled"], "PyTorch modes to measure.")
_NETWORKS = flags.DEFINE_list("networks", ["paper_2d", "paper_1d"], "Networks of the paper.")
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "Types of activations.")
_BATCHES = flags.DEFINE_list("batches", [], "Clips per step; default 8 (2D) and 32 (1D).")
_FRAMES = flags.DEFINE_list("frames", [], "Frames per clip; default 628 (2D) and 647 (1D).")
_DEVICES = flags.DEFINE_list("devices", ["1"], "Numbers of devices for ours.")
_STEPS = flags.DEFINE_integer("steps", 6, "Timed steps per process.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Repeats of each measurement.")
_OUTPUT = flags.DEFINE_string("output", "train_speed.json", "JSON file of all results.")

# Classes, multi_label, default batch size and frames (29 or 30 s at a hop of 1024).
NETWORKS = {"paper_2d": (50, True, 8, 628), "paper_1d": (10, False, 32, 647)}
HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement."""

    network: str
    dtype: str
    batch: int
    frames: int
    devices: int
    classes: int
    multi_label: bool
    steps: int


def cases() -> Iterator[Case]:
    """Yields every combination of the flags."""
    for name in _NETWORKS.value:
        if name not in NETWORKS:
            raise UserError(f"--networks: {name!r} is not supported; known: {', '.join(NETWORKS)}")
        classes, multi_label, default_batch, default_frames = NETWORKS[name]
        batches, lengths = _BATCHES.value or [default_batch], _FRAMES.value or [default_frames]
        for dtype, *numbers in itertools.product(_DTYPES.value, batches, lengths, _DEVICES.value):
            batch, frames, devices = map(int, numbers)
            yield Case(name, dtype, batch, frames, devices, classes, multi_label, _STEPS.value)


def run(python: str, script: str, case: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON output of a script; raises UserError with the last line of its errors."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(case["devices"])}
    environment["PYTHONPATH"] = str(HERE.parent)
    command = [python, str(HERE / script), json.dumps(case)]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise UserError(f"{script} failed: {(process.stderr.strip() or 'killed').splitlines()[-1]}")
    return json.loads(process.stdout.splitlines()[-1])


def measure(case: Case) -> dict[str, Any]:
    """Returns the fields of the case and its results, one run per repeat."""
    fields = dataclasses.asdict(case)
    modes = _PEER_MODES.value if _PEER_PYTHON.value and case.devices == 1 else []
    result: dict[str, Any] = {**fields, "ours": [], "peers": {mode: [] for mode in modes}}
    for _ in range(_REPEATS.value):
        result["ours"].append(run(sys.executable, "training_ours.py", fields))
        for mode in modes:
            peer_case = {**fields, "compiled": mode == "compiled"}
            run_result = run(_PEER_PYTHON.value, "training_torch.py", peer_case)
            result["peers"][mode].append(run_result)
    return result


def median_seconds(runs: Sequence[dict[str, Any]]) -> list[float]:
    """Returns the median step time of each run."""
    return [statistics.median(run["seconds"]) for run in runs]


def row(result: dict[str, Any]) -> str:
    """Returns a row of the table."""
    ours, batch = median_seconds(result["ours"]), result["batch"]
    first = result["ours"][0]
    rate = batch / statistics.median(ours)
    share = (
        rate
        * first["gflop_a_clip"]
        / statistics.median(run["matrix_gflops"] for run in result["ours"])
    )
    cells = [result["network"], result["dtype"], batch, result["frames"], first["device"]]
    cells += [f"{rate:.1f}", f"{share:.0%}"]
    cells += [f"{statistics.median(run['bytes'] for run in result['ours']) / batch / 1e6:.0f}"]
    if result["peers"]:
        mode, best = min(result["peers"].items(), key=lambda peer: sum(median_seconds(peer[1])))
        ratios = [theirs / own for theirs, own in zip(median_seconds(best), ours, strict=True)]
        memory = statistics.median(run["bytes"] for run in best) / batch / 1e6
        cells += [
            f"{batch / statistics.median(median_seconds(best)):.1f} ({mode})",
            f"{memory:.0f}",
        ]
        cells += [f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
    else:
        cells += ["", "", ""]
    return f"| {' | '.join(map(str, cells))} |"


def main(argv: Sequence[str]) -> None:
    """Measures every case, prints the table and writes --output."""
    print(
        "| network | type | batch | frames | device | ours, clips/s | of matrix rate | MB per clip "
        "| PyTorch, clips/s | MB per clip | ours / PyTorch |\n" + "| --- " * 11 + "|"
    )
    results = []
    try:
        for case in cases():
            results.append(measure(case))
            print(row(results[-1]), flush=True)
            with replacing(Path(_OUTPUT.value)) as temporary:
                temporary.write_text(json.dumps(results, indent=1) + "\n")
    except UserError as error:
        sys.exit(f"train_speed: {error}")
    log.info("wrote %s", _OUTPUT.value)


if __name__ == "__main__":
    app.run(main)

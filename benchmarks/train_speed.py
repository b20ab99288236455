"""How fast the paper's networks train: our step beside PyTorch's, same shapes, in one run.

    python3 -m venv peer && peer/bin/pip install torch
    python benchmarks/train_speed.py --peer_python=peer/bin/python

Each case is a network and a type of activations. Ours is the step that training runs (8-bit levels
in, standardising, Adam); PyTorch's hears a standardised batch in memory, channels last, eager and
compiled, of which the faster counts (--peer_modes). Both are processes of their own, in turn,
--repeats times. A ratio is PyTorch's median step by ours within one repeat; median, least and most
of these are said. 'of matrix rate' is what share of the rate of plain matrix products, measured in
the same process, the operations of the layers come to.

    python benchmarks/train_speed.py --networks=paper_2d --dtypes=float32 \
        --batches=4,8,16 --frames=314,628,1256 --devices=1,2

says how speed and memory grow: one row a combination; without --peer_python ours alone. On a CPU,
several devices are fake ones on the same cores. Prints Markdown; writes all steps to --output.
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

_PEER_PYTHON = flags.DEFINE_string("peer_python", "", "Python that has PyTorch; '': ours alone.")
_PEER_MODES = flags.DEFINE_list("peer_modes", ["eager", "compiled"], "How PyTorch runs.")
_NETWORKS = flags.DEFINE_list("networks", ["paper_2d", "paper_1d"], "Of the paper.")
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "Types of activations.")
_BATCHES = flags.DEFINE_list("batches", [], "Clips a step; default 8 (2D) and 32 (1D).")
_FRAMES = flags.DEFINE_list("frames", [], "Lengths; default 628 (2D) and 647 (1D).")
_DEVICES = flags.DEFINE_list("devices", ["1"], "Numbers of devices of ours.")
_STEPS = flags.DEFINE_integer("steps", 6, "Steps that are timed in each process.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Times that each is measured.")
_OUTPUT = flags.DEFINE_string("output", "train_speed.json", "File for all that was measured.")

# Classes, whether they are tags, and the usual batch and frames: 29 or 30 s at a hop of 1024.
NETWORKS = {"paper_2d": (50, True, 8, 628), "paper_1d": (10, False, 32, 647)}
HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Case:
    """What is measured."""

    network: str
    dtype: str
    batch: int
    frames: int
    devices: int
    classes: int
    multi_label: bool
    steps: int


def cases() -> Iterator[Case]:
    """Yields every combination that the flags ask for."""
    for name in _NETWORKS.value:
        if name not in NETWORKS:
            raise UserError(f"--networks: {name!r} is not compared; known: {', '.join(NETWORKS)}")
        classes, multi_label, usual_batch, usual_frames = NETWORKS[name]
        batches, lengths = _BATCHES.value or [usual_batch], _FRAMES.value or [usual_frames]
        for dtype, *numbers in itertools.product(_DTYPES.value, batches, lengths, _DEVICES.value):
            batch, frames, devices = map(int, numbers)
            yield Case(name, dtype, batch, frames, devices, classes, multi_label, _STEPS.value)


def run(python: str, script: str, case: dict[str, Any]) -> dict[str, Any]:
    """Returns what a script prints of a case; raises UserError with its last words."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(case["devices"])}
    environment["PYTHONPATH"] = str(HERE.parent)
    command = [python, str(HERE / script), json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"{script} failed: {(done.stderr.strip() or 'killed').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(case: Case) -> dict[str, Any]:
    """Returns the case with what came of it: lists of a run a repeat."""
    fields = dataclasses.asdict(case)
    modes = _PEER_MODES.value if _PEER_PYTHON.value and case.devices == 1 else []
    found: dict[str, Any] = {**fields, "ours": [], "peers": {mode: [] for mode in modes}}
    for _ in range(_REPEATS.value):
        found["ours"].append(run(sys.executable, "training_ours.py", fields))
        for mode in modes:
            asked = {**fields, "compiled": mode == "compiled"}
            found["peers"][mode].append(run(_PEER_PYTHON.value, "training_torch.py", asked))
    return found


def middle(runs: Sequence[dict[str, Any]]) -> list[float]:
    """Returns the median step of each run, in seconds."""
    return [statistics.median(run["seconds"]) for run in runs]


def row(found: dict[str, Any]) -> str:
    """Returns a line of the table."""
    ours, batch = middle(found["ours"]), found["batch"]
    first = found["ours"][0]
    rate = batch / statistics.median(ours)
    share = (
        rate
        * first["gflop_a_clip"]
        / statistics.median(run["matrix_gflops"] for run in found["ours"])
    )
    cells = [found["network"], found["dtype"], batch, found["frames"], first["device"]]
    cells += [f"{rate:.1f}", f"{share:.0%}"]
    cells += [f"{statistics.median(run['bytes'] for run in found['ours']) / batch / 1e6:.0f}"]
    if found["peers"]:
        mode, best = min(found["peers"].items(), key=lambda peer: sum(middle(peer[1])))
        ratios = [theirs / own for theirs, own in zip(middle(best), ours, strict=True)]
        memory = statistics.median(run["bytes"] for run in best) / batch / 1e6
        cells += [f"{batch / statistics.median(middle(best)):.1f} ({mode})", f"{memory:.0f}"]
        cells += [f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
    else:
        cells += ["", "", ""]
    return f"| {' | '.join(map(str, cells))} |"


def main(argv: Sequence[str]) -> None:
    """Measures every case, prints the table, writes the file."""
    print(
        "| network | type | batch | frames | device | ours, clips/s | of matrix rate | MB a clip "
        "| PyTorch, clips/s | MB a clip | ours / PyTorch |\n" + "| --- " * 11 + "|"
    )
    measured = []
    try:
        for case in cases():
            measured.append(measure(case))
            print(row(measured[-1]), flush=True)
            with replacing(Path(_OUTPUT.value)) as temporary:
                temporary.write_text(json.dumps(measured, indent=1) + "\n")
    except UserError as error:
        sys.exit(f"train_speed: {error}")
    log.info("wrote %s", _OUTPUT.value)


if __name__ == "__main__":
    app.run(main)

"""Times the stages up to the first result; `startup_speed.py` runs it in a new process.

    startup_stages.py predict START SONG
    startup_stages.py train START --config=... --data_dir=... --config.store_dir=...

START: `time.time()` at the start of the process. Prints one JSON object: the seconds of each stage,
by name, in order. The stages are those of the real commands, but run one after the other: the
commands overlap reading with inference or training.
"""

import time

START = time.time()  # before any other import

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

Stage = tuple[str, float]  # name and end time


def predict(song: Path) -> Iterator[Stage]:
    """Yields the stages of `--mode=predict` with the shipped weights."""
    import jax
    import numpy as np

    from deepgenre import devices
    from deepgenre.cli import flags
    from deepgenre.inference import infer, predict, windows
    from deepgenre.weights import loading

    assert predict  # imported because the mode imports it
    yield "imports", time.time()
    devices.set_up()
    jax.devices()
    yield "backend", time.time()
    weights = loading.load(flags.SHIPPED)
    score = infer.compile_infer_batch(weights)
    yield "weights", time.time()
    pieces = windows.file_windows(song, [weights.spec])
    levels = [window for _, piece in pieces for window in piece.levels]
    yield "song to windows", time.time()
    jax.block_until_ready(score(np.stack(levels)))
    yield "compile and run", time.time()
    jax.block_until_ready(score(np.stack(levels)))
    yield "run again", time.time()


def train(arguments: list[str]) -> Iterator[Stage]:
    """Yields the stages of a run up to its first step; the store must be prepared."""
    import jax

    from deepgenre import devices, main
    from deepgenre.cli import values
    from deepgenre.data import prepare
    from deepgenre.data.store import Records
    from deepgenre.training import initialization, loop, optimizer, plan, train
    from deepgenre.training.step import compile_train_step
    from deepgenre.weights.checkpoint import Checkpoints

    assert train  # imported because the mode imports it
    yield "imports", time.time()
    main.parse_flags(["startup_stages", *arguments])
    config = values.config()
    devices.set_up()
    jax.devices()
    yield "config and backend", time.time()
    planned = plan.make_plan(config, prepare.prepare(config, values.data_dir(config)))
    yield "store and split", time.time()
    schedule = optimizer.make_schedule(config, planned.steps_per_epoch, planned.total_steps)
    tx = optimizer.make_optimizer(config, schedule)
    with Checkpoints(values.workdir()) as checkpoints:
        state, tx = initialization.starting_state(
            planned, config, tx, checkpoints, values.workdir()
        )
    jax.block_until_ready(state)
    yield "initial weights", time.time()
    records = Records(planned.store, planned.parts["train"], planned.spec.frontend.stored_dtype)
    batches = loop._batches(planned, config, 0, records, None)
    batch = next(batches)
    yield "first batch", time.time()
    step = compile_train_step(planned.spec, tx, loop.recipe_of(config), num_devices=1)
    state, _ = jax.block_until_ready(step(state, batch))
    yield "compile and step", time.time()
    jax.block_until_ready(step(state, batch))
    yield "step again", time.time()
    batches.close()


def main() -> None:
    """Runs the command line."""
    command, process_start, *arguments = sys.argv[1:]
    sys.argv[1:] = arguments  # ml_collections looks for overrides here
    stages = predict(Path(arguments[0])) if command == "predict" else train(arguments)
    seconds, previous = {"python": START - float(process_start)}, START
    for name, end in stages:
        seconds[name], previous = end - previous, end
    print("\n" + json.dumps(seconds))


if __name__ == "__main__":
    main()

"""The way to a first result taken apart, for `startup_speed.py`, which runs it as a fresh process.

    startup_stages.py predict START SONG
    startup_stages.py train START --config=... --data_dir=... --config.store_dir=...

START: what `time.time()` said when the process was started. Prints one JSON object: the seconds
that each stage took, by its name, in their order. The stages are those of the real commands, one
after the other: the commands themselves overlap reading with the network's work.
"""

import time

BEGUN = time.time()  # before anything is imported

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

Stage = tuple[str, float]  # name, and when it ended


def predict(song: Path) -> Iterator[Stage]:
    """Yields the stages of `--mode=predict` with the shipped weights."""
    import jax
    import numpy as np

    from deepgenre import devices
    from deepgenre.cli import flags
    from deepgenre.inference import infer, predict, windows
    from deepgenre.weights import loading

    assert predict  # what the mode imports
    yield "imports", time.time()
    devices.set_up(None, 1, 0)
    jax.devices()
    yield "backend", time.time()
    weights = loading.load(flags.SHIPPED)
    score = infer.scorer(weights)
    yield "weights", time.time()
    levels = [window for _, cut in windows.windows(song, weights.spec) for window in cut]
    yield "song to windows", time.time()
    jax.block_until_ready(score(np.stack(levels)))
    yield "compile and run", time.time()
    jax.block_until_ready(score(np.stack(levels)))
    yield "run again", time.time()


def train(arguments: list[str]) -> Iterator[Stage]:
    """Yields the stages of a run until its first step is done; the store must be prepared."""
    import jax

    from deepgenre import devices, main
    from deepgenre.cli import flags
    from deepgenre.data import prepare
    from deepgenre.training import initialization, loop, optimizer, plan, train
    from deepgenre.training.step import compile_train_step
    from deepgenre.weights.checkpoint import Checkpoints

    assert train  # what the mode imports
    yield "imports", time.time()
    main._parse_flags(["startup_stages", *arguments])
    config = flags.config()
    devices.set_up(None, 1, 0)
    jax.devices()
    yield "config and backend", time.time()
    planned = plan.make_plan(config, prepare.prepare(config, flags.data_dir(config)))
    yield "store and split", time.time()
    schedule = optimizer.make_schedule(config, planned.steps_per_epoch, planned.total_steps)
    tx = optimizer.make_optimizer(config, schedule)
    with Checkpoints(flags.workdir()) as checkpoints:
        state, tx = initialization.first_state(planned, config, tx, checkpoints)
    jax.block_until_ready(state)
    yield "initial weights", time.time()
    batches = loop._batches(planned, config, 0)
    batch = next(batches)
    yield "first batch", time.time()
    step = compile_train_step(planned.spec, tx, loop.recipe_of(config), num_devices=1)
    state, _ = jax.block_until_ready(step(state, batch))
    yield "compile and step", time.time()
    jax.block_until_ready(step(state, batch))
    yield "step again", time.time()
    batches.close()


def main() -> None:
    """Does what the command line asks for."""
    what, started, *others = sys.argv[1:]
    sys.argv[1:] = others  # where ml_collections looks for overrides
    stages = predict(Path(others[0])) if what == "predict" else train(others)
    seconds, before = {"python": BEGUN - float(started)}, BEGUN
    for name, ended in stages:
        seconds[name], before = ended - before, ended
    print("\n" + json.dumps(seconds))


if __name__ == "__main__":
    main()

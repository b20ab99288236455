"""Two real processes train together what one process trains on two devices."""

import json
import socket
from pathlib import Path

import jax
import numpy as np
import tiny

from deepgenre import checkpoint


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_train_as_one(tmp_path: Path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=8, seconds=2.0)
    # SGD: Adam divides by the gradient's size, and so makes much of rounding where it is near zero.
    run = tiny.settings(
        music, "--config.optimizer=sgd", "--config.learning_rate=0.01", "--config.num_epochs=1"
    )
    alone = tiny.start(*run, f"--workdir={tmp_path / 'alone'}", cwd=tmp_path, num_devices=2)
    code, output, _ = tiny.finish(alone)
    assert code == 0
    port = free_port()
    together = [
        tiny.start(
            *run,
            f"--workdir={tmp_path / 'together'}",
            f"--coordinator_address=127.0.0.1:{port}",
            "--num_processes=2",
            f"--process_id={number}",
            cwd=tmp_path,
        )
        for number in range(2)
    ]
    (code_0, output_0, _), (code_1, output_1, _) = [tiny.finish(one) for one in together]
    assert (code_0, code_1) == (0, 0)
    # Gloo says hello on standard output before; the metrics are the last line, of one process.
    assert "best_step" in json.loads(output.splitlines()[-1])
    assert "best_step" in json.loads(output_0.splitlines()[-1])
    assert "best_step" not in output_1
    one, two = checkpoint.restore(tmp_path / "alone"), checkpoint.restore(tmp_path / "together")
    assert one.step == two.step
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one.variables, two.variables
    )

"""Two processes train the same weights as one process with two devices."""

import json
import signal
import socket
import time
from pathlib import Path

import jax
import numpy as np
import tiny

from deepgenre.log import read_metrics
from deepgenre.weights import checkpoint


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_two(run: list[str], folder: Path):
    together = [
        *run,
        f"--workdir={folder / 'together'}",
        f"--coordinator_address=127.0.0.1:{free_port()}",
        "--num_processes=2",
    ]
    return [tiny.start(*together, f"--process_id={number}", cwd=folder) for number in range(2)]


def test_two_processes_stop_resume_and_train_as_one(tones: Path, tmp_path: Path):
    # SGD: Adam divides by the gradient's magnitude, which amplifies rounding of small gradients.
    run = tiny.settings(
        tones, "--config.optimizer=sgd", "--config.learning_rate=0.001", "--config.num_epochs=8"
    )
    processes = start_two(run, tmp_path)
    while not list((tmp_path / "together" / "checkpoints").glob("[0-9]*")):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGTERM)
    stopped = [tiny.finish(process) for process in processes]
    assert [code for code, _, _ in stopped] == [0, 0]
    messages = {errors.splitlines()[-1] for _, _, errors in stopped}
    (message,) = messages  # both stopped at the same step
    assert message.startswith("deepgenre: stopped at step ")

    (code_0, output_0, errors_0), (code_1, output_1, _) = map(tiny.finish, start_two(run, tmp_path))
    assert (code_0, code_1) == (0, 0)
    assert "resumed at step" in errors_0
    assert json.loads(output_0.splitlines()[-1])["last_epoch"]["step"] == 24
    assert "{" not in output_1  # only process 0 prints the report; Gloo may log

    alone = tiny.start(*run, f"--workdir={tmp_path / 'alone'}", cwd=tmp_path, num_devices=2)
    assert tiny.finish(alone)[0] == 0
    one, two = (
        checkpoint.restore(tmp_path / name / "checkpoints" / "24") for name in ("alone", "together")
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one.variables, two.variables
    )
    lines = [(line["step"], line["split"]) for line in read_metrics(tmp_path / "together")]
    assert lines == [
        (line["step"], line["split"]) for line in read_metrics(tmp_path / "alone")
    ]  # written by one process only

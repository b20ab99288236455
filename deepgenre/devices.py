"""Devices: set-up, and how a batch is divided among them and among processes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from deepgenre.errors import UserError

PyTree = TypeVar("PyTree")
Number = TypeVar("Number", int, jax.Array)

COUNT_GPUS = "import jax; print(jax.local_device_count() if jax.default_backend() == 'gpu' else 0)"
AXIS = "devices"  # name of the mapped axis over which gradients and batch norm are averaged


def set_up() -> None:
    """Turns the persistent compile cache on."""
    jax.config.update("jax_compilation_cache_dir", str(compile_cache()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def compile_cache() -> Path:
    """Returns the folder of compiled code that later runs reuse."""
    default = Path.home() / ".cache" / "deepgenre" / "compiled"
    return Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or default)


def check_batch_size(batch_size: int, batch_shares: int = 0, *, devices: int = 0) -> None:
    """Raises UserError unless the batch can be divided among its shares and devices (0: all)."""
    devices = devices or jax.device_count()
    if batch_shares < 0 or batch_shares % devices:
        raise UserError(
            f"config.batch_shares: {batch_shares} shares cannot be divided among {devices} "
            f"devices; choose a multiple of {devices}, or 0 for one share per device"
        )
    shares = batch_shares or devices
    if batch_size < 1 or batch_size % shares:
        what = f"{shares} shares" if batch_shares else f"{devices} devices"
        raise UserError(
            f"config.batch_size: {batch_size} cannot be divided among {what}; choose a multiple "
            f"of {shares}"
        )


def shard(batch: dict[str, np.ndarray], num_local_devices: int) -> dict[str, np.ndarray]:
    """Returns (clips, ...) arrays as (num_local_devices, clips / num_local_devices, ...).

    Device d gets every num_local_devices-th clip from d on, as processes divide clips as well.
    """
    return {
        name: array.reshape(-1, num_local_devices, *array.shape[1:]).swapaxes(0, 1)
        for name, array in batch.items()
    }


def share_of_batch(position: Number) -> Number:
    """Returns the share of the global batch that the device at `position` of AXIS holds.

    Share s is every n-th clip from s on, for n devices in all: the random numbers of a share do not
    depend on how devices are distributed over processes.
    """
    local = jax.local_device_count()
    return (position % local) * jax.process_count() + position // local


def replicate(tree: PyTree) -> PyTree:
    """Returns the tree with a copy on each of this process's devices, laid out as `pmap` does it.

    A `pmap` that first gets any other layout is traced and compiled again for its own output.
    """
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def gpus_to_share() -> list[str]:
    """Returns this machine's GPUs, as CUDA_VISIBLE_DEVICES names them; [] where JAX uses none.

    Another process counts them: this one leaves them alone, so that others can use them.
    """
    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if not any(map(importlib.util.find_spec, plugins)) or platforms == "cpu":
        return []
    count = subprocess.run(
        [sys.executable, "-c", COUNT_GPUS], capture_output=True, text=True, check=False,
        env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    )  # fmt: skip
    number = int(count.stdout.split()[-1]) if count.returncode == 0 else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[:number] if visible else [*map(str, range(number))]


def is_main_process() -> bool:
    """Whether this process is the one that writes files and messages."""
    # Alone, the index would be known after the start of the devices only.
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns when every process has reached the barrier of this name."""
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def gather_rows(rows: np.ndarray, total: int) -> np.ndarray:
    """Returns the rows of all processes, (total, ...), in all of them.

    rows: of n processes, each has every n-th row from its index on.
    """
    count = jax.process_count()
    if count == 1:
        return rows
    from jax.experimental import multihost_utils

    missing = -(-total // count) - len(rows)  # 1 in the last processes, if count divides not
    padded = np.pad(rows, ((0, missing), *[(0, 0)] * (rows.ndim - 1)))
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    return gathered.swapaxes(0, 1).reshape(-1, *rows.shape[1:])[:total]

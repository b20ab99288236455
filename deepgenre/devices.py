"""Devices and processes: how many there are, and how a batch is laid over them."""

import os
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from deepgenre.errors import UserError

PyTree = TypeVar("PyTree")

AXIS = "devices"  # name of the mapped axis over which gradients and batch norm are averaged


def set_up(coordinator_address: str | None, num_processes: int, process_id: int) -> None:
    """Joins the other processes, if any, and turns the persistent compile cache on."""
    if num_processes > 1:
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(
        Path.home() / ".cache" / "deepgenre" / "compiled"
    )
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def check_batch_size(batch_size: int) -> None:
    """Raises UserError unless the batch divides over all devices."""
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        raise UserError(
            f"config.batch_size: {batch_size} does not divide over {devices} devices; "
            f"take a multiple of {devices}"
        )


def shard(batch: dict[str, np.ndarray], num_local_devices: int) -> dict[str, np.ndarray]:
    """Returns (clips, ...) arrays as (num_local_devices, clips / num_local_devices, ...)."""
    return {
        name: array.reshape(num_local_devices, -1, *array.shape[1:])
        for name, array in batch.items()
    }


def replicate(tree: PyTree) -> PyTree:
    """Returns the tree with a copy on each of this process's devices, laid out as `pmap` does it.

    A `pmap` that is first given anything else is traced and compiled again for its own output.
    """
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def is_main_process() -> bool:
    """Whether this process is the one that writes files and talks."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns when every process has come to the point of this name."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)

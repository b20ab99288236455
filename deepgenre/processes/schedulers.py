"""Which processes belong to a run: flags, and the environment variables of schedulers.

Variables: https://slurm.schedmd.com/srun.html (output environment variables),
https://docs.open-mpi.org (OMPI_COMM_WORLD_*), https://kubernetes.io/docs/concepts/workloads/
controllers/job (indexed jobs). The address of process 0 is found by jax.distributed.
"""

import dataclasses
from collections.abc import Mapping

from deepgenre.errors import UserError

JAX_ADDRESS = "JAX_COORDINATOR_ADDRESS"  # a variable that JAX reads


@dataclasses.dataclass(frozen=True)
class Group:
    """What is known about the processes of a run; None: not given, or left to JAX."""

    coordinator_address: str | None = None  # host:port of process 0
    num_processes: int | None = None
    process_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """The variables in which a scheduler tells a process its place."""

    index: str
    count: str = ""  # '': not told


# Slurm: of the job step, which in a batch script without srun has one task.
SCHEDULERS = {
    "Slurm": Scheduler("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    "Open MPI": Scheduler("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "Kubernetes": Scheduler("JOB_COMPLETION_INDEX"),
}


def find(given: Group, environment: Mapping[str, str]) -> Group | None:
    """Returns the processes of this run; None where this is the only one.

    Flags come before variables of schedulers. Raises UserError where they do not suffice or
    contradict each other.
    """
    if given.num_processes is not None and given.num_processes < 1:
        raise UserError(f"--num_processes: must be 1 or more, is {given.num_processes}")
    for name, scheduler in SCHEDULERS.items():
        if scheduler.index in environment:
            found = _found(name, scheduler, environment)
            break
    else:
        name, found = "", Group()
    group = Group(
        given.coordinator_address or environment.get(JAX_ADDRESS),
        found.num_processes if given.num_processes is None else given.num_processes,
        found.process_id if given.process_id is None else given.process_id,
    )
    if given == Group() and (group.num_processes or 1) == 1:
        return None  # also of an indexed job of Kubernetes, whose pods may be runs of their own
    _check(group, given, name)
    return None if group.num_processes == 1 else group


def _found(name: str, scheduler: Scheduler, environment: Mapping[str, str]) -> Group:
    numbers = []
    for variable in (scheduler.count, scheduler.index):
        text = environment.get(variable, "")
        if text and not text.isdecimal():
            raise UserError(f"{variable}: {name} sets a number here, not {text!r}")
        numbers.append(int(text) if text else None)
    return Group(None, *numbers)


def _check(group: Group, given: Group, scheduler: str) -> None:
    count, index = group.num_processes, group.process_id
    if count is None:
        raise UserError("--num_processes: give the number of processes as well")
    if count == 1 and given.process_id is None:
        return
    if index is None:
        raise UserError(f"--process_id: give the index of this process, 0 to {count - 1}")
    if not 0 <= index < count:
        raise UserError(f"--process_id: must be 0 to {count - 1}, is {index}")
    address = group.coordinator_address
    if address is None and scheduler:
        return  # found by JAX
    if count > 1 and not (address or "").rpartition(":")[2].isdecimal():
        raise UserError(
            f"--coordinator_address: {count} processes need host:port of process 0, not {address!r}"
        )

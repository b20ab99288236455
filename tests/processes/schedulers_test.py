"""The processes of a run, by flags and by pretended variables of schedulers."""

import jax
import pytest

from deepgenre import processes
from deepgenre.errors import UserError
from deepgenre.processes import schedulers
from deepgenre.processes.schedulers import Group

SLURM = {
    "SLURM_JOB_ID": "4242",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "node[003-006]",
    "SLURM_STEP_NUM_NODES": "4",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "3",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
ADDRESS = "host:1234"


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (Group(), {}, None),
        (Group(num_processes=1), {}, None),
        (Group(), SLURM, Group(None, 4, 2)),
        (Group(), OPEN_MPI, Group(None, 3, 1)),
        # In a batch script without srun, and in a step of one task.
        (Group(), SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),
        (Group(), {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),
        (Group(), OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, None),
        (Group(), KUBERNETES, None),  # pods may be runs of their own
        (Group(ADDRESS, 2), KUBERNETES, Group(ADDRESS, 2, 1)),
        (Group(None, 2), KUBERNETES | {schedulers.JAX_ADDRESS: ADDRESS}, Group(ADDRESS, 2, 1)),
        (Group(ADDRESS, 2, 0), SLURM, Group(ADDRESS, 2, 0)),  # flags come first
        (Group(num_processes=1), SLURM, None),
        (Group(ADDRESS), OPEN_MPI, Group(ADDRESS, 3, 1)),
    ],
)
def test_flags_come_before_variables(given, environment, expected):
    assert schedulers.find(given, environment) == expected


@pytest.mark.parametrize(
    ("given", "environment", "message"),
    [
        (Group(num_processes=0), {}, "--num_processes: must be 1 or more"),
        (Group(ADDRESS), {}, "--num_processes: give the number"),
        (Group(process_id=1), {}, "--num_processes: give the number"),
        (Group(ADDRESS, 2), {}, "--process_id: give the index of this process, 0 to 1"),
        (Group(ADDRESS, 2, 2), {}, "--process_id: must be 0 to 1, is 2"),
        (Group(ADDRESS, 1, 1), {}, "--process_id: must be 0 to 0, is 1"),
        (Group(None, 2, 0), {}, "--coordinator_address: 2 processes need host:port"),
        (Group("host", 2, 0), {}, "--coordinator_address: 2 processes need host:port"),
        (Group(num_processes=2), SLURM, "--process_id: must be 0 to 1, is 2"),
        (Group(), SLURM | {"SLURM_PROCID": "x"}, "SLURM_PROCID: Slurm sets a number here"),
    ],
)
def test_what_does_not_suffice_is_named(given, environment, message):
    with pytest.raises(UserError, match=message):
        schedulers.find(given, environment)


@pytest.mark.parametrize(
    ("environment", "address", "count", "index"),
    [(SLURM, "node003:", 4, 2), (OPEN_MPI, "10.96.0.1:", 3, 1)],
)
def test_jax_finds_the_address_from_the_same_variables(
    environment, address, count, index, monkeypatch
):
    """What JAX connects to, in place of connecting."""
    from jax._src import clusters

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked = {}

    def initialize(coordinator_address, num_processes, process_id, **options):
        asked["found"] = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            coordinator_address, num_processes, process_id, None, None, None
        )
        asked["heartbeat"] = options["heartbeat_timeout_seconds"]
        raise RuntimeError("no connection")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(processes.native_messages, "filter_from_now", lambda line: None)
    monkeypatch.setattr(processes.atexit, "register", lambda *action: None)
    with (
        pytest.raises(UserError, match=f"process {index} of {count} could not join the others"),
        processes.joined(Group(), 30),
    ):
        pass
    assert asked["found"][0].startswith(address)
    assert asked["found"][1:3] == (count, index)
    assert asked["heartbeat"] == 30


def test_heartbeat_has_a_lower_bound():
    with (
        pytest.raises(UserError, match="--heartbeat_seconds: must be 5 or more"),
        processes.joined(Group(ADDRESS, 2, 0), 1),
    ):
        pass

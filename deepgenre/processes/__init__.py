"""Processes that train together: joining them, and ending when another of them has ended."""

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax

from deepgenre import devices, interrupt, log
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.processes import native_messages, schedulers
from deepgenre.processes.schedulers import Group

LEAST_HEARTBEAT_SECONDS = 5
GRACE_SECONDS = 2.0  # in which other processes can report the mistake that this one reports
# Of collectives and of the coordination service, in messages of JAX's exceptions.
SIGNS_OF_OTHERS = ("Gloo", "NCCL", "oordination service", "oordinationService", "heartbeat")
LOST = (
    "another process of this run has ended, hangs, or cannot be reached; the same command, with "
    "any number of processes, resumes from the last checkpoint"
)


@contextlib.contextmanager
def joined(given: Group, heartbeat_seconds: int) -> Iterator[None]:
    """Joins the other processes of the run, if flags or a scheduler state that there are some.

    given: of the flags. heartbeat_seconds: silence after which a process counts as ended.

    Raises UserError where flags contradict each other or the scheduler, or the processes do not
    find each other. When another process ends while the block runs, this one ends with the line
    `LOST` and exit code 1, or, from the C++ runtime, SIGABRT. A process that fails ends without
    waiting for the others, which then end in this way.
    """
    group = schedulers.find(given, os.environ)
    if group is None:
        yield
        return
    if heartbeat_seconds < LEAST_HEARTBEAT_SECONDS:
        raise UserError(
            f"--heartbeat_seconds: must be {LEAST_HEARTBEAT_SECONDS} or more, is "
            f"{heartbeat_seconds}"
        )
    native_messages.filter_from_now(f"deepgenre: {LOST}")
    started = False
    try:
        _join(group, heartbeat_seconds)
        started = True
        yield
    except InterruptedRunError:  # all stop at the same step
        raise
    except BaseException as error:
        if started and is_of_others(error):
            native_messages.report()  # unless the runtime does so at this moment
            _leave(1, 0.0)
        native_messages.be_silent()
        stopped = isinstance(error, KeyboardInterrupt)
        atexit.register(_leave, interrupt.STOPPED if stopped else 1, GRACE_SECONDS)
        raise


def is_of_others(error: BaseException | None) -> bool:
    """Returns whether an error, or one that caused it, states that another process is gone."""
    while error is not None:
        text = str(error)
        if not isinstance(error, UserError) and any(sign in text for sign in SIGNS_OF_OTHERS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _join(group: Group, heartbeat_seconds: int) -> None:
    options: dict[str, Any] = {"heartbeat_timeout_seconds": heartbeat_seconds}
    try:
        jax.distributed.initialize(
            group.coordinator_address, group.num_processes, group.process_id, **options
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--coordinator_address: process {group.process_id} of {group.num_processes} could not "
            f"join the others ({' '.join(str(error).split())[:200]}); give HOST:PORT of process 0, "
            "a port that is free there and that the others reach"
        ) from error
    interrupt.leave_termination_to_jax()
    if not devices.is_main_process():
        log.set_quiet(True)  # warnings stay
    devices.wait_for_all("started")  # the first barrier times out after 30 s


def _leave(code: int, after_seconds: float) -> None:
    """Ends this process without JAX's shutdown, which waits for the others for minutes."""
    time.sleep(after_seconds)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # it is closed
            stream.flush()
    os._exit(code)

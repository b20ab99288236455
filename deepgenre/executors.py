"""Executors of shards of work: processes of this machine, or an existing cluster of Dask."""

import concurrent.futures
import contextlib
import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from threadpoolctl import threadpool_limits

import deepgenre
from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.interrupt import end_with_parent, unseen_by_children

SCHEME = "dask://"
CONNECT_SECONDS = 30
WORKERS_SECONDS = 120  # a scheduler may start workers on demand


class _StopEvent(Protocol):
    """An event of threads or of processes."""

    def is_set(self) -> bool: ...

    def set(self) -> None: ...


_stopping: _StopEvent = threading.Event()  # of the pool in which this process is


def stopping() -> bool:
    """Returns whether the pool in which this process works is to stop: tasks end early."""
    return _stopping.is_set()


@contextlib.contextmanager
def local(num_workers: int, num_tasks: int) -> Iterator[concurrent.futures.Executor]:
    """Yields a pool of processes, or of one thread if one process is enough.

    num_workers: -1 means one per core. Workers are spawned, not forked: JAX is multithreaded.
    """
    num_processes = min(os.cpu_count() or 1, num_tasks) if num_workers < 0 else num_workers
    if num_processes <= 1 or num_tasks <= 1:
        stop = threading.Event()
        _set_stop_event(stop)
        pool = concurrent.futures.ThreadPoolExecutor(1)
    else:
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        pool = _ProcessPool(num_processes, context, _start_worker, (stop,))
    with pool:
        try:
            yield pool
        except BaseException:
            stop.set()  # tasks end early
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _ProcessPool(concurrent.futures.ProcessPoolExecutor):
    """A pool whose processes, which start when tasks are submitted, never receive Ctrl-C."""

    def submit(self, *task: Any, **options: Any) -> Future[Any]:
        with unseen_by_children():
            return super().submit(*task, **options)


def _start_worker(stop: _StopEvent) -> None:
    _set_stop_event(stop)
    end_with_parent()
    threadpool_limits(1)  # with one process per core, more threads would compete for cores


def _set_stop_event(stop: _StopEvent) -> None:
    global _stopping
    _stopping = stop


@contextlib.contextmanager
def cluster(address: str, places: Sequence[Path]) -> Iterator[concurrent.futures.Executor]:
    """Yields the executor of an existing cluster, dask://HOST:PORT of its scheduler.

    Tasks of a worker that dies run on another one; after three deaths, the task fails. places:
    that all workers must see under the same absolute path.

    Raises UserError where the cluster cannot be reached, has no workers, or one of them lacks this
    version of deepgenre or a place.
    """
    host, _, port = address.removeprefix(SCHEME).rpartition(":")
    if not address.startswith(SCHEME) or not host or not port.isdecimal():
        raise UserError(f"--cluster: must be {SCHEME}HOST:PORT of a scheduler, is {address!r}")
    try:
        import distributed
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise UserError("--cluster: needs Dask; pip install 'deepgenre[dask]'") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are raised as well
    try:
        client = distributed.Client(f"tcp://{host}:{port}", timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise UserError(
            f"--cluster: no scheduler of Dask answers at {host}:{port} ({_one_line(error)})"
        ) from error
    with client:
        _check_workers(client, address, [place.absolute() for place in places])
        pool = client.get_executor(pure=False)
        try:
            yield pool
        except (KilledWorker, concurrent.futures.CancelledError) as error:
            raise UserError(
                f"--cluster: a task has ended several workers of {address}, or its scheduler is "
                f"gone ({_one_line(error)}); what is finished is kept, the same command continues"
            ) from error
        finally:
            pool.shutdown(wait=False)  # what has not started never does


def _check_workers(client: Any, address: str, places: Sequence[Path]) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError as error:
        raise UserError(f"--cluster: {address} has no workers; start dask worker") from error
    try:
        answers = client.run(_look_around, places)
    except Exception as error:  # of the worker, e.g. an import that fails there
        raise UserError(
            f"--cluster: a worker of {address} cannot run deepgenre {deepgenre.__version__} "
            f"({_one_line(error)}); install the same version there"
        ) from error
    for host, version, absent in answers.values():
        if version != deepgenre.__version__:
            raise UserError(
                f"--cluster: worker on {host} has deepgenre {version}, this is "
                f"{deepgenre.__version__}; install the same version there"
            )
        if absent:
            raise UserError(
                f"--cluster: worker on {host} does not see {absent[0]}; all machines need the "
                "same files under the same path"
            )
    log.info("cluster: %d workers at %s", len(answers), address)


def _look_around(places: Sequence[Path]) -> tuple[str, str, list[Path]]:
    """Returns a worker's host, version of deepgenre, and the places that it does not see."""
    absent = [place for place in places if not place.exists()]
    return socket.gethostname(), deepgenre.__version__, absent


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]

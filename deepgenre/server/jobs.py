"""The queue of requests before the worker process, and the life of that process."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from deepgenre import interrupt, log
from deepgenre.errors import UserError
from deepgenre.server.job import LASTING, Job
from deepgenre.server.settings import Settings

CANCEL_SECONDS = 10.0  # after which a worker that does not end a cancelled job is killed
START_SECONDS = 300.0  # weights are compiled the first time
Progress = Callable[[dict[str, Any]], None]
Target = Callable[[Connection, Any, Settings], None]  # what a worker process runs: `worker.run`


class RefusedError(Exception):
    """A request that gets no result: the HTTP status, and a sentence for the user."""

    def __init__(self, status: int, sentence: str) -> None:
        """The sentence says what is wrong, and what to do."""
        super().__init__(sentence)
        self.status = status


class _Process:
    """One worker process; its messages arrive in a queue of the event loop, None at its end."""

    def __init__(self, settings: Settings, target: Target) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self.cancelled = context.Event()
        arguments = (other, self.cancelled, settings)
        self._process = context.Process(target=target, args=arguments, name="deepgenre-worker")
        with interrupt.unseen_by_children():
            self._process.start()
        other.close()
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        arguments = (self._connection, loop, self.messages)
        threading.Thread(target=_forward, args=arguments, daemon=True).start()

    def send(self, job: Job) -> None:
        self.cancelled.clear()
        self._connection.send(job)

    def kill(self) -> None:
        assert self._process.pid
        for kill in (os.killpg, os.kill):  # no group of its own yet: it has just been started
            try:
                kill(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.join()


def _forward(
    connection: Connection, loop: asyncio.AbstractEventLoop, messages: asyncio.Queue[Any]
) -> None:
    """Puts the messages of a connection into a queue until it is closed; runs in a thread."""
    try:
        while True:
            message: Any = None
            try:
                message = connection.recv()
            except (EOFError, OSError):
                return
            finally:
                loop.call_soon_threadsafe(messages.put_nowait, message)
    except RuntimeError:  # the loop is closed: the server has ended
        return


class Jobs:
    """Gives one job at a time to the worker, in the order in which they came."""

    def __init__(self, settings: Settings, target: Target) -> None:
        """Starts nothing yet, see `start`."""
        self._settings, self._target = settings, target
        self._turn = asyncio.Lock()
        self._process: _Process | None = None
        self._ending: asyncio.Task[None] | None = None
        self.waiting = 0

    async def start(self) -> dict[str, Any]:
        """Starts the worker; returns what it says of the weights, see `worker.describe`.

        Raises UserError where they cannot be loaded.
        """
        self._process = _Process(self._settings, self._target)
        try:
            async with asyncio.timeout(START_SECONDS):
                message = await self._process.messages.get()
        except TimeoutError as error:
            self.stop()
            raise UserError(
                f"the weights were not ready within {START_SECONDS:g} seconds; is the machine busy?"
            ) from error
        except asyncio.CancelledError:  # by who waits for a worker that is started again
            self.stop()
            raise
        if message is None or message[0] == "failed":
            self.stop()
            raise UserError(message[1] if message else "the worker process did not start")
        return message[1]

    def stop(self) -> None:
        """Kills the worker."""
        if self._process:
            self._process.kill()
        self._process = None

    async def run(self, job: Job, progress: Progress = lambda value: None) -> dict[str, Any]:
        """Returns the result of a job; cancelled with the task that awaits it, unless LASTING.

        Raises RefusedError where too many wait, the job fails, or takes too long.
        """
        if self.waiting >= self._settings.limits.waiting_jobs:
            raise RefusedError(503, "The server is busy; try again in a minute.")
        if job.kind in LASTING:
            return await asyncio.shield(asyncio.ensure_future(self._queued(job, progress)))
        return await self._queued(job, progress)

    async def _queued(self, job: Job, progress: Progress) -> dict[str, Any]:
        self.waiting += 1
        try:
            progress({"stage": "waiting", "ahead": self.waiting - 1})
            async with self._turn:
                return await self._run(job, progress)
        finally:
            self.waiting -= 1

    async def _run(self, job: Job, progress: Progress) -> dict[str, Any]:
        if self._ending:
            await asyncio.shield(self._ending)
        if self._process is None:
            try:
                await self.start()
            except UserError as error:
                raise RefusedError(500, f"The worker does not start: {error}") from error
        assert self._process
        try:
            self._process.send(job)
            async with asyncio.timeout(self._settings.limits.job_seconds):
                return await self._result(self._process, progress)
        except TimeoutError as error:
            self.stop()
            limit = self._settings.limits.job_seconds
            raise RefusedError(
                422, f"This takes longer than {limit:g} seconds; use a shorter song."
            ) from error
        except (EOFError, BrokenPipeError) as error:
            self.stop()
            log.warning("the worker process ended while it read a file, and is started again")
            raise RefusedError(
                422, "The decoder failed on this file; export it again in another format."
            ) from error
        except asyncio.CancelledError:
            self._ending = asyncio.create_task(self._cancel(self._process))
            raise

    async def _result(self, process: _Process, progress: Progress) -> dict[str, Any]:
        while True:
            message = await process.messages.get()
            if message is None:
                raise EOFError
            kind, value = message
            if kind == "progress":
                progress(value)
            elif kind == "result":
                return value
            elif kind == "error":
                raise RefusedError(422, sentence(value))
            else:
                raise RefusedError(500, "An error of the program; its terminal shows the details.")

    async def _cancel(self, process: _Process) -> None:
        """Waits until the worker has ended a job, or kills it."""
        process.cancelled.set()
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._result(process, lambda value: None)
        except RefusedError:
            pass
        except (TimeoutError, EOFError):
            self.stop()
        self._ending = None


def sentence(message: str) -> str:
    """Returns a message of the program, which begins where the name of the file was, as one."""
    if message.startswith(("is ", "has ", "contains ", "changed ", "cannot ", "does ", "its ")):
        message = f"The file {message}"
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."

"""The queue before the worker: crashes, hangs and closed connections cost one request only."""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import misbehaving
import pytest

from deepgenre.server.job import Job
from deepgenre.server.jobs import Jobs, RefusedError, sentence
from deepgenre.server.settings import Limits, Settings

LIMITS = Limits(job_seconds=0.7, waiting_jobs=3)


@pytest.fixture
def run() -> Callable[..., Any]:
    """Returns what runs a test's coroutine with a queue whose worker misbehaves."""

    def run(test: Callable[[Jobs], Awaitable[Any]], **changes: Any) -> Any:
        async def whole() -> Any:
            limits = dataclasses.replace(LIMITS, **changes)
            queue = Jobs(Settings({"tiny": ["tiny"]}, limits=limits), misbehaving.run)
            await queue.start()
            try:
                return await test(queue)
            finally:
                queue.stop()

        return asyncio.run(whole())

    return run


def job(kind: str, path: Path = Path("song"), **options: Any) -> Job:
    return Job(kind, path, "tiny", options)


async def refused(work: Awaitable[Any]) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        await work
    return found.value


def test_results_and_progress_come_in_order(run):
    async def test(queue: Jobs) -> None:
        seen: list[Any] = []
        many = [queue.run(job("echo", number=n), seen.append) for n in range(3)]
        assert [found["number"] for found in await asyncio.gather(*many)] == [0, 1, 2]
        assert [one["ahead"] for one in seen if one["stage"] == "waiting"] == [0, 1, 2]
        assert len([one for one in seen if one["stage"] == "decoding"]) == 3

    run(test)


def test_a_crash_and_a_hang_fail_one_request_each(run):
    async def test(queue: Jobs) -> None:
        first = (await queue.run(job("echo")))["process"]
        crash, after = queue.run(job("crash")), queue.run(job("echo"))
        outcomes = await asyncio.gather(crash, after, return_exceptions=True)
        assert isinstance(outcomes[0], RefusedError) and outcomes[0].status == 422
        assert isinstance(outcomes[1], dict) and outcomes[1]["process"] != first
        started = time.monotonic()
        found = await refused(queue.run(job("hang")))
        assert found.status == 422 and "longer than 0.7 seconds" in str(found)
        assert time.monotonic() - started < 10
        assert await queue.run(job("echo"))

    run(test)


def test_a_mistake_is_a_sentence(run):
    async def test(queue: Jobs) -> None:
        found = await refused(queue.run(job("mistake")))
        assert (found.status, str(found)) == (422, "The file is wrong.")

    run(test)
    assert sentence("class: 'x' is unknown") == "Class: 'x' is unknown."


def test_a_cancelled_request_ends_its_work_and_frees_the_worker(run):
    async def test(queue: Jobs) -> None:
        process = (await queue.run(job("echo")))["process"]
        task = asyncio.ensure_future(queue.run(job("wait")))
        waiting = asyncio.ensure_future(queue.run(job("crash")))  # cancelled before its turn
        await asyncio.sleep(0.1)
        waiting.cancel()
        task.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
        assert (await queue.run(job("echo")))["process"] == process
        assert queue.waiting == 0

    run(test, job_seconds=60.0)


def test_a_request_cancelled_while_the_worker_starts_again_leaves_a_usable_one(run):
    async def test(queue: Jobs) -> None:
        await refused(queue.run(job("crash")))
        task = asyncio.ensure_future(queue.run(job("echo")))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await queue.run(job("echo", number=1)))["number"] == 1

    run(test, job_seconds=60.0)


def test_writing_is_not_cancelled(run, tmp_path):
    async def test(queue: Jobs) -> None:
        task = asyncio.ensure_future(queue.run(job("change_tags", tmp_path / "written")))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await queue.run(job("echo"))
        assert (tmp_path / "written").exists()

    run(test)


def test_more_than_the_queue_holds_is_refused_at_once(run):
    async def test(queue: Jobs) -> None:
        tasks = [asyncio.ensure_future(queue.run(job("wait"))) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert (await refused(queue.run(job("echo")))).status == 503
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await queue.run(job("echo"))

    run(test, job_seconds=60.0)

"""Requests read and answered: bodies within limits, results as JSON or as server-sent events."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from deepgenre.files import parse_json, strict_json
from deepgenre.server.jobs import Progress, RefusedError
from deepgenre.server.settings import Limits

EVENTS = "text/event-stream"
T = TypeVar("T")
Work = Callable[[Progress], Awaitable[dict[str, Any]]]


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """Returns the JSON object in a request's body; raises RefusedError where it holds none."""
    body = await read_body(request, limits)
    try:
        value = parse_json(body)
    except (ValueError, UnicodeDecodeError) as error:
        raise RefusedError(400, "The request is not valid JSON.") from error
    if not isinstance(value, dict):
        raise RefusedError(400, "The request must be a JSON object.")
    return value


async def read_body(request: Request, limits: Limits) -> bytes:
    """Returns the body of a request; raises RefusedError where it is above that of JSON."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.json_bytes:
            raise RefusedError(413, "The request is too large.")
    return body


def declared_bytes(request: Request) -> int | None:
    """Returns the length that a request declares for its body, None where it does not."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() and text.isascii() else None


def text_of(value: dict[str, Any], name: str, default: str = "") -> str:
    """Returns a text in a request; raises RefusedError where it is of another type."""
    found = value.get(name, default)
    if not isinstance(found, str):
        raise RefusedError(400, f"{name}: must be a text.")
    return found


def number_of(value: dict[str, Any], name: str, low: float, high: float, default: float) -> float:
    """Returns a number in a request; raises RefusedError where it is not from `low` to `high`."""
    found = value.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
        raise RefusedError(400, f"{name}: must be a number from {low:g} to {high:g}.")
    return found


async def respond(
    request: Request, work: Work, answer: Callable[[dict[str, Any]], Response] | None = None
) -> Response:
    """Returns the response with the result of work; a closed connection cancels it.

    Where the client accepts server-sent events: events 'progress', then 'result' or 'refused'.
    answer: makes the response of a result; by default it is JSON.
    """
    if EVENTS in request.headers.get("accept", ""):
        return StreamingResponse(_events(work), media_type=EVENTS)
    return (answer or as_json)(await unless_closed(request, work))


async def unless_closed(request: Request, work: Callable[[Progress], Awaitable[T]]) -> T:
    """Returns the result of work; cancels it, and raises, where the client closes the connection.

    The body of the request must have been read.
    """
    task = asyncio.ensure_future(work(lambda value: None))
    closed = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, closed}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        closed.cancel()


def as_json(value: dict[str, Any], status: int = 200) -> Response:
    """Returns the response with a value; NaN is null."""
    return Response(strict_json(value).encode("utf-8", "replace"), status,
                    media_type="application/json")  # fmt: skip


def refusal(refused: RefusedError) -> Response:
    """Returns the response to a request that gets no result."""
    headers = {"Retry-After": "10"} if refused.status == 503 else None
    return JSONResponse({"error": str(refused)}, refused.status, headers)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(work: Work) -> AsyncIterator[bytes]:
    values: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(values.put_nowait))
    task.add_done_callback(lambda _: values.put_nowait(None))
    try:
        while (value := await values.get()) is not None:
            yield _event("progress", value)
        try:
            yield _event("result", task.result())
        except RefusedError as refused:
            yield _event("refused", {"error": str(refused), "status": refused.status})
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, RefusedError):
            await task


def _event(name: str, value: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(json.loads(strict_json(value)))}\n\n".encode()

"""Mode `serve`: the page and the API, until stopped."""

import asyncio
import dataclasses
import secrets
import socket
import sys
from collections.abc import Callable

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.interrupt import stop_requests
from deepgenre.server.settings import Settings

BACKLOG = 128
CONCURRENT = 256  # requests; further ones get 503
STOP_SECONDS = 3
REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # addresses that stand for all: one of them


def run(settings: Settings) -> int:
    """Serves until stopped; returns 0. Raises UserError where it cannot start."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            "serve: needs Starlette and uvicorn; install them with: pip install 'deepgenre[serve]'"
        ) from error
    if settings.write and not settings.output:
        raise UserError("--write: needs --output=FOLDER for the journal with which it is undone")
    with _bound(settings) as listening:
        settings = dataclasses.replace(settings, port=listening.getsockname()[1])
        with stop_requests() as stop_requested:
            asyncio.run(_serve(settings, listening, stop_requested))
    return 0


def _bound(settings: Settings) -> socket.socket:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        # With the protocol, as asyncio turns off Nagle's algorithm only for sockets that state it:
        # else the second part of an answer waits 40 ms for the client to confirm the first.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)  # who connects while weights are loaded waits
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(
            f"--port: {settings.host} port {settings.port} cannot be used ({error}); give another"
        ) from error
    return listening


async def _serve(
    settings: Settings, listening: socket.socket, stop_requested: Callable[[], int]
) -> None:
    import uvicorn

    from deepgenre.server.app import application, started
    from deepgenre.server.guard import is_loopback

    token = settings.token
    if not token and not is_loopback(settings.host):
        token = secrets.token_urlsafe(24)
    log.info("loading weights: %s", ", ".join(settings.weights))
    async with started(settings) as state:
        config = uvicorn.Config(
            application(state, token),
            log_level="warning",
            access_log=False,  # addresses may hold the token
            server_header=False,
            limit_concurrency=CONCURRENT,
            backlog=BACKLOG,
            timeout_graceful_shutdown=STOP_SECONDS,
            lifespan="off",
        )
        host = REACHED.get(settings.host, settings.host)
        host = f"[{host}]" if ":" in host else host
        query = f"?token={token}" if token else ""
        log.result(f"http://{host}:{settings.port}/{query}")
        sys.stdout.flush()
        if not stop_requested():
            await uvicorn.Server(config).serve([listening])
    log.info("stopped")

"""The application: routes of the page and of the API, behind the guard."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deepgenre import log
from deepgenre.audio.discover import expand
from deepgenre.errors import UserError
from deepgenre.fewshot import examples
from deepgenre.fewshot.examples import Examples
from deepgenre.server import endpoints, neighbours, worker
from deepgenre.server.guard import SUBSONIC, Guard
from deepgenre.server.job import Job
from deepgenre.server.jobs import Jobs, RefusedError
from deepgenre.server.library_tags import LibraryTags
from deepgenre.server.responses import as_json, refusal
from deepgenre.server.settings import Settings
from deepgenre.server.songs import Songs
from deepgenre.server.state import State
from deepgenre.server.subsonic.endpoint import endpoint as subsonic_endpoint
from deepgenre.server.uploads_folder import uploads_folder

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
PAGES = {"/": "index.html", "/docs": "docs.html"}


@contextlib.asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[State]:
    """Yields what the server holds, with the worker ready; ends it at the end of the block.

    Raises UserError where weights, library or index cannot be used.
    """
    found = expand(settings.library)
    for path, reason in found.failures.items():
        log.warning("%s: left out (%s)", path, reason)
    files = [path for path in found.files if path not in found.failures]
    given = _examples(settings)
    jobs = Jobs(settings, worker.run)
    with uploads_folder() as folder:
        songs = Songs(folder, settings.limits)
        songs.add_library(files)
        of_genre = {
            name: [songs.of_file(clip.path) for clip in given.clips if name in clip.labels]
            for name in given.classes
        }
        artists = {songs.of_file(clip.path).id: clip.group for clip in given.clips
                   if clip.group != clip.key}  # fmt: skip
        state = reading = None
        try:
            weights = await jobs.start()
            index = neighbours.load(settings.index, weights, songs) if settings.index else None
            tags = LibraryTags(songs.library, await _predicted(settings, jobs))
            reading = asyncio.create_task(tags.read())
            state = State(settings, songs, jobs, weights, index, tags, of_genre, artists)
            yield state
        finally:
            if reading:
                reading.cancel()
            if state:
                state.maps.stop()
            jobs.stop()


def _examples(settings: Settings) -> Examples:
    """Returns the given examples of own genres; raises UserError where they cannot be used."""
    if not settings.examples:
        return Examples((), (), multi_label=False)
    given = examples.read(settings.examples)
    for failure in given.failures:
        log.warning("--examples: %s", failure)
    if given.multi_label:
        raise UserError("--examples: have songs of several labels, or of none; use mode fewshot")
    return given


async def _predicted(settings: Settings, jobs: Jobs) -> dict[str, list[str]]:
    """Returns the tags of songs of a file of predictions, by path."""
    path = settings.predictions
    if not path:
        return {}
    try:
        return await jobs.run(Job("predicted", path, ""))
    except RefusedError as error:
        raise UserError(f"--predictions: {path}: {error}") from error


def application(state: State, token: str) -> ASGIApp:
    """Returns the ASGI application."""
    assets = {f"/static/{path.relative_to(STATIC)}": path for path in STATIC.rglob("*")
              if path.suffix in TYPES}  # fmt: skip
    routes = [Route(row.path, row.run, methods=[row.method]) for row in endpoints.ENDPOINTS]
    routes += [Route(path, _asset(file)) for path, file in assets.items()]
    routes += [Route(path, _page(STATIC / name)) for path, name in PAGES.items()]
    routes.append(Route("/openapi.json", _document))
    routes.append(Route(f"{SUBSONIC}{{method}}", subsonic_endpoint, methods=["GET", "POST"]))
    app = Starlette(
        routes=routes,
        exception_handlers={
            RefusedError: _refused,
            ClientDisconnect: lambda request, error: Response(status_code=499),
            404: lambda request, error: JSONResponse({"error": "There is no such page."}, 404),
            405: lambda request, error: JSONResponse({"error": "Not with this method."}, 405),
            500: lambda request, error: JSONResponse({"error": "An error of the program."}, 500),
        },
    )
    app.state.of_server, app.state.token = state, token
    return Guard(app, host=state.settings.host, token=token)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refusal(error)


def _page(file: Path):
    text = file.read_text(encoding="utf-8")

    async def page(request: Request) -> Response:
        return HTMLResponse(text.replace("{{nonce}}", request.scope["nonce"]))

    return page


def _asset(file: Path):
    content, kind = file.read_bytes(), TYPES[file.suffix]

    async def asset(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return asset


async def _document(request: Request) -> Response:
    return as_json(endpoints.openapi())

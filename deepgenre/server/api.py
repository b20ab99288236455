"""What the endpoints of the JSON API do; `endpoints` is their table."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, Response

import deepgenre
from deepgenre.errors import UserError
from deepgenre.library import playlists
from deepgenre.library.neighbours import UNKNOWN_SECONDS
from deepgenre.server import retagging, song_map
from deepgenre.server.job import Job
from deepgenre.server.jobs import Progress, RefusedError, sentence
from deepgenre.server.neighbours import MAX_COUNT
from deepgenre.server.responses import (
    as_json,
    declared_bytes,
    number_of,
    read_json,
    respond,
    text_of,
)
from deepgenre.server.settings import MEBIBYTE
from deepgenre.server.songs import Song
from deepgenre.server.state import State

Value = dict[str, Any]
MAX_PLAYLIST = 10_000
MAX_DIGITS = 9
PLAYLIST_TYPE = "audio/x-mpegurl"


@dataclasses.dataclass(frozen=True)
class Call:
    """A request about a song: the song and the fields of the request."""

    state: State
    song: Song
    weights: str
    fields: Value


@contextlib.asynccontextmanager
async def _call(request: Request) -> AsyncIterator[Call]:
    """Yields what a request asks for; a song in its body is removed at the end of the block."""
    state: State = request.app.state.of_server
    if request.headers.get("content-type", "").partition(";")[0] == "application/json":
        fields = await read_json(request, state.settings.limits)
        song = state.songs.find(fields.get("song"))
        yield Call(state, song, state.weights_name(text_of(fields, "weights")), fields)
        return
    query: Value = dict(request.query_params)
    weights = state.weights_name(query.get("weights", ""))
    song = await state.songs.upload(request.stream(), declared_bytes(request))
    try:
        yield Call(state, song, weights, query)
    finally:
        state.songs.remove(song)


def about_a_song(
    work: Callable[[Call, Progress], Awaitable[Value]],
) -> Callable[[Request], Awaitable[Response]]:
    """Returns the endpoint that answers a request about a song by `work`."""

    async def endpoint(request: Request) -> Response:
        # Entered here, so that a bad upload gets its status also where events are accepted; the
        # block ends with the work, not with this function.
        stack = contextlib.AsyncExitStack()
        call = await stack.enter_async_context(_call(request))

        async def run(progress: Progress) -> Value:
            async with stack:
                return await work(call, progress)

        return await respond(request, run)

    return endpoint


async def predict(call: Call, progress: Progress) -> Value:
    """Returns tags, scores and descriptors."""
    found = await call.state.analyse(call.song, call.weights, progress)
    kept = ("seconds", "tags", "scores", "descriptors")
    return {"weights": call.weights, **{name: found[name] for name in kept}}


async def taggram(call: Call, progress: Progress) -> Value:
    """Returns the scores over time."""
    found = await call.state.analyse(call.song, call.weights, progress)
    return {"weights": call.weights, "seconds": found["seconds"], **found["taggram"]}


async def waveform(call: Call, progress: Progress) -> Value:
    """Returns the waveform."""
    found = await call.state.analyse(call.song, call.weights, progress)
    return {"seconds": found["seconds"], **found["waveform"]}


async def embed(call: Call, progress: Progress) -> Value:
    """Returns the embedding."""
    found = await call.state.analyse(call.song, call.weights, progress)
    return {"weights": call.weights, "embedding": found["embedding"]}


async def similar(call: Call, progress: Progress) -> Value:
    """Returns similar songs of the index."""
    count = number_of(call.fields, "count", 1, MAX_COUNT, 10) if "song" in call.fields else 10
    found = await call.state.nearest(call.song, int(count), progress)
    return _with_cosines(call.state, found)


async def explain(call: Call, progress: Progress) -> Value:
    """Returns the explanation of a class for a window."""
    found = await call.state.analyse(call.song, call.weights, progress)
    name = text_of(call.fields, "class") or found["tags"][0]["class"]
    if name not in found["scores"]:
        raise RefusedError(400, "class: is unknown; GET /v1/status lists the classes.")
    start = found["windows"]["best"][name]
    if "start_seconds" in call.fields:
        wanted = number_of(call.fields, "start_seconds", 0, found["seconds"], 0)
        start = min(found["windows"]["starts"], key=lambda one: abs(one - wanted))
    options = {"target": name, "start_seconds": start, "method": text_of(call.fields, "method")}
    return await call.state.jobs.run(
        Job("explain", call.song.path, call.weights, options), progress
    )


def _writable(call: Call) -> None:
    if not call.state.settings.write:
        raise RefusedError(
            403, "Tags are not written; start the server with --write --output=FOLDER."
        )
    if call.song.is_upload:
        raise RefusedError(403, "Tags are written into songs of the library only, not uploads.")


async def tags(call: Call, progress: Progress) -> Value:
    """Shows or writes tags of a library song."""
    _writable(call)
    given = call.fields.get("tags")
    try:
        tags = retagging.check(given if isinstance(given, list) else [given])
    except UserError as error:
        raise RefusedError(400, sentence(str(error))) from error
    options = {"tags": tags, "write": call.fields.get("write") is True}
    return await call.state.jobs.run(
        Job("change_tags", call.song.path, call.weights, options), progress
    )


async def undo(call: Call, progress: Progress) -> Value:
    """Restores a library song."""
    _writable(call)
    return await call.state.jobs.run(Job("take_back", call.song.path, call.weights), progress)


async def status(request: Request) -> Response:
    """Returns weights, limits and what the server was started with."""
    state: State = request.app.state.of_server
    limits = state.settings.limits
    return as_json({
        "version": deepgenre.__version__,
        "weights": state.weights,
        "library": len(state.songs.library),
        "index": len(state.index.songs) if state.index else 0,
        "index_weights": state.index.weights if state.index else None,
        "maps": song_map.offered(len(state.index.songs)) if state.index else [],
        "can_write": state.settings.write,
        "waiting": state.jobs.waiting,
        "limits": {"upload_megabytes": limits.upload_bytes / MEBIBYTE,
                   "song_minutes": limits.song_seconds / 60},
    })  # fmt: skip


async def songs(request: Request) -> Response:
    """Returns the songs of the library."""
    state: State = request.app.state.of_server
    return as_json({"songs": [song.to_json() for song in state.songs.library]})


async def upload(request: Request) -> Response:
    """Keeps an uploaded song for further requests, until it is removed."""
    state: State = request.app.state.of_server
    song = await state.songs.upload(request.stream(), declared_bytes(request))
    return as_json(song.to_json(), 201)


async def remove(request: Request) -> Response:
    """Removes an uploaded song."""
    state: State = request.app.state.of_server
    state.songs.remove(state.songs.find(request.path_params["song"]))
    return as_json({"removed": True})


async def audio(request: Request) -> Response:
    """Returns the file of a song, or ranges of it, for playback."""
    state: State = request.app.state.of_server
    song = state.songs.find(request.path_params["song"])
    if not song.path.is_file():
        raise RefusedError(404, "The file of this song is gone.")
    return FileResponse(song.path, media_type="application/octet-stream")


async def positions(request: Request) -> Response:
    """Returns the map of the index."""
    state: State = request.app.state.of_server
    return as_json(await state.map(request.query_params.get("method", "")))


async def library_tags(request: Request) -> Response:
    """Returns the tags of the library's songs, as far as they were read."""
    state: State = request.app.state.of_server
    start = request.query_params.get("after", "0")
    if not (start.isdecimal() and start.isascii() and len(start) <= MAX_DIGITS):
        raise RefusedError(400, "after: must be a number of songs.")
    return as_json(await state.tags.after(int(start)))


async def examples(request: Request) -> Response:
    """Returns the examples of a user's own genres that the server was started with."""
    state: State = request.app.state.of_server
    genres = {name: [song.to_json() for song in songs] for name, songs in state.examples.items()}
    return as_json({"genres": genres})


async def playlist(request: Request) -> Response:
    """Returns a playlist of songs of the library."""
    state: State = request.app.state.of_server
    fields = await read_json(request, state.settings.limits)
    ids = fields.get("songs")
    if not isinstance(ids, list) or not 0 < len(ids) <= MAX_PLAYLIST:
        raise RefusedError(400, f"songs: must be a list of 1 to {MAX_PLAYLIST} ids.")
    return _as_playlist(
        [state.songs.find(song_id) for song_id in ids], text_of(fields, "name", "Selection")
    )


async def path(request: Request) -> Response:
    """Returns songs from one to another in small steps, as JSON or as a playlist."""
    state: State = request.app.state.of_server
    fields = await read_json(request, state.settings.limits)
    first, last = (state.songs.find(fields.get(name)) for name in ("from", "to"))
    count = int(number_of(fields, "count", 3, MAX_COUNT, 10))
    as_playlist = PLAYLIST_TYPE in request.headers.get("accept", "")
    title = f"From {first.path.stem} to {last.path.stem}"
    if as_playlist:  # before the work
        _check_listable([first, last])

    async def run(progress: Progress) -> Value:
        is_usable = _is_listable if as_playlist else lambda song: True
        found, cosines = await state.path((first, last), count, progress, is_usable)
        steps = [1.0, *np.diagonal(cosines, 1).tolist()]
        return _with_cosines(state, zip(found, steps, strict=True))

    def answer(value: Value) -> Response:
        return _as_playlist([state.songs.find(one["song"]["id"]) for one in value["songs"]], title)

    return await respond(request, run, answer if as_playlist else None)


def _with_cosines(state: State, found: Iterable[tuple[Song, float]]) -> Value:
    """Returns songs of the index with their cosines."""
    return {
        "weights": state.searched().weights,
        "songs": [{"song": song.to_json(), "cosine": round(cosine, 4)} for song, cosine in found],
    }


def _as_playlist(chosen: Sequence[Song], title: str) -> Response:
    """Returns the playlist of songs; raises RefusedError where it cannot contain one."""
    _check_listable(chosen)
    text = playlists.to_text(
        title[:100], [(song.path, UNKNOWN_SECONDS) for song in chosen], folder=None
    )
    return Response(text, media_type=PLAYLIST_TYPE)


def _check_listable(chosen: Sequence[Song]) -> None:
    if any(song.is_upload for song in chosen):
        raise RefusedError(400, "A playlist has no place for uploads; choose library songs.")
    for song in chosen:
        try:
            playlists.check_listable(song.path)
        except UserError as error:
            raise RefusedError(400, sentence(f"songs: {error}")) from error


def _is_listable(song: Song) -> bool:
    try:
        _check_listable([song])
    except RefusedError:
        return False
    return True

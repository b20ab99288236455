"""A user's own genres on the page: examples by genre, what they are worth, and what to ask next."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from deepgenre.fewshot import learning
from deepgenre.server.analysis import Json
from deepgenre.server.job import Job
from deepgenre.server.jobs import Progress, RefusedError
from deepgenre.server.neighbours import Neighbours
from deepgenre.server.own_genres import Example
from deepgenre.server.responses import number_of, read_json, respond, text_of
from deepgenre.server.songs import Song
from deepgenre.server.state import State

MOST_GENRES, MOST_SONGS, MOST_LETTERS = 50, 500, 100
MOST_ASKED = 50
CANDIDATES = 20_000  # songs of the index among which questions are chosen, at random if it has more


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    weights: str
    genres: Mapping[Song, str]
    skipped: frozenset[str]  # ids of songs that are not to be asked for
    ask: int


async def learn(request: Request) -> Response:
    """Answers with the accuracy of a user's own genres, their weights, and songs to label next."""
    state: State = request.app.state.of_server
    wanted = _wanted(state, await read_json(request, state.settings.limits))

    async def run(progress: Progress) -> Json:
        return await _learn(state, wanted, progress)

    return await respond(request, run)


def _wanted(state: State, fields: Json) -> Wanted:
    """Returns what the fields ask for; raises RefusedError where they are not as documented."""
    given = fields.get("genres")
    if not isinstance(given, dict) or not 2 <= len(given) <= MOST_GENRES:
        raise RefusedError(400, f"genres: give songs of 2 to {MOST_GENRES} genres.")
    genres: dict[Song, str] = {}
    for name, ids in given.items():
        if not name.strip() or len(name) > MOST_LETTERS or not name.isprintable():
            raise RefusedError(400, f"genres: names must have 1 to {MOST_LETTERS} letters.")
        if not isinstance(ids, list) or not ids:
            raise RefusedError(400, f"genres: give {name} at least one song.")
        for song in map(state.songs.find, ids):
            if genres.setdefault(song, name) != name:
                raise RefusedError(
                    400, f"genres: {song.name} is in {genres[song]} and in {name}; choose one."
                )
    if len(genres) > MOST_SONGS:
        raise RefusedError(400, f"genres: give {MOST_SONGS} songs at most.")
    skipped = fields.get("skipped", [])
    if not isinstance(skipped, list) or not all(isinstance(one, str) for one in skipped):
        raise RefusedError(400, "skipped: must be a list of ids.")
    default = state.index.weights if state.index else ""
    weights = state.weights_name(text_of(fields, "weights") or default)
    ask = int(number_of(fields, "ask", 0, MOST_ASKED, 10))
    return Wanted(weights, genres, frozenset(skipped), ask)


async def _learn(state: State, wanted: Wanted, progress: Progress) -> Json:
    examples, failed = [], []
    for number, (song, genre) in enumerate(wanted.genres.items(), 1):
        progress({"stage": "embedding", "song": number, "songs": len(wanted.genres)})
        try:
            found = await state.window_embeddings(song, wanted.weights)
        except RefusedError as error:
            if error.status != 422:  # not about this song
                raise
            failed.append({"song": song.to_json(), "error": str(error)})
        else:
            artist = state.artists.get(song.id, "")
            examples.append(Example(song.path, genre, artist, found))
    if len({one.genre for one in examples}) < 2:
        reason = f" {failed[0]['error']}" if failed else ""
        raise RefusedError(422, f"Fewer than two genres have a song that can be used.{reason}")
    progress({"stage": "fitting"})
    job = Job("learn", examples[0].path, wanted.weights, {"examples": examples})
    learned = await state.jobs.run(job)
    head, index = learned.pop("head"), state.index
    questions: list[Json] = []
    if wanted.ask and index and index.weights == wanted.weights:
        classes = [genre["name"] for genre in learned["genres"]]
        questions = await asyncio.to_thread(_questions, head, classes, index, wanted)
    return {"weights": wanted.weights, **learned, "failed": failed, "questions": questions}


def _questions(head: Any, classes: Sequence[str], index: Neighbours, wanted: Wanted) -> list[Json]:
    """Returns the songs of the index whose genres would help most."""
    known = {song.id for song in wanted.genres} | wanted.skipped
    rows = [row for row, song in enumerate(index.songs) if song.id not in known]
    if len(rows) > CANDIDATES:
        rows = np.random.default_rng(0).choice(rows, CANDIDATES, replace=False).tolist()
    rows = [row for row in rows if index.songs[row].path.is_file()]
    if not rows:
        return []
    songs = {index.songs[row].path: index.songs[row] for row in rows}
    embeddings = index.table.units[rows] * index.lengths[rows, None]
    found = learning.questions(
        head, [index.songs[row].path for row in rows], embeddings, classes, wanted.ask
    )
    return [
        {
            "song": songs[question.path].to_json(),
            "best": [{"name": name, "score": round(score, 4)} for name, score in question.best],
        }
        for question in found
    ]

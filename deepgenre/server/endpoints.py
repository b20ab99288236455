"""The table of the JSON API, from which its routes and the OpenAPI document follow."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import deepgenre
from deepgenre.server import active_learning, api
from deepgenre.server.subsonic.methods import METHODS, Row


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A row of the API: the method, what it runs, and the texts of its document."""

    method: str
    path: str
    run: Callable[[Request], Awaitable[Response]]
    summary: str
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of the request
    answer: Mapping[str, str] = dataclasses.field(default_factory=dict)
    takes_audio: bool = False  # instead of JSON, the bytes of a song
    gives_playlist: bool = False  # instead of JSON, where the client accepts it


SONG = {
    "song": "id of a song: of POST /v1/songs, or of the library",
    "weights": "name of weights; default the first",
}
ENDPOINTS = (
    Endpoint(
        "POST", "/v1/predict", api.about_a_song(api.predict), "Scores and tags of a song", SONG,
        {
            "tags": "list of {name, score, proposed, class}, highest score first; proposed: the "
            "score reaches the threshold of the tag",
            "scores": "score by class, calibrated, highest first",
            "descriptors": "tempo_bpm, key; null where unknown",
            "seconds": "length of the song",
        },
        takes_audio=True,
    ),
    Endpoint(
        "POST", "/v1/embed", api.about_a_song(api.embed), "Embedding of a song", SONG,
        {"embedding": "list of numbers, the mean over the song's windows"}, takes_audio=True,
    ),
    Endpoint(
        "POST", "/v1/similar", api.about_a_song(api.similar), "Similar songs of the index",
        {**SONG, "count": "number of songs, 1 to 200; default 10"},
        {"songs": "list of {song, cosine}, nearest first", "weights": "those of the index"},
        takes_audio=True,
    ),
    Endpoint(
        "POST", "/v1/path", api.path, "Path from one song to another in small steps of the index",
        {
            "from": "id of the first song",
            "to": "id of the last song",
            "count": "number of songs with both ends, 3 to 200; default 10; fewer where the index "
            "has fewer",
        },
        {
            "songs": "list of {song, cosine}, from the first to the last; cosine: to the song "
            "before, 1 for the first. With 'Accept: audio/x-mpegurl', a playlist instead",
            "weights": "those of the index",
        },
        gives_playlist=True,
    ),
    Endpoint(
        "POST", "/v1/taggram", api.about_a_song(api.taggram), "Scores over time", SONG,
        {
            "starts": "start of each part of the song, in seconds",
            "lengths": "length of each part, in seconds",
            "tags": "names of the columns of scores",
            "scores": "per part, a list of the scores by tag, not calibrated",
            "segments": "list of {start, end, tag, score}: the best tag between two changes",
        },
        takes_audio=True,
    ),
    Endpoint(
        "POST", "/v1/waveform", api.about_a_song(api.waveform), "Waveform of a song", SONG,
        {"lowest": "smallest sample of each column", "highest": "largest sample of each column",
         "column_seconds": "length of a column"},
        takes_audio=True,
    ),
    Endpoint(
        "POST", "/v1/explain", api.about_a_song(api.explain),
        "Which parts of a window the score of a class rests on",
        {
            **SONG,
            "class": "name of the class; default that of the best tag",
            "start_seconds": "a time in the window; default the window with the highest score",
            "method": "as --method of mode explain; default that of the weights",
        },
        {
            "map": "base64 of uint8 (frames, bands), lowest band first: 128 no support, above it "
            "support, below it evidence against the class",
            "plane": "base64 of uint8 (frames, bands): the spectrogram",
            "sound": "base64 of a FLAC file: the parts with the most support",
            "parts": "list of {start_seconds, end_seconds, low_hz, high_hz, share}",
            "deletion": "area under the deletion curve; best 0",
            "insertion": "area under the insertion curve; best 1",
        },
    ),
    Endpoint("GET", "/v1/status", api.status, "Weights, limits, what the server was started with"),
    Endpoint("GET", "/v1/songs", api.songs, "Songs of the library",
             answer={"songs": "list of {id, name, folder, kind}"}),
    Endpoint("POST", "/v1/songs", api.upload, "Keeps an uploaded song for further requests",
             answer={"id": "id of the song"}, takes_audio=True),
    Endpoint("DELETE", "/v1/songs/{song}", api.remove, "Removes an uploaded song"),
    Endpoint("GET", "/v1/songs/{song}/audio", api.audio, "The file of a song, for playback"),
    Endpoint("GET", "/v1/library/tags", api.library_tags, "Tags of the library's songs",
             {"after": "number of songs that are known already; waits for at least one more"},
             {"songs": "list of {id, artist, tags, predicted}: tags of the files, and those of "
              "--predictions", "total": "number of songs of the library"}),
    Endpoint("GET", "/v1/map", api.positions, "Map of the index: near songs are similar",
             {"method": "umap or pca; default the first of 'maps' in /v1/status"},
             {"songs": "ids", "names": "names", "x": "0 to 1", "y": "0 to 1"}),
    Endpoint("GET", "/v1/fewshot", api.examples, "Examples of own genres, given at the start",
             answer={"genres": "list of songs by genre"}),
    Endpoint(
        "POST", "/v1/fewshot", active_learning.learn,
        "Weights for own genres from examples, what they are worth, and what to label next",
        {
            "genres": "list of ids of songs by genre; 2 genres or more",
            "skipped": "ids of songs not to ask for",
            "ask": "number of songs to ask for, 0 to 50; default 10",
            "weights": "whose embedding is used; default those of the index",
        },
        {
            "accuracy": "share of the tested songs whose genre is right, by heads fitted without "
            "the song's artist; null where no song can be tested",
            "accuracy_low": "lower end of its 95 % interval over artists",
            "accuracy_high": "upper end",
            "how": "how it was measured",
            "genres": "list of {name, songs, recall, precision}",
            "untested": "genres all of whose songs are by one artist",
            "questions": "list of {song, best}, the most useful first",
            "file": "base64 of the weights (.safetensors)",
            "base": "name of the weights that the file needs",
            "failed": "list of {song, error}",
        },
    ),
    Endpoint(
        "POST", "/v1/tags", api.about_a_song(api.tags), "Writes tags into the file of a song",
        {**SONG, "tags": "list of tags", "write": "true to write; else the change is shown only"},
        {"field": "the field of the file", "change": "{old, new}, null where nothing changes",
         "written": "whether the file was changed"},
    ),
    Endpoint("POST", "/v1/tags/undo", api.about_a_song(api.undo),
             "Restores a library song to its state before its tags were written", SONG,
             {"restored": "true", "note": "what was restored, if not the whole file"}),
    Endpoint("POST", "/v1/playlist", api.playlist, "Playlist (.m3u8) of songs of the library",
             {"songs": "list of ids", "name": "name of the playlist"}),
)  # fmt: skip


REFUSALS = {
    "400": "the request is not as documented",
    "401": "the token is missing",
    "403": "a request of another site, or one that the server was not started for",
    "404": "there is no such song",
    "413": "the upload is too large",
    "422": "the file cannot be analysed; the sentence says why",
    "503": "too many requests wait",
}
TOKENS = {
    "apiKey": "the token of the server; needed where it has one",
    "u": "any user, instead of apiKey",
    "t": "MD5 of the token followed by s",
    "s": "a salt",
}
AUDIO = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def openapi() -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of the API."""
    paths: dict[str, Any] = {}
    for row in ENDPOINTS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    for name, method in METHODS.items():
        paths[f"/rest/{name}"] = {"get": _subsonic_operation(method)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "deepgenre",
            "version": deepgenre.__version__,
            "description": "Requests about a song hold its id as JSON or its bytes. With 'Accept: "
            "text/event-stream' the answer is a stream of events: 'progress', then 'result' or "
            "'refused'. Errors are {\"error\": a sentence}. /rest/ is the part of the OpenSubsonic "
            "API that answers from the index: with f=json as JSON, else as XML, errors with status "
            "200; the token is the apiKey, or the password of any user.",
        },
        "paths": paths,
    }


def _operation(row: Endpoint) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if row.fields and row.method != "GET":
        content["application/json"] = {"schema": _object(row.fields)}
    if row.takes_audio:
        content |= AUDIO
    named = ["song"] if "{song}" in row.path else []
    queries = (
        {"weights": "with the bytes of a song"}
        if row.takes_audio and row.fields
        else row.fields
        if row.method == "GET"
        else {}
    )
    answers = {"application/json": {"schema": _object(row.answer)}}
    if row.gives_playlist:
        answers[api.PLAYLIST_TYPE] = {"schema": {"type": "string"}}
    body = {"requestBody": {"required": True, "content": content}} if content else {}
    return {
        "summary": row.summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
              for name in named),
            *({"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
              for name, text in queries.items()),
        ],
        **body,
        "responses": {
            "200": {"description": "the answer", "content": answers},
            **{status: {"description": text} for status, text in REFUSALS.items()},
        },
    }  # fmt: skip


def _subsonic_operation(row: Row) -> dict[str, Any]:
    parameters = {**row.parameters, **({} if row.is_public else TOKENS), "f": "xml (default), json"}
    answer = {
        "subsonic-response": ", ".join(f"{name}: {text}" for name, text in row.answer.items())
    }
    return {
        "summary": row.summary,
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in parameters.items()
        ],
        "responses": {
            "200": {"description": "the answer, or an error of the Subsonic API",
                    "content": {"application/json": {"schema": _object(answer)}}},
        },
    }  # fmt: skip


def _object(fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"description": text} for name, text in fields.items()},
    }

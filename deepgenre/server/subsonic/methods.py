"""What the methods of the Subsonic API return, and the table of them.

https://opensubsonic.netlify.app/docs/ describes each. Songs are those of the library and of the
index; there are no artists and albums, since files are known by their names only.
"""

import asyncio
import dataclasses
import mimetypes
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import PurePath

from starlette.responses import FileResponse, Response

from deepgenre.server.neighbours import MAX_COUNT
from deepgenre.server.songs import Song
from deepgenre.server.state import State
from deepgenre.server.subsonic.answers import (
    GENERIC,
    MISSING,
    NOT_FOUND,
    Json,
    SubsonicError,
)

EXTENSIONS = ("apiKeyAuthentication", "formPost")
SIMILARITY = "sonicSimilarity"  # a further extension, where there is an index
USER = "deepgenre"  # whose name is not checked
MAX_SONGS = 500  # of a search


@dataclasses.dataclass(frozen=True)
class Call:
    """A request: the name of the method without '.view', and its parameters."""

    state: State
    parameters: Mapping[str, str]

    def text(self, name: str) -> str:
        """Returns a parameter; raises SubsonicError where it is missing."""
        if name not in self.parameters:
            raise SubsonicError(MISSING, f"The parameter {name} is missing.")
        return self.parameters[name]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Returns a parameter, or the nearest number from `low` to `high`."""
        try:
            return min(max(int(self.parameters.get(name, default)), low), high)
        except ValueError as error:
            raise SubsonicError(GENERIC, f"{name}: must be a whole number.") from error

    def song(self, name: str) -> Song:
        """Returns the song that a parameter names; raises SubsonicError where there is none."""
        found = self.state.songs.of_library(self.text(name))
        if not found:
            raise SubsonicError(NOT_FOUND, "There is no such song.")
        return found


Method = Callable[[Call], Awaitable[Json | Response]]


async def ping(call: Call) -> Json:
    """Returns nothing: the server is there."""
    return {}


async def get_license(call: Call) -> Json:
    """Returns that the server may be used, which clients ask for."""
    return {"license": {"valid": True}}


async def get_extensions(call: Call) -> Json:
    """Returns the extensions of OpenSubsonic that the server has."""
    names = [*EXTENSIONS, *([SIMILARITY] if call.state.index else [])]
    return {"openSubsonicExtensions": [{"name": name, "versions": [1]} for name in names]}


async def token_info(call: Call) -> Json:
    """Returns whose token was given."""
    return {"tokenInfo": {"username": USER}}


async def get_music_folders(call: Call) -> Json:
    """Returns the one folder, which stands for the library and the index."""
    return {"musicFolders": {"musicFolder": [{"id": 0, "name": "Library"}]}}


async def get_song(call: Call) -> Json:
    """Returns what is known of a song."""
    return {"song": (await _children([call.song("id")]))[0]}


async def search3(call: Call) -> Json:
    """Returns the songs whose names and folders contain each word; all for an empty query."""
    words = call.text("query").strip().strip('"').casefold().split()
    count = call.number("songCount", 20, 0, MAX_SONGS)
    offset = call.number("songOffset", 0, 0, len(call.state.songs.files))
    found = await asyncio.to_thread(_matching, call.state.songs.files, words)
    songs = await _children(found[offset : offset + count])
    return {"searchResult3": {"song": songs}}


async def stream(call: Call) -> Response:
    """Returns the file of a song as it is, or ranges of it."""
    song = call.song("id")
    if not song.path.is_file():
        raise SubsonicError(NOT_FOUND, "The file of this song is gone.")
    return FileResponse(song.path, media_type=_content_type(song))


async def get_sonic_similar_tracks(call: Call) -> Json:
    """Returns the songs that are most similar to a song, with their similarity."""
    found = await _similar(call, default=10)
    songs = await _children([song for song, _ in found])
    return _matches(songs, [cosine for _, cosine in found])


async def find_sonic_path(call: Call) -> Json:
    """Returns songs from one to another, each with its similarity to the first."""
    ends = call.song("startSongId"), call.song("endSongId")
    count = call.number("count", 25, 2, MAX_COUNT)
    found, cosines = await call.state.path(ends, count)
    return _matches(await _children(found), cosines[0].tolist())


async def get_similar_songs(call: Call) -> Json:
    """Returns the songs that are most similar to a song."""
    songs = await _children([song for song, _ in await _similar(call, default=50)])
    return {"similarSongs": {"song": songs}}


async def get_similar_songs2(call: Call) -> Json:
    """Returns the songs that are most similar to a song."""
    return {"similarSongs2": (await get_similar_songs(call))["similarSongs"]}


async def _similar(call: Call, default: int) -> list[tuple[Song, float]]:
    """Returns the most similar songs and their cosines, nearest first."""
    song, count = call.song("id"), call.number("count", default, 0, MAX_COUNT)
    return await call.state.nearest(song, count)


def _matching(songs: Sequence[Song], words: Sequence[str]) -> Sequence[Song]:
    if not words:
        return songs
    texts = (f"{song.folder}/{song.name}".casefold() for song in songs)
    return [
        song for song, text in zip(songs, texts, strict=True) if all(word in text for word in words)
    ]


def _matches(songs: Sequence[Json], cosines: Sequence[float]) -> Json:
    """Returns songs with similarities from 0, for opposite embeddings, to 1, for the same."""
    return {
        "sonicMatch": [
            {"entry": song, "similarity": round(min(max((1 + cosine) / 2, 0.0), 1.0), 4)}
            for song, cosine in zip(songs, cosines, strict=True)
        ]
    }


async def _children(songs: Sequence[Song]) -> list[Json]:
    """Returns songs as the 'Child' of the Subsonic API."""
    return await asyncio.to_thread(lambda: [_child(song) for song in songs])


def _child(song: Song) -> Json:
    name = PurePath(song.name)
    found = {
        "id": song.id,
        "isDir": False,
        "title": name.stem,
        "path": f"{song.folder}/{song.name}".lstrip("/"),
        "suffix": name.suffix.removeprefix("."),
        "contentType": _content_type(song),
        "type": "music",
        "mediaType": "song",
        "isVideo": False,
    }
    try:
        return {**found, "size": song.path.stat().st_size}
    except OSError:  # the file is gone: only its size is unknown
        return found


def _content_type(song: Song) -> str:
    found = mimetypes.guess_type(song.name)[0] or ""
    return found if found.startswith(("audio/", "video/")) else "application/octet-stream"


@dataclasses.dataclass(frozen=True)
class Row:
    """A method of the API, and the texts of its document."""

    run: Method
    summary: str
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    answer: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_public: bool = False  # needs no token


ID = {"id": "id of a song"}
SONGS = {"song": "list of songs (Child)"}
MATCHES = {"sonicMatch": "list of {entry, similarity}; similarity: (1 + cosine) / 2"}
METHODS: Mapping[str, Row] = {
    "ping": Row(ping, "Whether the server is there"),
    "getLicense": Row(get_license, "Always valid", answer={"license": "{valid}"}),
    "getOpenSubsonicExtensions": Row(
        get_extensions, "Extensions of OpenSubsonic",
        answer={"openSubsonicExtensions": "list of {name, versions}"}, is_public=True,
    ),
    "tokenInfo": Row(token_info, "Whose apiKey it is", answer={"tokenInfo": "{username}"}),
    "getMusicFolders": Row(
        get_music_folders, "The one folder", answer={"musicFolders": "{musicFolder}"}
    ),
    "getSong": Row(get_song, "A song", ID, {"song": "the song (Child)"}),
    "search3": Row(
        search3, "Songs of the library and of the index by words",
        {"query": "words in the name or folder; empty: all", "songCount": "0 to 500; default 20",
         "songOffset": "songs to leave out at the beginning; default 0"},
        {"searchResult3": "{song}"},
    ),
    "stream": Row(stream, "The file of a song, as it is", ID),
    "download": Row(stream, "The file of a song", ID),
    "getSonicSimilarTracks": Row(
        get_sonic_similar_tracks, "Similar songs with their similarity",
        {**ID, "count": "0 to 200; default 10"}, MATCHES,
    ),
    "findSonicPath": Row(
        find_sonic_path, "Path from one song to another in small steps",
        {"startSongId": "id of the first song", "endSongId": "id of the last song",
         "count": "most songs, with both ends, 2 to 200; default 25"},
        {"sonicMatch": f"{MATCHES['sonicMatch']}, to the first song"},
    ),
    "getSimilarSongs": Row(
        get_similar_songs, "Similar songs", {**ID, "count": "0 to 200; default 50"},
        {"similarSongs": "{song}"},
    ),
    "getSimilarSongs2": Row(
        get_similar_songs2, "Similar songs", {**ID, "count": "0 to 200; default 50"},
        {"similarSongs2": "{song}"},
    ),
}  # fmt: skip

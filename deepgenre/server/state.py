"""What a running server holds: songs, the worker's queue, recent results, the index."""

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deepgenre.server import neighbours, song_map
from deepgenre.server.job import Job
from deepgenre.server.jobs import Jobs, Progress, RefusedError
from deepgenre.server.library_tags import LibraryTags
from deepgenre.server.neighbours import Neighbours
from deepgenre.server.settings import Settings
from deepgenre.server.songs import Song, Songs

ANALYSES = 64  # kept, of the songs that were asked for last
MAP_SECONDS = 600.0  # after which a map is given up
EMBEDDED = 500  # likewise, embeddings of the windows of examples


class Recent(collections.OrderedDict[Any, Any]):
    """Results by key; the one that was used least recently is dropped beyond a number."""

    def __init__(self, most: int) -> None:
        """most: results that are kept."""
        super().__init__()
        self._most = most

    def use(self, key: Any) -> Any:
        """Returns the result of a key, None where it is not kept."""
        if key not in self:
            return None
        self.move_to_end(key)
        return self[key]

    def keep(self, key: Any, value: Any) -> Any:
        """Keeps and returns a result."""
        self[key] = value
        while len(self) > self._most:
            self.popitem(last=False)
        return value


@dataclasses.dataclass
class State:
    """What a running server holds."""

    settings: Settings
    songs: Songs
    jobs: Jobs
    weights: dict[str, Any]  # by name, see `worker.describe`
    index: Neighbours | None
    tags: LibraryTags = dataclasses.field(default_factory=lambda: LibraryTags((), {}))
    examples: Mapping[str, list[Song]] = dataclasses.field(default_factory=dict)  # by genre
    artists: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of examples, by id
    maps: Jobs = dataclasses.field(init=False)  # of the process that computes maps
    analyses: Recent = dataclasses.field(default_factory=lambda: Recent(ANALYSES))
    embedded: Recent = dataclasses.field(default_factory=lambda: Recent(EMBEDDED))
    positions: dict[str, Any] = dataclasses.field(default_factory=dict)  # by method
    mapping: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    paths: concurrent.futures.Executor = dataclasses.field(  # one path at a time
        default_factory=lambda: concurrent.futures.ThreadPoolExecutor(1)
    )

    def __post_init__(self) -> None:
        """Prepares the process of maps, which starts with the first."""
        limits = dataclasses.replace(self.settings.limits, job_seconds=MAP_SECONDS)
        self.maps = Jobs(dataclasses.replace(self.settings, limits=limits), song_map.run)

    def weights_name(self, name: str) -> str:
        """Returns the name of weights, '' the first; raises RefusedError where they are unknown."""
        if not name:
            return next(iter(self.weights))
        if name not in self.weights:
            raise RefusedError(400, f"weights: must be one of {', '.join(self.weights)}.")
        return name

    async def analyse(self, song: Song, weights: str, progress: Progress) -> dict[str, Any]:
        """Returns what `analysis.analyse` does, from memory where it was computed lately."""
        key = song.version, weights
        if found := self.analyses.use(key):
            return found
        return self.analyses.keep(
            key, await self.jobs.run(Job("analyse", song.path, weights), progress)
        )

    async def window_embeddings(self, song: Song, weights: str) -> np.ndarray:
        """Returns the embeddings of the windows of a song, likewise."""
        key = song.version, weights
        if (found := self.embedded.use(key)) is not None:
            return found
        found = await self.jobs.run(Job("window_embeddings", song.path, weights))
        return self.embedded.keep(key, found["embeddings"])

    async def nearest(
        self, song: Song, count: int, progress: Progress = lambda value: None
    ) -> list[tuple[Song, float]]:
        """Returns what `neighbours.nearest` does."""
        index = self.searched()
        vector = await self._vector(song, progress)
        return await asyncio.to_thread(neighbours.nearest, index, song, vector, count)

    async def path(
        self,
        ends: tuple[Song, Song],
        count: int,
        progress: Progress = lambda value: None,
        is_usable: Callable[[Song], bool] = lambda song: True,
    ) -> tuple[list[Song], np.ndarray]:
        """Returns what `neighbours.path` does."""
        index = self.searched()
        if ends[0].id == ends[1].id:
            raise RefusedError(400, "The path leads to the song where it starts; give another one.")
        vectors = [(song, await self._vector(song, progress)) for song in ends]
        loop = asyncio.get_running_loop()
        arguments = (index, vectors, count, is_usable)
        return await loop.run_in_executor(self.paths, neighbours.path, *arguments)

    async def map(self, method: str) -> dict[str, Any]:
        """Returns the map of the index by a method, '' the first that is offered."""
        index = self.searched()
        offered = song_map.offered(len(index.songs))
        method = method or offered[0]
        if method not in offered:
            raise RefusedError(
                400, f"method: must be {' or '.join(offered)}; umap needs the extra of this name."
            )
        if method not in self.positions:
            async with self.mapping:
                if method not in self.positions:
                    self.positions[method] = await self._positions(index, method)
        return {
            "weights": index.weights,
            "method": method,
            "songs": [song.id for song in index.songs],
            "names": [song.name for song in index.songs],
            **self.positions[method],
        }

    async def _positions(self, index: Neighbours, method: str) -> dict[str, Any]:
        if method == "umap":
            found = await self.maps.run(Job("umap", index.path, ""))
            self.maps.stop()  # it is kept, and its libraries take memory
            flat = found["flat"]
            if len(flat) != len(index.songs):
                raise RefusedError(409, "The index has changed; start the server again.")
        else:
            flat = await asyncio.to_thread(song_map.METHODS[method], index.table.units)
        placed = song_map.scaled(flat).astype(np.float64).round(4)
        return {"x": placed[:, 0].tolist(), "y": placed[:, 1].tolist()}

    def searched(self) -> Neighbours:
        """Returns the index; raises RefusedError where there is none."""
        if not self.index:
            raise RefusedError(404, "There is no index of songs; start the server with --index.")
        return self.index

    async def _vector(self, song: Song, progress: Progress) -> np.ndarray:
        """Returns the embedding of a song: that of the index, else computed."""
        index = self.searched()
        found = neighbours.vector(index, song)
        if found is not None:
            return found
        analysis = await self.analyse(song, index.weights, progress)
        return np.array(analysis["embedding"], np.float32)

"""What a running server holds: songs, the worker's queue, recent analyses, the index."""

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from deepgenre.server import neighbours
from deepgenre.server.job import Job
from deepgenre.server.jobs import Jobs, Progress, RefusedError
from deepgenre.server.neighbours import Neighbours
from deepgenre.server.settings import Settings
from deepgenre.server.songs import Song, Songs

ANALYSES = 64  # kept, of the songs that were asked for last


@dataclasses.dataclass
class State:
    """What a running server holds."""

    settings: Settings
    songs: Songs
    jobs: Jobs
    weights: dict[str, Any]  # by name, see `worker.describe`
    index: Neighbours | None
    analyses: collections.OrderedDict[Any, dict[str, Any]] = dataclasses.field(
        default_factory=collections.OrderedDict
    )
    map: dict[str, Any] | None = None
    paths: concurrent.futures.Executor = dataclasses.field(  # one path at a time
        default_factory=lambda: concurrent.futures.ThreadPoolExecutor(1)
    )

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
        if key not in self.analyses:
            found = await self.jobs.run(Job("analyse", song.path, weights), progress)
            self.analyses[key] = found
            while len(self.analyses) > ANALYSES:
                self.analyses.popitem(last=False)
        self.analyses.move_to_end(key)
        return self.analyses[key]

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

    async def positions(self) -> dict[str, Any]:
        """Returns the map of the index."""
        index = self.searched()
        if self.map is None:
            self.map = await asyncio.to_thread(neighbours.positions, index)
        return self.map

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

"""What a running server holds: songs, the worker's queue, recent analyses, the index."""

import asyncio
import collections
import dataclasses
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

    async def similar(self, song: Song, count: int, progress: Progress) -> dict[str, Any]:
        """Returns the songs of the index that are most similar to a song."""
        if not self.index:
            raise RefusedError(404, "There is no index of songs; start the server with --index.")
        analysis = await self.analyse(song, self.index.weights, progress)
        vector = np.array(analysis["embedding"], np.float32)
        found = await asyncio.to_thread(neighbours.nearest, self.index, song, vector, count)
        return {"weights": self.index.weights, "songs": found}

    async def positions(self) -> dict[str, Any]:
        """Returns the map of the index."""
        if not self.index:
            raise RefusedError(404, "There is no index of songs; start the server with --index.")
        if self.map is None:
            self.map = await asyncio.to_thread(neighbours.positions, self.index)
        return self.map

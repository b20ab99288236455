"""Tags of the library's songs: those in their files, and those of a file of predictions."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepgenre.errors import UserError
from deepgenre.inference.prediction_files.rows import SCORES, TAGS
from deepgenre.inference.tags import UNKNOWN
from deepgenre.isolated import calls
from deepgenre.library import file_tags
from deepgenre.server.analysis import Json, Network, tags_of_scores
from deepgenre.server.songs import Song

BATCH = 64  # files read between two looks at the clock
SHOWN = ("genre", "mood", "tags", "grouping")  # fields of files, in this order


class LibraryTags:
    """Tags of the songs of a library, as far as its files were read."""

    def __init__(self, songs: Sequence[Song], predicted: Mapping[str, list[str]]) -> None:
        """predicted: by path."""
        self._songs, self._predicted = songs, predicted
        self._rows: list[Json] = []
        self._changed = asyncio.Condition()

    async def read(self) -> None:
        """Reads the files in order, each in a process that may crash."""
        while len(self._rows) < len(self._songs):
            batch = self._songs[len(self._rows) : len(self._rows) + BATCH]
            rows = await asyncio.to_thread(lambda songs: [*map(self._row, songs)], batch)
            async with self._changed:
                self._rows += rows
                self._changed.notify_all()

    def _row(self, song: Song) -> Json:
        try:
            own = calls.call(of_file, song.path)
        except (UserError, OSError):  # analysing or writing this file says why
            own = {"artist": "", "tags": []}
        return {"id": song.id, **own, "predicted": self._predicted.get(str(song.path), [])}

    async def after(self, start: int) -> Json:
        """Returns the rows from `start` on, at least one unless it is the end; waits for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._rows) > min(start, len(self._songs) - 1))
            return {"songs": self._rows[start:], "total": len(self._songs)}


def of_file(path: Path) -> Json:
    """Returns artist and tags of a file; raises UserError as `file_tags.read` does."""
    found = file_tags.read(path)
    values = [value for field in SHOWN for value in found[field]]
    return {"artist": "; ".join(file_tags.artists(path)), "tags": [*dict.fromkeys(values)]}


def predicted(path: Path, networks: Sequence[Network]) -> dict[str, list[str]]:
    """Returns the tags of each song, by path, of a file of predictions (.jsonl).

    Where the scores are those of one of the networks, the tags that the page would propose, else
    those in the file. Raises UserError where it is no such file.
    """
    of_classes = {frozenset(one.weights.spec.classes): one for one in networks}
    found = {}
    with path.open(encoding="utf-8", errors="surrogateescape") as stream:
        for number, text in enumerate(stream, 1):
            try:
                line = json.loads(text)
                found[line["path"]] = _tags(line, of_classes)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise UserError(
                    f"line {number} is no prediction; give the .jsonl file of predict or organize"
                ) from error
    return found


def _tags(line: Mapping[str, Any], of_classes: Mapping[frozenset[str], Network]) -> list[str]:
    tags: dict[str, None] = {}
    for column in line:
        network, _, kind = column.rpartition(":")
        if kind != TAGS:
            continue
        scores = line[f"{network}:{SCORES}" if network else SCORES]
        known = of_classes.get(frozenset(scores))
        is_unknown = line[column] == [UNKNOWN]
        chosen = tags_of_scores(known, scores) if known and not is_unknown else line[column]
        tags |= dict.fromkeys(str(tag) for tag in chosen)
    return [*tags]

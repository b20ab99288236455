"""A song's scores over its time: numbers (.npz) and a picture (.png) a song."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepgenre.files import replacing
from deepgenre.inference.infer import FileOutputs
from deepgenre.inference.prediction_files.rows import encodable
from deepgenre.weights.spec import Spec

LONGEST_NAME = 180  # bytes: with suffix and all, file systems take 255


def names(files: Sequence[Path]) -> dict[Path, str]:
    """Returns a file name without suffix for each song: its own, numbered where several share it.

    Names that differ in case only count as one: not every disk tells them apart.
    """
    taken: set[str] = set()
    found = {}
    for path in files:
        stem = os.fsdecode(os.fsencode(path.stem)[:LONGEST_NAME])
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        found[path] = name
    return found


def write(folder: Path, name: str, heard: FileOutputs, spec: Spec) -> None:
    """Writes <name>.npz and <name>.png of what was heard in a song.

    The .npz holds 'times', float64 (windows,): where windows start, in seconds; 'scores', float32
    (windows, classes), as the network gave them; 'classes' (classes,); and 'window_seconds'.
    """
    from deepgenre.evaluation import figures  # matplotlib takes a second to import

    window_seconds = spec.window_frames / spec.frontend.frames_per_second
    with replacing(folder / f"{name}.npz") as path, path.open("wb") as stream:
        np.savez_compressed(
            stream,
            times=heard.start_seconds,
            scores=heard.scores,
            classes=np.array(spec.classes),
            window_seconds=window_seconds,
        )
    figures.taggram(
        folder / f"{name}.png",
        heard.start_seconds,
        window_seconds,
        heard.scores,
        spec.classes,
        title=encodable(heard.path.name),
    )

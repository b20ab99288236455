"""A song's scores over time: numbers (.npz) and a figure (.png) per song."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepgenre.files import replacing
from deepgenre.inference.infer import FileOutputs
from deepgenre.weights.spec import Spec

MAX_NAME_BYTES = 180  # file systems allow 255, of which number and suffix take some


def names(files: Sequence[Path]) -> dict[Path, str]:
    """Returns a file name without suffix per song: its own, with a number if it is a duplicate.

    Names that differ only in case are duplicates, as on case-insensitive file systems.
    """
    taken: set[str] = set()
    stems = {}
    for path in files:
        stem = os.fsdecode(os.fsencode(path.stem)[:MAX_NAME_BYTES])
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        stems[path] = name
    return stems


def write(folder: Path, name: str, outputs: FileOutputs, spec: Spec) -> None:
    """Writes <name>.npz and <name>.png of the outputs of a song.

    The .npz contains 'times', float64 (windows,): starts of the windows in seconds; 'scores',
    float32 (windows, classes), not calibrated; 'classes' (classes,); and 'window_seconds'.
    """
    from deepgenre.evaluation.figures import over_time, style  # matplotlib: a second to import

    window_seconds = spec.window_frames / spec.frontend.frames_per_second
    with replacing(folder / f"{name}.npz") as path, path.open("wb") as stream:
        np.savez_compressed(
            stream,
            times=outputs.start_seconds,
            scores=outputs.scores,
            classes=np.array(spec.classes),
            window_seconds=window_seconds,
        )
    figure = over_time.taggram(
        outputs.start_seconds,
        window_seconds,
        outputs.scores,
        spec.classes,
        title=outputs.path.name,
    )
    style.write(figure, folder / f"{name}.png")

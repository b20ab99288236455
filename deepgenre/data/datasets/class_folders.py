"""Datasets that consist of a folder per class, whose names are known."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepgenre.audio.discover import find_audio
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets.source import Source


def read(
    name: str,
    roots: Sequence[Path],
    classes: Mapping[str, str],
    group_of: Callable[[str], str],
    source: Source,
) -> Dataset:
    """Returns the clips in the folders of `classes` below the first of `roots` that has some.

    classes: folder -> label. Names of folders may differ in case, spaces, '-' and '_'. A clip's key
    is '<folder of `classes`>/<name of the file>', its group `group_of` of that name. Audio in other
    folders is stated in the notes.

    Raises:
      UserError: no root has such a folder, or none of them contains audio.
    """
    folder_of = {_plain(folder): folder for folder in classes}
    root = next((r for r in roots if any(_plain(f.name) in folder_of for f in _folders(r))), None)
    if root is None:
        raise source.lacking(roots[-1], f"none of the folders {', '.join(sorted(classes))}")
    clips: dict[str, Clip] = {}
    failures: list[str] = []
    notes: list[str] = []
    for directory in _folders(root):
        found = find_audio(directory)
        folder = folder_of.get(_plain(directory.name))
        if folder is None:
            notes += _left_out(directory, found.audio, "this is no class of the dataset")
            continue
        failures += found.failures.values()
        twice = []
        for path in found.audio:
            key = f"{folder}/{path.stem}"
            used = clips.setdefault(key, Clip(key, path, (classes[folder],), group_of(path.stem)))
            twice += [path] if used.path != path else []
        notes += _left_out(directory, twice, "another file has the same name")
    absent = sorted(set(classes) - {key.partition("/")[0] for key in clips})
    if not clips:
        raise source.lacking(root, "no audio in the folders of classes")
    if absent:
        notes.append(f"{root}: has no clip of {', '.join(absent)}")
    in_order = tuple(clips[key] for key in sorted(clips))
    return Dataset(name, in_order, False, tuple(failures), tuple(notes))


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def _left_out(folder: Path, paths: Sequence[Path], why: str) -> list[str]:
    if not paths:
        return []
    return [f"{folder}: {len(paths)} audio files are left out, e.g. {paths[0].name}; {why}"]

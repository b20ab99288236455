"""Your own music: one folder per genre, or a manifest.

    data_dir/<genre>/<file>                         each file is a group
    data_dir/<genre>/<artist or album>/.../<file>   each folder that contains files is a group
    data_dir/manifest.csv (.tsv, .jsonl)            see `manifest`

`data_dir` may also be the manifest itself.
"""

import dataclasses
from pathlib import Path
from typing import Any

from deepgenre.audio.discover import find_audio
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets.manifest import SUFFIXES, read_manifest
from deepgenre.errors import UserError

ONE_LABEL = (
    "{}: each clip has one label, and this config is for any number of tags: classes do not "
    "exclude each other; for one genre per clip use --config.multi_label=False"
)


def read(data_dir: Path, *, multi_label: bool, label_separator: str = "") -> Dataset:
    """Returns the clips of a folder per genre, keyed by their path below `data_dir`, or a manifest.

    label_separator: of `manifest.read_manifest`. Where each clip has one label although
    `multi_label` is set, a note says so.

    Raises:
      UserError: `data_dir` does not exist, contains no audio or audio outside a genre folder, all
        clips have the same labels, or the manifest is malformed.
    """
    task: Any = {"multi_label": multi_label, "label_separator": label_separator}
    if data_dir.is_file():
        dataset = read_manifest(data_dir, **task)
    elif not data_dir.is_dir():
        raise UserError(
            f"Folder {str(data_dir)!r} does not exist: put music there as <genre>/<file>, "
            "or give a manifest (.csv, .tsv or .jsonl) as --data_dir."
        )
    elif manifest := _manifest(data_dir):
        dataset = read_manifest(manifest, **task)
    else:
        dataset = _by_folder(data_dir, multi_label)
    if len({frozenset(clip.labels) for clip in dataset.clips}) == 1:
        names = ", ".join(map(repr, dataset.clips[0].labels)) or "none"
        raise UserError(
            f"All {len(dataset.clips)} clip(s) in {str(data_dir)!r} have the same labels "
            f"({names}): add clips of another genre."
        )
    if multi_label and all(len(clip.labels) == 1 for clip in dataset.clips):
        return dataclasses.replace(dataset, notes=(*dataset.notes, ONE_LABEL.format(data_dir)))
    return dataset


def _manifest(data_dir: Path) -> Path | None:
    """Returns the manifest in a folder, or None."""
    candidates = [data_dir / f"manifest{suffix}" for suffix in SUFFIXES]
    manifests = [path for path in candidates if path.is_file()]
    if len(manifests) > 1:
        names = " and ".join(path.name for path in manifests)
        raise UserError(f"Folder {str(data_dir)!r} contains {names}: keep one.")
    return manifests[0] if manifests else None


def _by_folder(data_dir: Path, multi_label: bool) -> Dataset:
    found = find_audio(data_dir)
    files = found.audio
    if not files:
        raise UserError(
            f"Folder {str(data_dir)!r} contains no audio file: put music there as <genre>/<file>."
        )
    loose = [path.name for path in files if path.parent == data_dir]
    if loose:
        examples = ", ".join(map(repr, loose[:3])) + (", ..." if len(loose) > 3 else "")
        raise UserError(
            f"Folder {str(data_dir)!r} contains {len(loose)} file(s) outside any genre folder "
            f"({examples}): move them to <genre>/."
        )
    clips = sorted((_clip(data_dir, path) for path in files), key=lambda clip: clip.key)
    return Dataset("folder", tuple(clips), multi_label, tuple(found.failures.values()))


def _clip(data_dir: Path, path: Path) -> Clip:
    relative = path.relative_to(data_dir)
    label, *folders, _ = relative.parts
    key = relative.as_posix()
    group = relative.parent.as_posix() if folders else key
    return Clip(key=key, path=path, labels=(label,), group=group)

"""Your own music: a folder for each genre, or a manifest.

    data_dir/<genre>/<file>                         every file its own group
    data_dir/<genre>/<artist or album>/.../<file>   a group for each folder that holds files
    data_dir/manifest.csv (.tsv, .jsonl)            see `manifest`

`data_dir` may also be the manifest itself.
"""

from pathlib import Path

from deepgenre.audio.discover import find_audio
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets.manifest import SUFFIXES, read_manifest
from deepgenre.errors import UserError


def read(data_dir: Path, *, multi_label: bool) -> Dataset:
    """Returns the clips of a folder per genre, keyed by their path below `data_dir`, or a manifest.

    Raises:
      UserError: there is nothing at `data_dir`, or no audio, or audio outside a genre's folder,
        or all clips have the same labels, or the manifest is malformed.
    """
    if data_dir.is_file():
        dataset = read_manifest(data_dir, multi_label=multi_label)
    elif not data_dir.is_dir():
        raise UserError(
            f"Folder {str(data_dir)!r} does not exist: put music there as <genre>/<file>, "
            "or give --data_dir a manifest (.csv, .tsv or .jsonl)."
        )
    elif manifest := _manifest(data_dir):
        dataset = read_manifest(manifest, multi_label=multi_label)
    else:
        dataset = Dataset("folder", _by_folder(data_dir), multi_label)
    if len({frozenset(clip.labels) for clip in dataset.clips}) == 1:
        names = ", ".join(map(repr, dataset.clips[0].labels)) or "no label"
        raise UserError(
            f"All of the {len(dataset.clips)} clip(s) in {str(data_dir)!r} are {names}: "
            "add clips of another genre."
        )
    return dataset


def _manifest(data_dir: Path) -> Path | None:
    """The manifest in a folder, if it holds one."""
    named = [data_dir / f"manifest{suffix}" for suffix in SUFFIXES]
    found = [path for path in named if path.is_file()]
    if len(found) > 1:
        raise UserError(
            f"Folder {str(data_dir)!r} holds {' and '.join(path.name for path in found)}: keep one."
        )
    return found[0] if found else None


def _by_folder(data_dir: Path) -> tuple[Clip, ...]:
    files = find_audio(data_dir)
    if not files:
        raise UserError(
            f"Folder {str(data_dir)!r} holds no audio file: put music there as <genre>/<file>."
        )
    loose = [path.name for path in files if path.parent == data_dir]
    if loose:
        some = ", ".join(map(repr, loose[:3])) + (", ..." if len(loose) > 3 else "")
        raise UserError(
            f"Folder {str(data_dir)!r} holds {len(loose)} file(s) outside any genre's folder "
            f"({some}): move them to <genre>/."
        )
    return tuple(sorted((_clip(data_dir, path) for path in files), key=lambda clip: clip.key))


def _clip(data_dir: Path, path: Path) -> Clip:
    place = path.relative_to(data_dir)
    label, *folders, _ = place.parts
    key = place.as_posix()
    group = place.parent.as_posix() if folders else key
    return Clip(key=key, path=path, labels=(label,), group=group)

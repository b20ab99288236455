"""Any dataset of the library mirdata: `--config.subset` is its name there.

Source: R. M. Bittner et al., "mirdata: software for reproducible usage of datasets", ISMIR 2019;
names, origins and licences: https://mirdata.readthedocs.io. Needs `pip install deepgenre[mirdata]`.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepgenre.data import splits
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets.source import Source
from deepgenre.errors import UserError, one_line, unknown_name

SOURCE = Source(
    "https://mirdata.readthedocs.io",
    "by dataset",
    "as mirdata's download() leaves it, with --data_dir as its data_home",
)
# Attributes of a track, the first that it has: its labels, and what is one group.
LABELS = ("genre", "genres", "style", "tags", "instrument", "instruments")
GROUPS = ("artist", "artists", "artist_id", "artist_name")


def read(data_dir: Path, *, multi_label: bool, subset: str = "") -> Dataset:
    """Returns the tracks of a dataset of mirdata, with its split where it has one.

    subset: 'gtzan_genre', or with the attribute that has the labels, 'irmas:instrument'; by default
    the first of `LABELS`. A clip's key is mirdata's track identifier. Tracks without a label are
    left out, with a note, unless `multi_label`. Tracks whose file is missing are returned too.

    Raises:
      UserError: mirdata is not installed, has no such dataset or cannot read it, its tracks have no
        such attribute or no audio, or, without `multi_label`, a track has several labels.
    """
    library = _library()
    name, _, attribute = subset.partition(":")
    if name not in library.list_datasets():
        raise unknown_name("config.subset (a dataset of mirdata)", name, library.list_datasets())
    try:
        dataset = library.initialize(name, data_home=str(data_dir))
        tracks = dataset.load_tracks()
        part_of = _parts(dataset)
        rows = [_row(key, track, attribute) for key, track in sorted(tracks.items())]
    except UserError:
        raise
    except Exception as error:  # its loaders raise what their files make of them
        reason = one_line(error)
        raise UserError(
            f"{data_dir}: mirdata cannot read {name} ({reason}); let it download what is missing: "
            f"python -c \"import mirdata; mirdata.initialize('{name}', data_home='{data_dir}')"
            '.download()"'
        ) from error
    clips, unlabelled = [], []
    for key, path, labels, group in rows:
        if not labels and not multi_label:
            unlabelled.append(key)
        elif len(labels) > 1 and not multi_label:
            raise UserError(
                f"{name}: track {key!r} has {len(labels)} labels, {', '.join(labels)}; set "
                "--config.multi_label=True"
            )
        else:
            clips.append(Clip(key, path, labels, group or key, split=part_of.get(key, "")))
    if not any(clip.path.is_file() for clip in clips):
        raise SOURCE.lacking(data_dir, f"no audio of {name}")
    notes = (
        [f"{len(unlabelled)} tracks without a label are left out, e.g. {unlabelled[0]}"]
        if (unlabelled)
        else []
    )
    return Dataset("mirdata", tuple(clips), multi_label, notes=tuple(notes))


def _library() -> Any:
    try:
        return importlib.import_module("mirdata")
    except ImportError as error:
        raise UserError(
            f"dataset 'mirdata': the library is not installed ({error}); run 'pip install "
            "deepgenre[mirdata]'"
        ) from error


def _parts(dataset: Any) -> dict[str, str]:
    """Returns the part of each track where the dataset was published with a split."""
    try:
        published = dataset.get_track_splits()
    except (NotImplementedError, AttributeError):  # most have none
        return {}
    return {
        str(key): splits.part_name(str(part)) for part, keys in published.items() for key in keys
    }


def _row(key: str, track: Any, attribute: str) -> tuple[str, Path, tuple[str, ...], str]:
    """Returns key, path of the audio, labels and group of a track."""
    name = attribute or next((name for name in LABELS if hasattr(track, name)), "")
    if not name or not hasattr(track, name):
        known = [one for one in dir(track) if not one.startswith("_")]
        raise UserError(
            f"config.subset: tracks have no attribute {name or ' or '.join(LABELS)}; name the one "
            f"with the labels after a colon, of {', '.join(known)}"
        )
    path = getattr(track, "audio_path", None)
    if not path:
        raise UserError(f"config.subset: track {key!r} has no audio; choose another dataset")
    group = next((getattr(track, name) for name in GROUPS if hasattr(track, name)), "")
    return key, Path(path), _texts(getattr(track, name)), "; ".join(_texts(group))


def _texts(value: Any) -> tuple[str, ...]:
    """Returns the names in a label: a text, several, or lists or numbers by name."""
    if value is None or isinstance(value, str):
        return (value.strip(),) if value and value.strip() else ()
    if isinstance(value, Mapping):
        lists = [one for one in value.values() if isinstance(one, list | tuple)]
        value = [text for one in lists for text in one] if lists else list(value)
    return tuple(dict.fromkeys(str(text).strip() for text in value if str(text).strip()))

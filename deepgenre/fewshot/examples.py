"""Labelled songs: a folder or playlist per class, or a manifest; and who their artists are."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio import suffixes
from deepgenre.audio.discover import expand
from deepgenre.data.clip import Clip
from deepgenre.data.datasets import folder, manifest
from deepgenre.errors import UserError
from deepgenre.files import expand_home, real_paths
from deepgenre.library import selection

LABELS = manifest.SEPARATOR  # between labels in a manifest, as no other may be part of a name


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled songs; the group of each is its artist where one is known, else the song itself."""

    clips: tuple[Clip, ...]
    classes: tuple[str, ...]
    multi_label: bool
    failures: tuple[str, ...] = ()  # folders that could not be read, entries that do not exist

    @property
    def num_known(self) -> int:
        """Returns the number of songs whose artist is known."""
        return sum(clip.group != clip.key for clip in self.clips)


def read(arguments: Sequence[str]) -> Examples:
    """Returns the examples that the arguments specify.

    One folder: a folder per class in it, or a manifest. One manifest: its labels; songs with other
    than one label make it one of tags. Several folders and playlists: each is a class. Raises
    UserError where there are none, or fewer than two classes.
    """
    if not arguments:
        raise UserError("--examples: give a folder per class, playlists or a manifest")
    path = expand_home(arguments[0])
    failures: Sequence[str] = ()
    if len(arguments) == 1 and (path.is_dir() or path.suffix.lower() in manifest.SUFFIXES):
        dataset = folder.read(path, multi_label=_has_manifest(path))
        clips, failures = [_located(clip) for clip in dataset.clips], dataset.failures
    else:
        clips, failures = _of_lists(arguments)
    multi_label = any(len(clip.labels) != 1 for clip in clips)
    classes = tuple(sorted({label for clip in clips for label in clip.labels}))
    if len(classes) < 2:
        raise UserError(
            f"--examples: have one class, {', '.join(classes)!r}; give songs of another as well"
        )
    return Examples(
        tuple(with_artist(clip) for clip in clips), classes, multi_label, tuple(failures)
    )


def _has_manifest(path: Path) -> bool:
    places = [path] if path.is_file() else [path / f"manifest{end}" for end in manifest.SUFFIXES]
    return any(place.is_file() for place in places)


def _located(clip: Clip) -> Clip:
    """Returns the clip with its absolute path as key, so that clips of other sources fit in."""
    key = str(clip.path.absolute())
    return dataclasses.replace(clip, key=key, group=key if clip.group == clip.key else clip.group)


def _of_lists(arguments: Sequence[str]) -> tuple[list[Clip], list[str]]:
    """Returns the clips of a list or folder per class, and what could not be used.

    A song in several is left out: its class is not known.
    """
    by_class: defaultdict[str, list[Path]] = defaultdict(list)
    failures: dict[Path, str] = {}
    for argument in arguments:
        path = expand_home(argument)
        if not path.is_dir() and path.suffix.lower() not in suffixes.LISTS:
            raise UserError(
                f"--examples: {argument!r} is no folder, playlist or manifest; give a folder or "
                "playlist per class"
            )
        found = expand([argument])
        by_class[path.resolve().name if path.is_dir() else path.stem] += found.audio
        failures |= found.failures
    real = {name: {*real_paths(paths)} for name, paths in by_class.items()}
    counts = Counter(one for paths in real.values() for one in paths)
    ambiguous = sum(count > 1 for count in counts.values())
    if ambiguous:
        log.warning("left out %d songs that are examples of more than one class", ambiguous)
    clips = {
        one: Clip(key=str(path.absolute()), path=path, labels=(name,), group=str(path.absolute()))
        for name, paths in by_class.items()
        for one, path in zip(real_paths(paths), paths, strict=True)
        if counts[one] == 1
    }
    return list(clips.values()), list(failures.values())


def with_artist(clip: Clip) -> Clip:
    """Returns the clip with the artist of its tags as group, unless a manifest gives a group."""
    if clip.group != clip.key:
        return dataclasses.replace(clip, group=clip.group.casefold())
    return dataclasses.replace(clip, group=selection.artist(clip.path) or clip.key)

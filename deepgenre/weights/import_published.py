"""Mode `import`: converts published weights to weight files that can be loaded by name."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError, look_up
from deepgenre.weights import choi, essentia_moods, loading, musicnn, weight_file, yamnet
from deepgenre.weights.spec import Weights


@dataclasses.dataclass(frozen=True)
class Source:
    """A publisher of weights, and how its files are read."""

    read: Callable[[Path | None], Mapping[str, Weights]]  # weights by name; None: downloaded
    flag: str  # that names a user's own copy


SOURCES: Mapping[str, Source] = {
    "musicnn": Source(musicnn.import_networks, "wheel"),
    "essentia_moods": Source(essentia_moods.import_networks, "folder"),
    "choi": Source(choi.import_networks, "folder"),
    "yamnet": Source(yamnet.import_networks, "folder"),
}


def run(source: str, copies: Mapping[str, Path | None]) -> int:
    """Writes the source's weights to `loading.imported_folder()`; returns exit code 0.

    copies: the user's own copy of the files, by flag. Without it, does nothing where all weight
    files exist and are valid. Raises UserError where the flag is another source's.
    """
    row = look_up(SOURCES, source, "--source")
    for flag, path in copies.items():
        if path and flag != row.flag:
            raise UserError(f"--{flag}: --source={source} does not use it, only --{row.flag}")
    own = copies.get(row.flag)
    names = [name for name, origin in loading.IMPORTABLE.items() if origin == source]
    if own is None and all(_is_valid(_path(name)) for name in names):
        log.info("%s: already imported to %s", source, loading.imported_folder())
    else:
        networks = row.read(own)
        for name, weights in networks.items():
            _write(name, weights)
        for licence in dict.fromkeys(weights.licence for weights in networks.values()):
            log.info("licence: %s", licence.strip().splitlines()[0])
        names = [*networks]
    mode = "predict" if loading.load(names[0]).spec.classes else "embed"
    log.info("use them by name, e.g. deepgenre %s --weights=%s songs/", mode, names[0])
    return 0


def _write(name: str, weights: Weights) -> None:
    size_bytes = weight_file.write(_path(name), weights, dtype="float32")
    num_classes = len(weights.spec.classes)
    contents = f"{num_classes} tags" if num_classes else "an embedding without tags"
    log.info("wrote %s: %s, %.1f MB", _path(name), contents, size_bytes / 1e6)


def _path(name: str) -> Path:
    return loading.imported_folder() / f"{name}.safetensors"


def _is_valid(path: Path) -> bool:
    try:
        weight_file.read(path)
    except UserError:
        return False
    return True

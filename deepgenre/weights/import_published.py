"""Mode `import`: converts published weights to weight files that can be loaded by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError, look_up
from deepgenre.weights import loading, musicnn, weight_file
from deepgenre.weights.spec import Weights

# Each reads the given file, or downloads it if None, and returns weights by name.
SOURCES: Mapping[str, Callable[[Path | None], Mapping[str, Weights]]] = {
    "musicnn": musicnn.import_networks,
}


def run(source: str, file: Path | None) -> int:
    """Writes the source's weights to `loading.imported_folder()`; returns exit code 0.

    Without `file`, does nothing where all weight files exist and are valid.
    """
    read_source = look_up(SOURCES, source, "--source")
    names = [name for name, origin in loading.IMPORTABLE.items() if origin == source]
    if file is None and all(_is_valid(_path(name)) for name in names):
        log.info("%s: already imported to %s", source, loading.imported_folder())
    else:
        for name, weights in read_source(file).items():
            _write(name, weights)
    log.info("use them by name, e.g. deepgenre predict --weights=%s songs/", names[0])
    return 0


def _write(name: str, weights: Weights) -> None:
    size_bytes = weight_file.write(_path(name), weights, dtype="float32")
    num_classes = len(weights.spec.classes)
    log.info("wrote %s: %d tags, %.1f MB", _path(name), num_classes, size_bytes / 1e6)


def _path(name: str) -> Path:
    return loading.imported_folder() / f"{name}.safetensors"


def _is_valid(path: Path) -> bool:
    try:
        weight_file.read(path)
    except UserError:
        return False
    return True

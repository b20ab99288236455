"""Mode `import`: weights that others published, as weights files that can be asked for by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError, look_up
from deepgenre.weights import loading, musicnn, weight_file
from deepgenre.weights.spec import Weights

# Each takes the file to read, None to download it, and returns networks by name.
SOURCES: Mapping[str, Callable[[Path | None], Mapping[str, Weights]]] = {
    "musicnn": musicnn.import_networks,
}


def run(source: str, file: Path | None) -> int:
    """Writes the source's networks into `weights.imported_folder()`; returns exit code 0.

    What is there already, and whole, is left as it is.
    """
    read = look_up(SOURCES, source, "--source")
    names = [name for name, of in loading.IMPORTABLE.items() if of == source]
    if all(_is_whole(_path(name)) for name in names):
        log.info("%s: already imported, in %s", source, loading.imported_folder())
    else:
        for name, network in read(file).items():
            _write(name, network)
    log.info("use them by name, e.g. --mode=predict --weights=%s --files=songs/", names[0])
    return 0


def _write(name: str, network: Weights) -> None:
    size = weight_file.write(_path(name), network, dtype="float32")
    num_classes = len(network.spec.classes)
    log.info("wrote %s: %d tags, %.1f MB", _path(name), num_classes, size / 1e6)


def _path(name: str) -> Path:
    return loading.imported_folder() / f"{name}.safetensors"


def _is_whole(path: Path) -> bool:
    try:
        weight_file.read(path)
    except UserError:
        return False
    return True

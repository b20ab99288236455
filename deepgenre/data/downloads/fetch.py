"""Mode `download`: fetches a dataset that is openly hosted, and unpacks it.

Files arrive in `.downloads` below the data folder. A rerun continues partial files, does not repeat
what is done, and extracts only what is missing; the archives may be deleted afterwards.
"""

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.data.datasets import dataset_kind
from deepgenre.data.downloads import archives, transfer
from deepgenre.data.downloads.catalogue import DOWNLOADS, Download, Item
from deepgenre.data.downloads.transfer import Patience, gigabytes
from deepgenre.errors import UserError, look_up
from deepgenre.files import replacing, updating

STORE = ".downloads"
ROUNDS = 2  # of downloading a file whose hash is wrong


@dataclasses.dataclass(frozen=True)
class Options:
    """Where to download from and to."""

    data_dir: Path | None = None  # None: data/<dataset>
    mirror: str = ""  # address of a folder that has the files; '': as published
    patience: Patience = dataclasses.field(default_factory=Patience)


def run(names: Sequence[str], options: Options) -> int:
    """Downloads a dataset by its name in DOWNLOADS; returns the exit code.

    Raises:
      UserError: there is no such name, a file cannot be had whole and right, or the disk is too
        small.
    """
    if len(names) != 1:
        raise UserError(f"download: give one dataset, of {', '.join(DOWNLOADS)}")
    if options.mirror and not options.mirror.startswith(("http://", "https://")):
        raise UserError(f"--mirror: {options.mirror!r} is no address; begin it with https://")
    download = look_up(DOWNLOADS, names[0], "download")
    data_dir = options.data_dir or Path("data") / download.dataset
    log.info("source: %s", dataset_kind(download.dataset).source)
    store = data_dir / STORE
    store.mkdir(parents=True, exist_ok=True)
    with updating(store, advice="wait until that download ends"):
        items = [item for item in download.items if not _is_done(item, data_dir)]
        _check_space(items, store, options)
        for item in items:
            _fetch(item, data_dir, download, options)
    _report(download, names[0], data_dir, store)
    return 0


def _check_space(items: Sequence[Item], store: Path, options: Options) -> None:
    """Raises UserError where the disk is too small for what is left to download and to extract."""
    needed = 0
    for item in items:
        size = sum(transfer.stated_size(url, options.patience) for url in _urls(item, options))
        size = size or item.num_bytes
        have = sum(path.stat().st_size for path in _paths(item, store) if path.is_file())
        have += sum(
            part.stat().st_size for part in map(_part, _paths(item, store)) if part.is_file()
        )
        needed += max(size - have, 0) + (size if item.extract else 0)
    transfer.check_space(store, needed, "the download")


def _fetch(item: Item, data_dir: Path, download: Download, options: Options) -> None:
    """Downloads, checks and places one item, and notes that it is done."""
    store = data_dir / STORE
    paths = _paths(item, store)
    for round_number in range(1, ROUNDS + 1):
        for url, path in zip(_urls(item, options), paths, strict=True):
            if not path.is_file():
                _download(url, path, options.patience)
        if not item.known_hash:
            log.info("%s: no hash is published; its size is as the server states", item.name)
            break
        log.info("%s: checking its %s", item.name, item.known_hash.partition(":")[0])
        found = _hash(paths, item.known_hash.partition(":")[0])
        if found == item.known_hash:
            break
        for path in paths:
            path.unlink()
        wrong = f"{item.name}: its hash is {found}, not {item.known_hash} ({download.hash_source})"
        if round_number == ROUNDS:
            raise UserError(f"{wrong}; it was removed; give another source with --mirror=URL")
        log.warning("%s; downloading it again", wrong)
    folder = data_dir / item.folder
    if item.extract:
        count = archives.extract(paths, item.name, folder)
        log.info("%s: %d files are in %s", item.name, count, folder)
    else:
        with replacing(folder / item.name) as temporary:
            temporary.write_bytes(paths[0].read_bytes())
    with replacing(_marker(item, store)) as temporary:
        temporary.write_text(_identity(item))


def _download(url: str, path: Path, patience: Patience) -> None:
    part = _part(path)
    have = part.stat().st_size if part.is_file() else 0
    total = transfer.stated_size(url, patience)
    with log.progress(None, total=total or 1, unit="B", title=path.name) as bar:
        bar.unit_scale, bar.total = True, total or None
        bar.update(have)
        transfer.transfer(url, part, bar.update, patience)
    part.replace(path)


def _hash(paths: Sequence[Path], algorithm: str) -> str:
    with io.BufferedReader(archives.JoinedFile(paths), 1 << 20) as joined:
        return f"{algorithm}:{hashlib.file_digest(joined, algorithm).hexdigest()}"


def _urls(item: Item, options: Options) -> list[str]:
    if not options.mirror:
        return [*item.urls]
    return [f"{options.mirror.rstrip('/')}/{url.rpartition('/')[2]}" for url in item.urls]


def _paths(item: Item, store: Path) -> list[Path]:
    return [store / url.rpartition("/")[2] for url in item.urls]


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _marker(item: Item, store: Path) -> Path:
    return store / f"{item.name}.done"


def _identity(item: Item) -> str:
    """Returns what the marker contains: of another version of the file it would be different."""
    return item.known_hash or " ".join(item.urls)


def _is_done(item: Item, data_dir: Path) -> bool:
    marker = _marker(item, data_dir / STORE)
    done = marker.is_file() and marker.read_text() == _identity(item)
    done = done and (item.extract or (data_dir / item.folder / item.name).is_file())
    if done:
        log.info("%s: is there already", item.name)
    return done


def _report(download: Download, name: str, data_dir: Path, store: Path) -> None:
    kept = sum(path.stat().st_size for path in store.iterdir() if path.is_file())
    log.info(
        "%s is in %s; next: deepgenre prepare --config=%s --data_dir=%s",
        name, data_dir, download.config or download.dataset, data_dir,
    )  # fmt: skip
    if kept > 1 << 20:
        log.info("%s has the archives, %s, which may be deleted", store, gigabytes(kept))

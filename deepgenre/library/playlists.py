"""Writes a playlist per label (.m3u8: UTF-8, paths relative to the playlist's folder)."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deepgenre.errors import UserError
from deepgenre.files import replacing

SUFFIX = ".m3u8"
NAME_BYTES = 120  # of a file name, without suffix: every file system supports 255
# Characters that are invalid on Windows or special in Unix shells, and names reserved by Windows.
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def write(
    folder: Path, labels: Sequence[str], songs: Mapping[str, Sequence[tuple[Path, float]]]
) -> dict[str, Path]:
    """Writes a playlist per label, also for labels without songs; returns their paths.

    songs: by label, (path, length in seconds) in the order of the playlist; each path must
    pass `check_listable`.
    """
    names = file_names(labels)
    for label in labels:
        with replacing(folder / names[label]) as temporary:
            temporary.write_text(to_text(label, songs.get(label, ()), folder), encoding="utf-8")
    return {label: folder / name for label, name in names.items()}


def to_text(label: str, songs: Iterable[tuple[Path, float]], folder: Path) -> str:
    """Returns the text of a playlist in `folder`. songs: (path, length in seconds)."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_single_line(label)}"]
    base = os.path.realpath(folder)
    for path, seconds in songs:
        # Links are resolved, because '..' after a link leads to the parent of its target.
        resolved = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
        relative = os.path.relpath(resolved, base)
        lines.append(f"#EXTINF:{round(seconds)},{_single_line(path.stem)}")
        lines.append(relative if relative.startswith("..") else f"./{relative}")
    return "\n".join(lines) + "\n"


def check_listable(path: Path) -> None:
    """Raises UserError where a path cannot be written as one line of UTF-8 text."""
    name = str(path.absolute())
    if re.search(r"[\r\n]", name) or name != name.rstrip():
        problem = "contains a line break or ends with a space"
    elif not name.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in name):
        problem = "is not UTF-8"
    else:
        return
    raise UserError(f"{str(path)!r}: its name {problem}; playlists cannot contain it, rename it")


def file_names(labels: Sequence[str]) -> dict[str, str]:
    """Returns a file name per label, valid on every system and unique regardless of case."""
    names: dict[str, str] = {}
    used: set[str] = set()
    for label in labels:
        stem, number = _safe_stem(label), 1
        name = stem
        while name.casefold() in used:
            number += 1
            name = f"{stem} ({number})"
        used.add(name.casefold())
        names[label] = name + SUFFIX
    return names


def _safe_stem(label: str) -> str:
    """Returns a valid stem of a file name for a label."""
    normal = unicodedata.normalize("NFC", label)
    kept = "".join(letter if letter.isprintable() else "_" for letter in normal)
    kept = FORBIDDEN.sub("_", kept).strip(". ")
    kept = kept.encode()[:NAME_BYTES].decode("utf-8", "ignore").rstrip(". ")
    return f"_{kept}" if not kept or RESERVED.fullmatch(kept) or kept[0] in "-~" else kept


def _single_line(title: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in title).strip()

"""Playlists (.m3u8: UTF-8, paths relative to the playlist's folder), one a label."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deepgenre.errors import UserError
from deepgenre.files import replacing

SUFFIX = ".m3u8"
NAME_BYTES = 120  # of a file's name, less suffix: every file system takes 255
# What Windows or a Unix shell would trip over in a name, and names that Windows keeps for itself.
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def write(
    folder: Path, labels: Sequence[str], songs: Mapping[str, Sequence[tuple[Path, float]]]
) -> dict[str, Path]:
    """Writes a playlist a label, also where it has no song; returns their paths.

    songs: by label, (path, length in seconds) in the order of the playlist; each path passes
    `check_listable`.
    """
    names = file_names(labels)
    for label in labels:
        with replacing(folder / names[label]) as temporary:
            temporary.write_text(text(label, songs.get(label, ()), folder), encoding="utf-8")
    return {label: folder / name for label, name in names.items()}


def text(label: str, songs: Iterable[tuple[Path, float]], folder: Path) -> str:
    """Returns a playlist that lies in `folder`, of (path, length in seconds)."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_on_one_line(label)}"]
    base = os.path.realpath(folder)
    for path, seconds in songs:
        # Real folders, because '..' after a link to a folder leads elsewhere than it reads.
        place = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
        relative = os.path.relpath(place, base)
        lines.append(f"#EXTINF:{round(seconds)},{_on_one_line(path.stem)}")
        lines.append(relative if relative.startswith("..") else f"./{relative}")
    return "\n".join(lines) + "\n"


def check_listable(path: Path) -> None:
    """Raises UserError where no line of a UTF-8 text can say a path: players would not find it."""
    name = str(path.absolute())
    if re.search(r"[\r\n]", name) or name != name.rstrip():
        what = "has a line break, or a blank at its end"
    elif not name.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in name):
        what = "is no UTF-8"
    else:
        return
    raise UserError(f"{str(path)!r}: its name {what}; no playlist can hold it, rename it")


def file_names(labels: Sequence[str]) -> dict[str, str]:
    """Returns a file name a label, safe on every system, no two alike in any case of letters."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        stem, number = _safe(label), 1
        name = stem
        while name.casefold() in taken:
            number += 1
            name = f"{stem} ({number})"
        taken.add(name.casefold())
        names[label] = name + SUFFIX
    return names


def _safe(label: str) -> str:
    """Returns the label as the stem of a file name."""
    normal = unicodedata.normalize("NFC", label)
    kept = "".join(letter if letter.isprintable() else "_" for letter in normal)
    kept = FORBIDDEN.sub("_", kept).strip(". ")
    kept = kept.encode()[:NAME_BYTES].decode("utf-8", "ignore").rstrip(". ")
    return f"_{kept}" if not kept or RESERVED.fullmatch(kept) or kept[0] in "-~" else kept


def _on_one_line(title: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in title).strip()

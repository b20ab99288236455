"""Writes a playlist per label (.m3u8: UTF-8, paths relative to the playlist's folder).

The folder's playlists are those of the last call: playlists of earlier calls that are no longer
produced are removed. `playlists.json` lists what was written, with a digest of each text; a file
that it lacks, or that was edited since, is the user's own and is neither changed nor removed.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import parse_json, replacing

SUFFIX = ".m3u8"
RECORD = "playlists.json"  # name of a playlist -> SHA-256 of the texts it may have
NAME_BYTES = 120  # of a file name, without suffix: every file system supports 255
# Characters that are invalid on Windows or special in Unix shells, and names reserved by Windows.
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def write(
    folder: Path, labels: Sequence[str], songs: Mapping[str, Sequence[tuple[Path, float]]]
) -> dict[str, Path]:
    """Writes a playlist per label that has songs; returns their paths by label.

    Its songs are in the order of their paths, numbers by value: an album's tracks are together.
    Raises UserError where the record is damaged.

    songs: by label, (path, length in seconds); each path must pass `check_listable`.
    """
    used = [label for label in labels if songs.get(label)]
    present = _digests(folder)
    recorded = _recorded(folder, present)
    ours = {name: present[name] for name in present if present[name] in recorded.get(name, ())}
    names = file_names(used, taken=present.keys() - ours.keys())
    texts = {
        names[label]: to_text(label, sorted(songs[label], key=_by_path), folder) for label in used
    }
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    # Before the playlists, so that those of an interrupted call are known to the next one.
    _record(folder, ours, digests)
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    stale = ours.keys() - digests.keys()
    for name in stale:
        (folder / name).unlink()
    _record(folder, digests)
    if stale:
        log.info("removed %d playlists of an earlier run", len(stale))
    if others := sorted(present.keys() - ours.keys()):
        log.info(
            "left unchanged in %s, as not written by this mode, or changed since: %s",
            *(folder, ", ".join(others)),
        )
    return {label: folder / name for label, name in names.items()}


def _digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each playlist in a folder, by name."""
    files = folder.iterdir() if folder.is_dir() else ()
    playlists = [path for path in files if path.suffix.lower() == SUFFIX and path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in playlists}


def _recorded(folder: Path, present: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns the digests of the texts that earlier calls wrote, by name.

    Without a record, as in folders of version 0.1, a playlist counts as written by these
    if it is in their format and has the name that belongs to its title.
    """
    path = folder / RECORD
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
        return {name: [*map(str, digests)] for name, digests in record.items()}
    except FileNotFoundError:
        return {name: [present[name]] for name in present if _has_our_format(folder / name)}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path}: is not a list of playlists; remove it, and the playlists beside it that "
            "are out of date"
        ) from error


def _record(folder: Path, *digests: Mapping[str, str]) -> None:
    """Writes the record: the digests of each name."""
    names = sorted({name for one in digests for name in one})
    record = {name: [one[name] for one in digests if name in one] for name in names}
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _has_our_format(path: Path) -> bool:
    """Returns whether `to_text` may have written a playlist under this name."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if len(lines) < 3 or lines[0] != "#EXTM3U" or not lines[1].startswith("#PLAYLIST:"):
        return False
    title, entries = lines[1].removeprefix("#PLAYLIST:"), lines[2:-1]
    return file_names([title])[title] == path.name and all(
        line.startswith(("./", "..") if number % 2 else "#EXTINF:")
        for number, line in enumerate(entries)
    )


def _by_path(song: tuple[Path, float]) -> list[list[tuple[int, str]]]:
    """Returns the key of natural order: folder by folder, '2' before '10', case aside."""
    return [
        [
            (int(part), "") if part.isdecimal() else (-1, part.casefold())
            for part in re.split(r"(\d+)", name)
        ]
        for name in song[0].parts
    ]


def to_text(label: str, songs: Iterable[tuple[Path, float]], folder: Path | None) -> str:
    """Returns the text of a playlist in `folder`; None: for any place, with absolute paths.

    songs: (path, length in seconds).
    """
    lines = ["#EXTM3U", f"#PLAYLIST:{_single_line(label)}"]
    base = os.path.realpath(folder) if folder else ""
    for path, seconds in songs:
        # Links are resolved, because '..' after a link leads to the parent of its target.
        resolved = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
        relative = os.path.relpath(resolved, base) if folder else resolved
        lines.append(f"#EXTINF:{round(seconds)},{_single_line(path.stem)}")
        lines.append(relative if relative.startswith(("..", "/")) else f"./{relative}")
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


def file_names(labels: Sequence[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Returns a file name per label, valid on every system and unique regardless of case.

    taken: names of other files, which no label gets.
    """
    names: dict[str, str] = {}
    used = {Path(name).stem.casefold() for name in taken}
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

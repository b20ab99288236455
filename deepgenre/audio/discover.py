"""Finds audio files in folders, by glob patterns and in lists. Only lists are opened.

Nothing is left out without a message: a folder that cannot be read and an entry of a list that does
not exist are among the found paths, with the reason in `Found.failures`; the number of files that
are ignored because they are not audio is logged.
"""

import collections
import dataclasses
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio import song_lists, suffixes
from deepgenre.errors import UserError
from deepgenre.files import expand_home, file_mode

SUFFIXES_LOGGED = 6  # the most frequent ones of ignored files


@dataclasses.dataclass(frozen=True)
class Found:
    """Paths in the order in which they were found."""

    # With repetitions and several paths to the same file, and with the paths of `failures`.
    paths: list[Path] = dataclasses.field(default_factory=list)
    # By path: why the folder, or the entry of a list, cannot be used.
    failures: dict[Path, str] = dataclasses.field(default_factory=dict)
    # Number of files in folders that are not audio, by suffix.
    ignored: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def files(self) -> list[Path]:
        """Returns each file once, under its first path, and the paths of failures."""
        files: dict[str, Path] = {}
        for path in self.paths:
            files.setdefault(os.path.realpath(path), path)
        return list(files.values())

    @property
    def audio(self) -> list[Path]:
        """Returns the paths without those of failures."""
        return [path for path in self.paths if path not in self.failures]

    def add(self, other: "Found") -> None:
        """Adds what was found elsewhere; the first reason of a failure stays."""
        self.paths.extend(other.paths)
        for path, reason in other.failures.items():
            self.failures.setdefault(path, reason)
        self.ignored.update(other.ignored)

    def fail(self, path: Path, reason: str) -> None:
        """Adds a path that cannot be used."""
        self.add(Found([path], {path: reason}))


def find_audio(folder: Path) -> Found:
    """Returns every audio and spectrogram file below `folder`, sorted, each as `folder / ...`.

    Suffixes are case-insensitive; names that begin with a dot are skipped (hidden files, the '._*'
    of macOS). Links are followed, but each directory is read once, under its own name rather than
    that of a link. Broken links are included: opening them reports the error. A directory below
    `folder` that cannot be read is a failure.

    Raises:
      UserError: `folder` itself cannot be read.
    """
    found = Found()
    seen: set[str] = set()
    pending = collections.deque([folder])
    while pending:
        directory = pending.popleft()
        real = os.path.realpath(directory)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = _scan(directory)
        except UserError as error:
            if directory == folder:
                raise
            found.fail(directory, str(error))
            continue
        for entry in entries:
            path, is_link = directory / entry.name, entry.is_symlink()
            if entry.name.startswith("."):
                continue
            if stat.S_ISDIR(file_mode(path)) if is_link else entry.is_dir():
                # Links are read after all real directories found so far.
                enqueue = pending.append if is_link else pending.appendleft
                enqueue(path)
            elif _is_audio(path) and (is_link or entry.is_file()):
                found.paths.append(path)
            else:
                found.ignored[path.suffix.lower()] += 1
    found.paths.sort()
    return found


def expand(arguments: Sequence[str]) -> Found:
    """Returns what `arguments` specify, in their order.

    An argument is a file (of any suffix), a folder (searched recursively), a pattern ('*', '?',
    '[...]', and '**' for any depth; only audio files match), a list (`suffixes.LISTS`), or '-': a
    list on standard input. A list contains files, folders and lists. Its relative paths are those
    in its folder; in text (.txt) and on standard input, those in the current folder, too.

    Raises:
      UserError: an argument matches nothing, or a list cannot be read.
    """
    found = Found()
    for argument in arguments:
        found.add(_expand_argument(argument))
    if ignored := found.ignored.total():
        frequent = found.ignored.most_common(SUFFIXES_LOGGED)
        counts = ", ".join(f"{suffix or 'no suffix'} {count}" for suffix, count in frequent)
        more = ", ..." if len(found.ignored) > len(frequent) else ""
        log.info(
            "ignored %d files in folders that are not audio by their suffix (%s%s)",
            ignored, log.escape_controls(counts), more,
        )  # fmt: skip
    return found


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"Cannot read the folder {str(directory)!r} ({error.strerror}): "
            "check its name and its permissions."
        ) from error


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in suffixes.AUDIO | suffixes.SPECTROGRAMS


def _expand_argument(argument: str) -> Found:
    if argument == song_lists.STANDARD_INPUT:
        entries = song_lists.read_standard_input()
        found = _expand_entries(entries, "standard input", [Path()], _Lists())
        if not found.paths:
            raise UserError("'-': standard input lists no files: write one path per line to it.")
        return found
    path = expand_home(argument)
    mode = file_mode(path) if argument else 0  # Path('') would be the current folder
    # Existing files first: 'Song [live].wav' may be a file name.
    if mode:
        found, nothing = _expand_path(path, mode, _Lists())
    elif glob.has_magic(argument):
        found, nothing = _match_pattern(path.parts), "matches no audio files"
    else:
        found, nothing = Found(), "does not exist"
    if not found.paths:
        raise UserError(f"{argument!r} {nothing}: check the path.")
    return found


@dataclasses.dataclass(frozen=True)
class _Lists:
    """Lists that are being read, each an entry of the one before, and those that were read."""

    within: tuple[Path, ...] = ()
    finished: set[str] = dataclasses.field(default_factory=set)  # real paths

    def cycle(self, real: str) -> tuple[Path, ...]:
        """Returns the lists from the one with this real path on; () where it is not being read."""
        reals = [os.path.realpath(path) for path in self.within]
        return self.within[reals.index(real) :] if real in reals else ()


def _expand_path(path: Path, mode: int, lists: _Lists) -> tuple[Found, str]:
    """Returns what an existing path contains and, in case of nothing, why that is an error.

    A list of lists that are all finished contains nothing, which is not an error.

    Raises UserError where the path is a list that cannot be read.
    """
    suffix = path.suffix.lower()
    if stat.S_ISDIR(mode):
        try:
            return find_audio(path), "contains no audio files"
        except UserError as error:
            return Found([path], {path: str(error)}), ""
    if suffix in suffixes.OTHER_LISTS:
        raise UserError(f"{str(path)!r} is a list of a kind that is not read: save it as .m3u8.")
    if suffix not in suffixes.LISTS:
        return Found([path]), ""
    folders = [path.parent, Path()] if suffix == ".txt" else [path.parent]
    inner = dataclasses.replace(lists, within=(*lists.within, path))
    entries = song_lists.read(path)
    found = _expand_entries(entries, str(path), folders, inner)
    lists.finished.add(os.path.realpath(path))
    return found, "" if entries else "lists no files"


def _expand_entries(
    entries: Sequence[song_lists.Entry], name: str, folders: Sequence[Path], lists: _Lists
) -> Found:
    """Returns what the entries of a list refer to; an entry that cannot be used is a failure."""
    found = Found()
    for entry in entries:
        path = song_lists.locate(entry, folders)
        where, mode, real = f"{name}, line {entry.line}", file_mode(path), os.path.realpath(path)
        if real in lists.finished:
            continue
        if not mode:
            found.fail(path, f"{where}: {entry.text.strip()!r} {_why_missing(entry.text)}")
        elif cycle := lists.cycle(real):
            names = " > ".join(map(str, (*cycle, path)))
            found.fail(path, f"{where}: the lists contain each other ({names}); remove the line")
        else:
            try:
                part, nothing = _expand_path(path, mode, lists)
            except UserError as error:
                part, nothing = Found([path], {path: f"{where}: {error}"}), ""
            if not part.paths and nothing:
                part.fail(path, f"{where}: {str(path)!r} {nothing}; remove the line")
            found.add(part)
    return found


def _why_missing(text: str) -> str:
    """Returns what is wrong with an entry that is not a path to a file, and what to do."""
    if re.match(r"(?!file:)[a-z][a-z0-9+.-]+://", text.strip(), re.IGNORECASE):
        return "is not a file on this computer; download it, and list the file"
    return "does not exist or cannot be accessed; correct or remove the line"


def _match_pattern(pattern: tuple[str, ...]) -> Found:
    """Returns the audio files that match a pattern, given as the parts of a path."""
    depth = pattern.index("**") if "**" in pattern else len(pattern)
    head = str(Path(*pattern[:depth]))
    found = Found()
    # Not glob's own '**', which follows cyclic links.
    for base in map(Path, glob.glob(head)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if base.is_dir():
            found.add(_matching(base, pattern[depth:] or ("**",)))
        elif _is_audio(base):
            found.paths.append(base)
        else:
            found.ignored[base.suffix.lower()] += 1
    found.paths.sort()
    return found


def _matching(folder: Path, pattern: tuple[str, ...]) -> Found:
    """Returns what is found in a folder, without the files that do not match the pattern."""
    part, _ = _expand_path(folder, file_mode(folder), _Lists())
    paths = [
        path
        for path in part.paths
        if path in part.failures or _parts_match(path.relative_to(folder).parts, pattern)
    ]
    return dataclasses.replace(part, paths=paths)


def _parts_match(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_parts_match(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return (
        bool(parts)
        and fnmatch.fnmatchcase(parts[0], pattern[0])
        and _parts_match(parts[1:], pattern[1:])
    )

"""Finds audio files: in folders, by patterns and in text lists. No file but a list is opened."""

import collections
import fnmatch
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepgenre.errors import UserError

# Of music in use: what libsndfile reads, then what ffmpeg does. The decoder tells the format from
# the content, not from these.
AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp1", ".mp2",
    ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc",
    ".m4a", ".m4b", ".aac", ".wma", ".mka", ".ac3", ".ape", ".wv", ".tta", ".mpc", ".dsf",
})  # fmt: skip
SPECTROGRAM_SUFFIXES = frozenset({".npy"})
LIST_SUFFIXES = frozenset({".txt", ".m3u", ".m3u8"})


def find_audio(folder: Path) -> list[Path]:
    """Returns every audio and spectrogram file below `folder`, sorted, each as `folder / ...`.

    Suffixes count in any case; names that begin with a dot are skipped (hidden files, the '._*'
    that macOS leaves). Links are followed, but a directory is read once, however many links lead
    to it, and under its own name rather than a link's. A link that leads nowhere is listed, for
    whoever opens it to report.

    Raises:
      UserError: `folder` or a directory below it cannot be read.
    """
    found: list[Path] = []
    seen: set[str] = set()
    pending = collections.deque([folder])
    while pending:
        directory = pending.popleft()
        real = os.path.realpath(directory)
        if real in seen:
            continue
        seen.add(real)
        for entry in _scan(directory):
            path, is_link = directory / entry.name, entry.is_symlink()
            if entry.name.startswith("."):
                continue
            if stat.S_ISDIR(file_mode(path)) if is_link else entry.is_dir():
                # Links wait until every real directory known so far has been read.
                enqueue = pending.append if is_link else pending.appendleft
                enqueue(path)
            elif _is_audio(path) and (is_link or entry.is_file()):
                found.append(path)
    return sorted(found)


def expand(arguments: Sequence[str]) -> list[Path]:
    """Returns the files that `arguments` name, in their order, each once however often named.

    An argument is a file (kept whatever its suffix), a folder (with all below it), a pattern
    ('*', '?', '[...]', and '**' for any depth; of what it matches, audio is kept), or a list: a
    UTF-8 text (`LIST_SUFFIXES`) of files and folders, one a line, blank lines and lines that
    begin with '#' skipped. A relative path in a list is looked for from here, then from the
    list's own folder; a listed file that does not exist is kept, for whoever opens it to report.

    Raises:
      UserError: an argument matches nothing, or a list or a folder cannot be read.
    """
    files: dict[str, Path] = {}
    for path in mentioned(arguments):
        files.setdefault(os.path.realpath(path), path)
    return list(files.values())


def mentioned(arguments: Sequence[str]) -> list[Path]:
    """Returns the files of `expand`, but as often as they are named, by whatever paths."""
    return [path for argument in arguments for path in _expand_argument(argument)]


def file_mode(path: Path) -> int:
    """Returns `st_mode` of what `path` leads to; 0 where nothing can be seen."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: what no file name can hold, such as '\0'
        return 0


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
    return path.suffix.lower() in AUDIO_SUFFIXES | SPECTROGRAM_SUFFIXES


def _expand_argument(argument: str) -> list[Path]:
    path = Path(argument).expanduser() if argument.startswith("~/") else Path(argument)
    mode = file_mode(path) if argument else 0  # Path('') would be the current folder
    if stat.S_ISDIR(mode):
        matched = find_audio(path)
        missing = "holds no audio file"
    elif mode and path.suffix.lower() in LIST_SUFFIXES:
        matched = _read_list(path)
        missing = "lists no file"
    elif mode:
        return [path]
    # Only now: 'Song [live].wav' may be the name of a file.
    elif glob.has_magic(argument):
        matched = sorted(_match(path.parts))
        missing = "matches no audio file"
    else:
        matched = []
        missing = "does not exist"
    if not matched:
        raise UserError(f"{argument!r} {missing}: check the path.")
    return matched


def _read_list(path: Path) -> list[Path]:
    """The entries of a text list, folders expanded."""
    try:
        # surrogateescape: names as `find` writes them, of whatever encoding, stay what they are.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"Cannot read the list {str(path)!r}: {error.strerror}.") from error
    if "\0" in text:
        raise UserError(f"The list {str(path)!r} is no UTF-8 text: save it as UTF-8.")
    files: list[Path] = []
    for line in map(str.strip, text.split("\n")):
        if not line or line.startswith("#"):
            continue
        listed = Path(line) if file_mode(Path(line)) else path.parent / line
        files += find_audio(listed) if stat.S_ISDIR(file_mode(listed)) else [listed]
    return files


def _match(pattern: tuple[str, ...]) -> Iterator[Path]:
    """The audio files that a pattern, given as the parts of a path, leads to."""
    depth = pattern.index("**") if "**" in pattern else len(pattern)
    head = str(Path(*pattern[:depth]))
    # Not glob's own '**': it follows links round and round.
    for base in map(Path, glob.glob(head)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if base.is_dir():
            for path in find_audio(base):
                if _fits(path.relative_to(base).parts, pattern[depth:] or ("**",)):
                    yield path
        elif _is_audio(base):
            yield base


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return (
        bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
    )

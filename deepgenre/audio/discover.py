"""Finds audio files in folders, by glob patterns and in text lists. Only lists are opened."""

import collections
import fnmatch
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepgenre.errors import UserError

# Common formats: those of libsndfile, then those of ffmpeg. The suffix only selects files; the
# decoder detects the format from the content.
AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp1", ".mp2",
    ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc",
    ".m4a", ".m4b", ".aac", ".wma", ".mka", ".ac3", ".ape", ".wv", ".tta", ".mpc", ".dsf",
})  # fmt: skip
SPECTROGRAM_SUFFIXES = frozenset({".npy"})
LIST_SUFFIXES = frozenset({".txt", ".m3u", ".m3u8"})


def find_audio(folder: Path) -> list[Path]:
    """Returns every audio and spectrogram file below `folder`, sorted, each as `folder / ...`.

    Suffixes are case-insensitive; names that begin with a dot are skipped (hidden files, the '._*'
    of macOS). Links are followed, but each directory is read once, under its own name rather than
    that of a link. Broken links are included: opening them reports the error.

    Raises:
      UserError: `folder` or a directory below it cannot be read.
    """
    files: list[Path] = []
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
                # Links are read after all real directories found so far.
                enqueue = pending.append if is_link else pending.appendleft
                enqueue(path)
            elif _is_audio(path) and (is_link or entry.is_file()):
                files.append(path)
    return sorted(files)


def expand(arguments: Sequence[str]) -> list[Path]:
    """Returns the files that `arguments` specify, in their order, without duplicates.

    An argument is a file (of any suffix), a folder (searched recursively), a pattern ('*', '?',
    '[...]', and '**' for any depth; only audio files match), or a list: a UTF-8 text
    (`LIST_SUFFIXES`) of files and folders, one per line; blank lines and lines that begin with '#'
    are skipped. A relative path in a list is resolved against the current folder, then against the
    folder of the list. Listed files that do not exist are included: opening them reports the error.

    Raises:
      UserError: an argument matches nothing, or a list or a folder cannot be read.
    """
    files: dict[str, Path] = {}
    for path in expand_with_duplicates(arguments):
        files.setdefault(os.path.realpath(path), path)
    return list(files.values())


def expand_with_duplicates(arguments: Sequence[str]) -> list[Path]:
    """Returns the files of `expand`, including repetitions and other paths to the same file."""
    return [path for argument in arguments for path in _expand_argument(argument)]


def file_mode(path: Path) -> int:
    """Returns `st_mode` of `path`, links followed; 0 if it does not exist or is inaccessible."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: characters invalid in file names, e.g. '\0'
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
        missing = "contains no audio files"
    elif mode and path.suffix.lower() in LIST_SUFFIXES:
        matched = _read_list(path)
        missing = "lists no files"
    elif mode:
        return [path]
    # Existing files first: 'Song [live].wav' may be a file name.
    elif glob.has_magic(argument):
        matched = sorted(_match_pattern(path.parts))
        missing = "matches no audio files"
    else:
        matched = []
        missing = "does not exist"
    if not matched:
        raise UserError(f"{argument!r} {missing}: check the path.")
    return matched


def _read_list(path: Path) -> list[Path]:
    """Returns the entries of a text list, folders expanded."""
    try:
        # surrogateescape keeps names of other encodings unchanged, e.g. in the output of `find`.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"Cannot read the list {str(path)!r}: {error.strerror}.") from error
    if "\0" in text:
        raise UserError(f"The list {str(path)!r} is not UTF-8 text: save it as UTF-8.")
    files: list[Path] = []
    for line in map(str.strip, text.split("\n")):
        if not line or line.startswith("#"):
            continue
        listed = Path(line) if file_mode(Path(line)) else path.parent / line
        files += find_audio(listed) if stat.S_ISDIR(file_mode(listed)) else [listed]
    return files


def _match_pattern(pattern: tuple[str, ...]) -> Iterator[Path]:
    """Yields the audio files that match a pattern, given as the parts of a path."""
    depth = pattern.index("**") if "**" in pattern else len(pattern)
    head = str(Path(*pattern[:depth]))
    # Not glob's own '**', which follows cyclic links.
    for base in map(Path, glob.glob(head)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if base.is_dir():
            for path in find_audio(base):
                if _parts_match(path.relative_to(base).parts, pattern[depth:] or ("**",)):
                    yield path
        elif _is_audio(base):
            yield base


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

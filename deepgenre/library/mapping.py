"""Names of classes in files: an owner's mapping file, else the usual spelling of genres."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.library.tag_fields import Values

# Spellings that capital letters alone do not give, by letters and digits in lower case.
SPELLINGS = {
    "hiphop": "Hip-Hop",
    "triphop": "Trip-Hop",
    "rnb": "R&B",
    "rb": "R&B",
    "rhythmandblues": "R&B",
    "edm": "EDM",
    "idm": "IDM",
    "lofi": "Lo-Fi",
    "synthpop": "Synth-Pop",
    "drumandbass": "Drum & Bass",
    "drumnbass": "Drum & Bass",
    "dnb": "Drum & Bass",
    "singersongwriter": "Singer-Songwriter",
}


def spell_genre(name: str) -> str:
    """Returns a genre as players spell it: 'rock' as 'Rock', 'hiphop' as 'Hip-Hop'."""
    key = re.sub(r"[\W_]", "", name.casefold())
    if key in SPELLINGS:
        return SPELLINGS[key]
    words = name.replace("_", " ").split()
    return " ".join(word if word != word.lower() else word[:1].upper() + word[1:] for word in words)


def names_of(labels: Iterable[str], names: Mapping[str, str], *, genre: bool) -> Values:
    """Returns the names to write for a song's classes, each once, in their order.

    names: by class in lower case, '' drops it; other classes keep their name, spelt as a genre if
    they are written as genres.
    """
    written = (
        names.get(label.casefold(), spell_genre(label) if genre else label) for label in labels
    )
    return tuple(dict.fromkeys(name for name in written if name))


def read(path: Path, classes: Iterable[str]) -> dict[str, str]:
    """Returns the name for each class of a mapping file, by class in lower case.

    The file is UTF-8: a JSON object, or lines 'class = name'; '#' begins a comment line, and an
    empty name drops the class. It may serve several weights: classes that these do not have are
    warned of. Raises UserError where a line is wrong or all classes are unknown.
    """
    names = read_pairs(path)
    known = {name.casefold() for name in classes}
    unknown = [label for label in names if label not in known]
    if names and len(unknown) == len(names):
        raise UserError(
            f"{path}: none of its classes is one of these weights: {', '.join(sorted(known))}"
        )
    if unknown:
        log.warning("%s: these weights have no class %s", path, ", ".join(map(repr, unknown)))
    return names


def read_pairs(path: Path) -> dict[str, str]:
    """Returns what a mapping file holds, by the left side in lower case.

    Raises UserError where the file cannot be read, or a line is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    pairs = _json_pairs(path, text) if text.lstrip().startswith("{") else _text_pairs(path, text)
    names: dict[str, str] = {}
    for label, name in pairs:
        key = label.casefold()
        if names.setdefault(key, name) != name:
            raise UserError(f"{path}: maps {label!r} to {names[key]!r} and to {name!r}; keep one")
    return names


def _json_pairs(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error})") from error
    for label, name in pairs:
        if not isinstance(name, str):
            raise UserError(f"{path}: {label!r} must map to a text, e.g. \"Rock\"; '' drops it")
    return [(label.strip(), name.strip()) for label, name in pairs]


def _text_pairs(path: Path, text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        label, equals, name = line.partition("=")
        if not equals or not label.strip():
            raise UserError(f"{path}: line {number} must be 'class = name', is {line.strip()!r}")
        pairs.append((label.strip(), name.strip()))
    return pairs

"""Asks for the classes of songs in the terminal, and keeps the answers in a file.

The file lies beside the weights, `NAME.answers.jsonl`: a manifest (`data.datasets.manifest`) with a
line per answer; a song that was skipped has no labels. It is complete after every answer.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from deepgenre.data.clip import Clip
from deepgenre.data.datasets.manifest import SEPARATOR, read_manifest, write_manifest
from deepgenre.errors import UserError
from deepgenre.fewshot.examples import with_artist
from deepgenre.log import escape_controls

SKIP, QUIT = "s", "q"


@dataclasses.dataclass(frozen=True)
class Question:
    """A song, and the scores of its best classes."""

    path: Path
    best: tuple[tuple[str, float], ...]


def answers_path(output: Path) -> Path:
    """Returns the file of answers that belongs to weights."""
    return output.with_name(f"{output.stem}.answers.jsonl")


def read(path: Path, classes: Sequence[str], *, multi_label: bool) -> list[Clip]:
    """Returns the answers so far, skipped songs without labels; [] where there are none.

    Raises UserError where the file is damaged, or names a class that the examples do not have.
    """
    if not path.exists() or not path.read_bytes().strip():
        return []
    clips = []
    for clip in read_manifest(path, multi_label=True, label_separator=SEPARATOR).clips:
        unknown = sorted({*clip.labels} - {*classes})
        if unknown or (len(clip.labels) > 1 and not multi_label):
            raise UserError(
                f"{path}: {clip.key!r} has the labels {', '.join(clip.labels)}, the examples "
                f"{', '.join(classes)}; correct the line or remove it"
            )
        clips.append(dataclasses.replace(clip, key=str(clip.path.absolute())))
    return clips


def ask(
    questions: Sequence[Question],
    classes: Sequence[str],
    path: Path,
    answered: Iterable[Clip],
    *,
    multi_label: bool,
    read_line: Callable[[str], str] = input,
) -> list[Clip]:
    """Asks for the class of each song until the last or a 'q'; returns all answers.

    Each answer is written to `path` at once, beside those of earlier runs (`answered`).
    """
    answers = list(answered)
    names = "several with '|' between, " if multi_label else ""
    print(f"classes: {', '.join(classes)}; {names}{SKIP} = skip, {QUIT} = quit")
    for number, question in enumerate(questions, 1):
        best = ", ".join(f"{name} {score:.2f}" for name, score in question.best)
        print(f"{number}/{len(questions)}  {escape_controls(question.path)}  ({best})")
        labels = _answer(classes, multi_label, read_line)
        if labels is None:
            break
        key = str(question.path.absolute())
        answers.append(with_artist(Clip(key, question.path.absolute(), labels, key)))
        write_manifest(path, answers)
    return answers


def _answer(
    classes: Sequence[str], multi_label: bool, read_line: Callable[[str], str]
) -> tuple[str, ...] | None:
    """Returns the labels typed, () for a skipped song, None to quit; asks again otherwise."""
    while True:
        try:
            text = read_line("class: ").strip()
        except EOFError:
            return None
        typed = [one.strip() for one in (text.split(SEPARATOR) if multi_label else [text])]
        found = [_matching(one, classes) for one in typed]
        if all(len(matches) == 1 for matches in found):
            return tuple(dict.fromkeys(matches[0] for matches in found))
        if text in (QUIT, SKIP):  # a class of this name comes first
            return None if text == QUIT else ()
        wrong = next(one for one, matches in zip(typed, found, strict=True) if len(matches) != 1)
        print(f"{escape_controls(repr(wrong))} is not one of: {', '.join(classes)}, {SKIP}, {QUIT}")


def _matching(text: str, classes: Sequence[str]) -> list[str]:
    """Returns the class of this name; else, in any case, the classes that begin with the text."""
    if text in classes:
        return [text]
    if text in ("", SKIP, QUIT):
        return []
    beginning = [name for name in classes if name.casefold().startswith(text.casefold())]
    return [name for name in beginning if name.casefold() == text.casefold()] or beginning

"""Restores files from the journal: every byte, or only the fields of a file changed since.

Where a file is as deepgenre left it, its old bytes and time return. Where another program changed
it meanwhile, only what deepgenre wrote is taken back: a field that still holds just that gets its
old values, one that the owner edited loses the values that deepgenre added.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from deepgenre.errors import UserError
from deepgenre.files import updating
from deepgenre.library import binary_diff, journal, policies, tag_writer
from deepgenre.library.file_tags import Change
from deepgenre.library.journal import Line


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a file (or of the journal): a note on what was restored, or an error."""

    path: Path
    error: str = ""
    note: str = ""


def run(path: Path, chosen: Sequence[Path] = ()) -> Iterator[Outcome]:
    """Restores the files of a journal, or those chosen (files or folders); yields each outcome.

    The journal keeps the lines of files that failed, were not reached or not chosen, and damaged
    lines. Raises UserError where the journal is missing.
    """
    if not path.exists():
        raise UserError(f"{path}: does not exist; there are no changes to undo")
    with updating(path):
        songs, damaged = journal.read(path)
        torn = journal.incomplete_line(path)
        if torn:
            yield Outcome(path, error=torn[0])
        for number, _ in damaged:
            yield Outcome(path, error=journal.damage_message(path, number))
        selected, missing = _select(songs, chosen)
        for argument in missing:
            yield Outcome(argument, error=f"{argument}: the journal holds no change of it")
        tag_writer.remove_stale_copies({Path(song).parent for song in selected})
        remaining = dict(songs)
        try:
            for song in selected:
                try:
                    note = _undo_file(Path(song), songs[song])
                    del remaining[song]
                    yield Outcome(Path(song), note=note)
                except UserError as error:
                    yield Outcome(Path(song), error=str(error))
        finally:
            left = [line for lines in remaining.values() for line in lines]
            unread = [*(raw for _, raw in damaged), *([torn[1]] if torn else [])]
            journal.replace(path, left, unread)


def _select(songs: Iterable[str], chosen: Sequence[Path]) -> tuple[list[str], list[Path]]:
    """Returns the songs that are chosen or lie in a chosen folder, and arguments without any."""
    if not chosen:
        return list(songs), []
    selected: dict[str, None] = {}
    missing = []
    for argument in chosen:
        real = os.path.realpath(argument)
        found = [song for song in songs if song == real or song.startswith(real + os.sep)]
        selected |= dict.fromkeys(found)
        missing += [] if found else [argument]
    return list(selected), missing


def _undo_file(song: Path, lines: list[Line]) -> str:
    """Reverts the changes of a file, whose lines are oldest first; returns a note or ''."""
    with tag_writer.user_errors(song):
        now, left = tag_writer.sha256(song), list(lines)
        if now == lines[0]["old_sha256"]:
            return ""
        while left and now in (left[-1]["new_sha256"], left[-1]["old_sha256"]):
            line = left.pop()
            if now == line["new_sha256"]:
                _restore(song, line)
                now = line["old_sha256"]
        return _restore_fields(song, left) if left else ""


def _restore(song: Path, line: Line) -> None:
    with tag_writer.copy_path(song) as (_, copy):
        try:
            with copy.open("wb") as stream:
                stream.writelines(binary_diff.apply(tag_writer.mapped(song), line["back"]))
        except ValueError as error:
            raise UserError(f"{song}: its line in the journal is damaged ({error})") from error
        if tag_writer.sha256(copy) != line["old_sha256"]:
            raise UserError(f"{song}: its line in the journal is damaged; file left unchanged")
        tag_writer.replace(song, copy, line["mtime_ns"])


def _restore_fields(song: Path, lines: list[Line]) -> str:
    """Takes back what deepgenre wrote into fields, as far as it is there; returns a note."""
    now = tag_writer.read(song)
    written = journal.combined(lines)
    back = {field: policies.owned(now[field], change) for field, change in written.items()}
    edited = [
        field
        for field, change in written.items()
        if back[field] == now[field] not in (change.old, change.new)
    ]
    ours = [field for field in written if back[field] != now[field]]
    if edited and not ours:
        raise UserError(
            f"{song}: was changed since its tags were written, also its {', '.join(edited)}, "
            "which stays"
        )
    if ours:
        requested = [Change(field, now[field], back[field]) for field in ours]
        tag_writer.rewrite(song, requested, lambda line: None)
    note = f"only its {', '.join(ours)}: another program changed the file since"
    return f"{note}, also its {', '.join(edited)}, which stays" if edited else note

"""Tags that a person accepted or edited on the page, written as mode `organize` writes them."""

import os
from collections.abc import Sequence
from pathlib import Path

from deepgenre.errors import UserError
from deepgenre.library import journal, mapping, results, tag_writer, undo
from deepgenre.library.policies import Tagging
from deepgenre.server.analysis import Json

MAX_TAGS, MAX_LETTERS = 32, 100


def check(tags: Sequence[object]) -> tuple[str, ...]:
    """Returns the tags, each once; raises UserError where one cannot be written."""
    if len(tags) > MAX_TAGS:
        raise UserError(f"tags: give {MAX_TAGS} at most")
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or len(tag) > MAX_LETTERS:
            raise UserError(f"tags: must be texts of 1 to {MAX_LETTERS} letters")
        if not tag.isprintable() or "; " in tag:
            raise UserError("tags: must not contain control characters or '; '")
    return tuple(dict.fromkeys(str(tag).strip() for tag in tags))


def change(folder: Path, path: Path, tags: Sequence[str], tagging: Tagging, *, write: bool) -> Json:
    """Returns the old and new values of the field of a file; applies them with `write`.

    folder: of the journal, that of --output. tagging: with its defaults. Raises UserError where
    the file cannot be written.
    """
    field = tagging.field
    names = mapping.names_of(tags, {}, genre=field == "genre")
    folder.mkdir(parents=True, exist_ok=True)
    journal_path = results.journal_path(folder)
    earlier = journal.history(journal_path).get(os.path.realpath(path), {})
    fields = {field: names}
    if write:
        with journal.appending(journal_path) as record:
            tag_writer.remove_stale_copies([path.resolve().parent])
            changes = results.change_tags(path, fields, tagging, earlier, record)
    else:
        changes = results.planned_changes(path, fields, tagging, earlier)
    values = {"old": list(changes[0].old), "new": list(changes[0].new)} if changes else None
    return {"field": field, "change": values, "written": bool(changes) and write}


def take_back(folder: Path, path: Path) -> Json:
    """Restores a file to its state before the page, or mode `organize`, changed its tags."""
    for outcome in undo.run(results.journal_path(folder), [path]):
        if outcome.error:
            raise UserError(outcome.error)
        return {"restored": True, "note": outcome.note}
    return {"restored": False, "note": ""}

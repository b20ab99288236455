"""What modes `organize` and `watch` write into their output folder, and into files.

<output>/<label>.m3u8           the songs of a genre or tag, see `playlists`
<output>/playlists.json         which playlists were written
<output>/report.md              counts per label, songs below the threshold, failures, duplicates
<output>/journal.jsonl          how to undo changes of the files, see `journal`
<output>/songs-<weights>.jsonl  predictions, as of mode `predict`; these songs are not read again
"""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio import describe
from deepgenre.errors import UserError
from deepgenre.files import replacing
from deepgenre.inference import predict, thresholds
from deepgenre.inference.infer import with_windows
from deepgenre.inference.tags import RUNNER_UP_SCORE, Choice
from deepgenre.library import playlists, policies, tag_writer
from deepgenre.library.file_tags import Change
from deepgenre.library.journal import Record
from deepgenre.library.labels import Labelling
from deepgenre.library.policies import Tagging
from deepgenre.library.report import Report, Song, to_markdown
from deepgenre.library.tag_fields import DESCRIPTOR_FIELDS, SEPARATOR, Values
from deepgenre.log import escape_controls
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Weights

# Tags of the predictions; labels are chosen from their scores: another choice continues the file.
SCORED = Choice(runner_up_threshold=RUNNER_UP_SCORE)
Failure = tuple[Path, str]  # a file, and the message


def check_folder(output: Path | None) -> Path:
    """Returns the output folder; raises UserError where it is not given or is a file."""
    if output is None or (output.exists() and not output.is_dir()):
        raise UserError("--output: give a folder for playlists, report and journal")
    return output


def networks_of(weights: Weights, moods: Weights | None) -> dict[str, Weights]:
    """Returns the networks that predict labels and, beside them, moods, by name."""
    return {"": weights} | ({"moods": moods} if moods else {})


def journal_path(folder: Path) -> Path:
    """Returns the journal of an output folder."""
    return folder / "journal.jsonl"


def predictions_path(folder: Path, networks: Sequence[Weights], options: predict.Options) -> Path:
    """Returns the file of predictions, by one network or several, in an output folder."""
    digests = [_scores_digest(weights, options) for weights in networks]
    return folder / f"songs-{'-'.join(digests)}.jsonl"


def scoring(options: predict.Options, predictions: Path) -> predict.Options:
    """Returns the options with which the file of predictions is made and continued."""
    choice = dataclasses.replace(SCORED, unfamiliar_below=options.choice.unfamiliar_below)
    return dataclasses.replace(options, output=predictions, resume=True, choice=choice)


def _scores_digest(weights: Weights, options: predict.Options) -> str:
    """Returns eight hexadecimal digits, a digest of everything that determines a prediction."""
    weights = with_windows(weights, options.window_seconds, options.hop_seconds)
    spec = weights.spec
    fields = [model_digest(weights), options.aggregation, spec.temperature, spec.classes]
    fields += [describe.columns(options.describe)] if options.describe else []
    fields += [options.choice.unfamiliar_below] if options.choice.unfamiliar_below else []
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:8]


def write_playlists(
    folder: Path, labels: Sequence[str], songs: Iterable[Song]
) -> tuple[dict[str, Path], list[Failure]]:
    """Writes the playlists; returns them by label, and an error per song that cannot be listed."""
    failures: list[Failure] = []
    entries: dict[str, list[tuple[Path, float]]] = collections.defaultdict(list)
    for song in songs:
        try:
            playlists.check_listable(song.path)
        except UserError as error:
            log.warning("failed: %s", error)
            failures.append((song.path, escape_controls(error)))
            continue
        for label in song.labels:
            entries[label].append((song.path, song.seconds))
    return playlists.write(folder, labels, entries), failures


def write_report(
    folder: Path,
    how: Labelling,
    songs: Sequence[Song],
    written: Mapping[str, Path],
    failures: Sequence[str],
    duplicates: Sequence[Sequence[Path]],
) -> None:
    """Writes report.md. written: the playlists by label."""
    report = Report(
        heading=f"{how.spec.model}, labels with {thresholds.describe(how.choice)}",
        songs=songs,
        labels=how.labels,
        playlist_names={label: path.name for label, path in written.items()},
        failures=failures,
        duplicates=duplicates,
    )
    with replacing(folder / "report.md") as path:
        text = to_markdown(report)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def change_tags(
    path: Path,
    fields: Mapping[str, Values],
    tagging: Tagging,
    earlier: Mapping[str, Change],
    record: Record | None,
) -> list[Change]:
    """Prints and returns the changes that give a file these values; applies them with a `record`.

    fields: by field; without values, e.g. of a song without labels, those written earlier are
    taken back. earlier: what deepgenre wrote, by field, see `journal.history`; record: of the
    journal. Raises UserError where the file cannot be written.
    """
    changes = planned_changes(path, fields, tagging, earlier)
    if changes and record:
        tag_writer.rewrite(path, changes, record)
    for change in changes:
        print(_change_line(path, change, taken_back=not fields[change.field]))
    return changes


def planned_changes(
    path: Path, fields: Mapping[str, Values], tagging: Tagging, earlier: Mapping[str, Change]
) -> list[Change]:
    """Returns the changes that give a file these values, see `change_tags`."""
    requested = {
        field: policies.combine(_policy(field, tagging), values, earlier.get(field))
        for field, values in fields.items()
    }
    return tag_writer.changes(path, requested)


def _policy(field: str, tagging: Tagging) -> str:
    if field in DESCRIPTOR_FIELDS:
        return tagging.descriptor_policy
    return tagging.policy if field == tagging.field else tagging.mood_policy


def _change_line(path: Path, change: Change, *, taken_back: bool) -> str:
    old, new = (SEPARATOR.join(values) for values in (change.old, change.new))
    note = " (no longer predicted)" if taken_back else ""
    return f"{escape_controls(path)}: {change.field}: {old!r} -> {new!r}{note}"


def groups(paths: Iterable[Path], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Returns the distinct paths grouped by key; groups of one path are left out."""
    groups: dict[Hashable, list[Path]] = collections.defaultdict(list)
    for path in dict.fromkeys(paths):
        groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]

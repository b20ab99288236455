"""Mode `organize`: playlists, tags in the files, and a report of a library.

<output>/<label>.m3u8           the songs of a genre or tag, see `playlists`
<output>/report.md              counts per label, songs below the threshold, failures, duplicates
<output>/journal.jsonl          how to undo changes of the files, see `journal`
<output>/songs-<weights>.jsonl  predictions, as of mode `predict`; these songs are not read again
"""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from deepgenre import log, summary
from deepgenre.audio import ffmpeg
from deepgenre.audio.discover import Found
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import for_soundfile, replacing
from deepgenre.inference import predict, thresholds
from deepgenre.inference.infer import with_windows
from deepgenre.inference.tags import (
    RUNNER_UP_SCORE,
    UNKNOWN,
    Choice,
    choose_tags,
    merged_scores,
    possible_tags,
)
from deepgenre.interrupt import stop_requests
from deepgenre.library import journal, mapping, playlists, policies, tag_writer
from deepgenre.library import undo as undo_files
from deepgenre.library.file_tags import Change
from deepgenre.library.policies import Tagging
from deepgenre.library.report import Report, Song, to_markdown
from deepgenre.library.tag_fields import SEPARATOR, Values
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Spec, Weights

# Tags of the predictions; labels are chosen from their scores: another choice continues the file.
SCORED = Choice(runner_up_threshold=RUNNER_UP_SCORE)
Failure = tuple[Path, str]  # a file, and the message


def run(
    weights: Weights,
    inputs: Found,
    options: predict.Options,
    *,
    write: bool,
    tagging: Tagging | None = None,
) -> int:
    """Organises the files; returns 1 if a file failed, else 0.

    options.output: the folder. Without `write`, changes of files are only printed.
    """
    with summary.batch("organize", options.summary) as counts:
        _organize(weights, inputs, options, counts, write=write, tagging=tagging or Tagging())
    return 1 if counts.failures else 0


def _organize(
    weights: Weights,
    inputs: Found,
    options: predict.Options,
    counts: Batch,
    *,
    write: bool,
    tagging: Tagging,
) -> None:
    folder, spec = _check_folder(options.output), weights.spec
    tagging = policies.resolve(tagging, multi_label=spec.multi_label)
    choice = options.choice if spec.multi_label else dataclasses.replace(options.choice, top_k=1)
    labels = possible_tags(spec.classes, choice)
    names = mapping.read(tagging.mapping, [*labels, *spec.classes]) if tagging.mapping else {}
    predictions = folder / f"songs-{_scores_digest(weights, options)}.jsonl"
    scored = dataclasses.replace(options, output=predictions, resume=True, choice=SCORED)
    predict.process({"": weights}, inputs, scored, counts)
    files = inputs.files
    songs, failures = _read_predictions(files, predictions, spec, choice)
    written, unlistable = _write_playlists(folder, labels, songs)
    is_genre = tagging.field == "genre"
    predicted = {s.path: mapping.names_of(s.labels, names, genre=is_genre) for s in songs}
    failures += [*unlistable, *_write_tags(folder, predicted, tagging, write=write)]
    report = Report(
        heading=f"{spec.model}, labels with {thresholds.describe(choice)}",
        songs=songs,
        labels=labels,
        playlist_names={label: path.name for label, path in written.items()},
        failures=[message for _, message in failures],
        duplicates=[*_same_file(inputs), *_same_content(files)],
    )
    with replacing(folder / "report.md") as path:
        text = to_markdown(report)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    log.info("wrote %d playlists and report.md to %s", len(written), folder)
    counted = {*itertools.chain(*counts.failures.values())}  # those of predictions
    for path, message in failures:
        if message not in counted:
            counts.add_failure(message, path)
    counts.results = [folder]


def _scores_digest(weights: Weights, options: predict.Options) -> str:
    """Returns eight hexadecimal digits, a digest of everything that determines a song's scores."""
    weights = with_windows(weights, options.window_seconds, options.hop_seconds)
    spec = weights.spec
    fields = [model_digest(weights), options.aggregation, spec.temperature, spec.classes]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:8]


def undo(output: Path | None, chosen: Sequence[str] = ()) -> int:
    """Restores files (all, or those chosen) to their state before `write`; returns 1 on failure."""
    failures = 0
    paths = [Path(argument).expanduser() for argument in chosen]
    for outcome in undo_files.run(_check_folder(output) / "journal.jsonl", paths):
        if outcome.error:
            failures += 1
            log.warning("failed: %s", escape_controls(outcome.error))
        else:
            note = f" ({outcome.note})" if outcome.note else ""
            log.info("restored: %s%s", escape_controls(outcome.path), note)
    return 1 if failures else 0


def _check_folder(output: Path | None) -> Path:
    if output is None or (output.exists() and not output.is_dir()):
        raise UserError("--output: give a folder for playlists, report and journal")
    return output


def _read_predictions(
    files: Sequence[Path], predictions: Path, spec: Spec, choice: Choice
) -> tuple[list[Song], list[Failure]]:
    """Returns the songs, in the order of the files, and the errors of files that failed."""
    with predictions.open(encoding="utf-8") as stream:
        lines = {line["path"]: line for line in map(json.loads, stream)}
    songs, failures = [], []
    for path in files:
        line = lines[str(path)]
        try:
            if "error" in line:
                raise UserError(line["error"])
            scores = np.array([line["scores"][name] for name in spec.classes])
            labels = tuple(sorted({*choose_tags(scores, spec.classes, choice)} - {UNKNOWN}))
            merged, names = merged_scores(scores, spec.classes, choice)
            best = int(merged.argmax())
            songs.append(Song(path, _seconds(path), labels, names[best], float(merged[best])))
        except UserError as error:
            failures.append((path, escape_controls(error)))
    return songs, failures


def _seconds(path: Path) -> float:
    try:
        return soundfile.info(for_soundfile(path)).duration
    except soundfile.LibsndfileError:  # a format of ffmpeg
        return sum(len(samples) / rate_hz for samples, rate_hz in ffmpeg.decode(path))


def _write_playlists(
    folder: Path, labels: Sequence[str], songs: Sequence[Song]
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


def _write_tags(
    folder: Path, predicted: Mapping[Path, Values], tagging: Tagging, *, write: bool
) -> list[Failure]:
    """Prints the changes of each file and, with `write`, applies them; returns the errors.

    predicted: the names to write by file; none for a song without labels, from which those written
    earlier are taken back.
    """
    failures: list[Failure] = []
    num_changed, num_kept = 0, 0
    with contextlib.ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests())
        earlier = journal.history(folder / "journal.jsonl")
        record = None
        if write:
            record = stack.enter_context(journal.appending(folder / "journal.jsonl"))
            tag_writer.remove_stale_copies({path.resolve().parent for path in predicted})
        for path, names in predicted.items():
            if stop_requested():
                raise InterruptedRunError(f"stopped after changing {num_changed} files")
            last = earlier.get(os.path.realpath(path), {}).get(tagging.field)
            if not names and not last:
                continue
            wanted = {tagging.field: policies.combine(tagging.policy, names, last)}
            try:
                changes = tag_writer.changes(path, wanted)
                if changes and record:
                    tag_writer.rewrite(path, changes, record)
                for change in changes:
                    print(_change_line(path, change, taken_back=not names))
                num_changed += bool(changes)
                num_kept += not changes
            except UserError as error:
                failures.append((path, escape_controls(error)))
                log.warning("failed: %s", error)
    if num_kept and tagging.policy == "fill":
        log.info("%d files keep the %s that they have (--policy=fill)", num_kept, tagging.field)
    if write:
        log.info("changed %d files; --undo restores them", num_changed)
    elif num_changed:
        log.info("no file was changed; --write changes these %d files", num_changed)
    return failures


def _change_line(path: Path, change: Change, *, taken_back: bool) -> str:
    old, new = (SEPARATOR.join(values) for values in (change.old, change.new))
    note = " (no longer predicted)" if taken_back else ""
    return f"{escape_controls(path)}: {change.field}: {old!r} -> {new!r}{note}"


def _same_file(inputs: Found) -> list[list[Path]]:
    """Returns groups of paths that lead to the same file, e.g. by a link."""
    return _groups(inputs.paths, os.path.realpath)


def _same_content(files: Sequence[Path]) -> list[list[Path]]:
    """Returns groups of files with identical bytes."""
    existing = [path for path in files if path.is_file()]
    same_size = _groups(existing, lambda path: path.stat().st_size)
    return [same for paths in same_size for same in _groups(paths, tag_writer.sha256)]


def _groups(paths: Iterable[Path], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Returns the distinct paths grouped by key; groups of one path are left out."""
    groups: dict[Hashable, list[Path]] = collections.defaultdict(list)
    for path in dict.fromkeys(paths):
        groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]

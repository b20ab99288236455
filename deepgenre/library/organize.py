"""Mode `organize`: playlists, tags in the files, and a report of a library, see `results`."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log, summary
from deepgenre.audio import decoding
from deepgenre.audio.describe import decode_fingerprint
from deepgenre.audio.discover import Found
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import expand_home, updating
from deepgenre.inference import predict
from deepgenre.inference.prediction_files.rows import SCORES, TAGS, Result, prefixed
from deepgenre.interrupt import stop_requests
from deepgenre.library import duplicates, journal, labels, results, tag_writer
from deepgenre.library import undo as undo_files
from deepgenre.library.labels import Labelling
from deepgenre.library.policies import Tagging
from deepgenre.library.report import Song
from deepgenre.library.results import Failure
from deepgenre.library.tag_fields import Values
from deepgenre.log import escape_controls
from deepgenre.sealed_lines import unsealed
from deepgenre.summary import Batch
from deepgenre.weights.spec import Weights


def run(
    weights: Weights,
    inputs: Found,
    options: predict.Options,
    *,
    write: bool,
    tagging: Tagging | None = None,
    moods: Weights | None = None,
) -> int:
    """Organises the files; returns 1 if a file failed, else 0.

    options.output: the folder. Without `write`, changes of files are only printed. moods: weights
    whose classes are written into the field of moods, beside the labels.
    """
    with summary.batch("organize", options.summary) as counts:
        networks = results.networks_of(weights, moods)
        specs = [each.spec for each in networks.values()]
        how = labels.labellings(specs, options.choice, tagging or Tagging())
        folder = results.check_folder(options.output)
        folder.mkdir(parents=True, exist_ok=True)
        with updating(folder):
            _organize(folder, networks, inputs, options, how, counts, write=write)
    return 1 if counts.failures else 0


def _organize(
    folder: Path,
    networks: Mapping[str, Weights],
    inputs: Found,
    options: predict.Options,
    labellings: Sequence[Labelling],
    counts: Batch,
    *,
    write: bool,
) -> None:
    predictions = results.predictions_path(folder, [*networks.values()], options)
    predict.process(networks, inputs, results.scoring(options, predictions), counts)
    files, how = inputs.files, labellings[0]
    by_network = dict(zip(networks, labellings, strict=True))
    songs, failures = _read_predictions(files, predictions, by_network)
    written, unlistable = results.write_playlists(folder, how.labels, songs)
    fields = {song.path: labels.fields_of(song, how) for song in songs}
    failures += [*unlistable, *_write_tags(folder, fields, how.tagging, write=write)]
    copies = _same_recording(songs) or _same_content(files)
    messages = [message for _, message in failures]
    same = [*_same_file(inputs), *copies]
    results.write_report(folder, how, songs, written, messages, same)
    log.info("wrote %d playlists and report.md to %s", len(written), folder)
    counted = {*itertools.chain(*counts.failures.values())}  # those of predictions
    for path, message in failures:
        if message not in counted:
            counts.add_failure(message, path)
    counts.results = [folder]


def undo(output: Path | None, chosen: Sequence[str] = ()) -> int:
    """Restores files (all, or those chosen) to their state before `write`; returns 1 on failure."""
    failures = 0
    journal_path = results.journal_path(results.check_folder(output))
    for outcome in undo_files.run(journal_path, [*map(expand_home, chosen)]):
        if outcome.error:
            failures += 1
            log.warning("failed: %s", escape_controls(outcome.error))
        else:
            note = f" ({outcome.note})" if outcome.note else ""
            log.info("restored: %s%s", escape_controls(outcome.path), note)
    return 1 if failures else 0


def _read_predictions(
    files: Sequence[Path], predictions: Path, labellings: Mapping[str, Labelling]
) -> tuple[list[Song], list[Failure]]:
    """Returns the songs, in the order of the files, and the errors of files that failed.

    labellings: by network; a song has the labels of the first, those of others are in its fields.
    """
    with predictions.open("rb") as stream:
        lines = {line["path"]: line for line in map(unsealed, stream)}
    songs, failures = [], []
    for path in files:
        line = lines[str(path)]
        try:
            if "error" in line:
                raise UserError(line["error"])
            seconds = line["seconds"] if "seconds" in line else decoding.seconds(path)
            every = [_result(line, network, how) for network, how in labellings.items()]
            song = labels.song_of(path, seconds, every, line, [*labellings.values()])
            fingerprint = line.get("acoustic_fingerprint") or ""
            songs.append(dataclasses.replace(song, fingerprint=fingerprint))
        except UserError as error:
            failures.append((path, escape_controls(error)))
    return songs, failures


def _result(line: Mapping[str, Any], network: str, how: Labelling) -> Result:
    """Returns the result of a network in a line of predictions."""
    scores = line[prefixed(network, SCORES)]
    tags = line.get(prefixed(network, TAGS), ())
    return Result(np.array([scores[name] for name in how.spec.classes]), tags)


def _write_tags(
    folder: Path, fields: Mapping[Path, Mapping[str, Values]], tagging: Tagging, *, write: bool
) -> list[Failure]:
    """Prints the changes of each file and, with `write`, applies them; returns the errors.

    fields: to write, by file and field; none for a song without labels, from which those written
    earlier are taken back.
    """
    failures: list[Failure] = []
    num_changed, num_kept = 0, 0
    with contextlib.ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests())
        earlier = journal.history(results.journal_path(folder))
        record = None
        if write:
            record = stack.enter_context(journal.appending(results.journal_path(folder)))
            tag_writer.remove_stale_copies({path.resolve().parent for path in fields})
        for path, values in fields.items():
            if stop_requested():
                raise InterruptedRunError(f"stopped after changing {num_changed} files")
            last = earlier.get(os.path.realpath(path), {})
            requested = {name: v for name, v in values.items() if v or name in last}
            if not requested:
                continue
            try:
                changes = results.change_tags(path, requested, tagging, last, record)
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


def _same_file(inputs: Found) -> list[list[Path]]:
    """Returns groups of paths that lead to the same file, e.g. by a link."""
    return results.groups(inputs.paths, os.path.realpath)


def _same_recording(songs: Sequence[Song]) -> list[list[Path]]:
    """Returns groups of files whose acoustic fingerprints match, where these are known."""
    known = {song.path: decode_fingerprint(song.fingerprint) for song in songs if song.fingerprint}
    return duplicates.groups(known)


def _same_content(files: Sequence[Path]) -> list[list[Path]]:
    """Returns groups of files with identical bytes."""
    existing = [path for path in files if path.is_file()]
    same_size = results.groups(existing, lambda path: path.stat().st_size)
    return [same for paths in same_size for same in results.groups(paths, tag_writer.sha256)]

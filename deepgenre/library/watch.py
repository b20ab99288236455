"""Mode `watch`: tags what is added to folders, and keeps playlists and the report up to date.

The folders are scanned periodically. A file is analysed when it has kept its size and modification
time for a while and no program has it open for writing; what is known of it is appended to the file
of predictions (see `remembered`) at once, so that a run continues where an earlier one ended, in
whatever way. The output folder is that of mode `organize`, which can undo the tags.
"""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio import describe
from deepgenre.errors import UserError
from deepgenre.files import expand_home, fingerprint, stamp, updating
from deepgenre.inference import aggregation, predict
from deepgenre.inference.infer import compile_infer_batch, with_windows
from deepgenre.inference.prediction_files import identity
from deepgenre.inference.prediction_files.rows import Layout, Networks, Prediction
from deepgenre.interrupt import stop_requests
from deepgenre.library import folder_scan, journal, labels, results, tag_writer, watched
from deepgenre.library.file_tags import Change
from deepgenre.library.folder_scan import State
from deepgenre.library.journal import Record
from deepgenre.library.remembered import Entry, Remembered
from deepgenre.library.stability import Sighting
from deepgenre.library.watched import BATCH_FILES, Job, Library, Options, StopRequested
from deepgenre.log import escape_controls
from deepgenre.weights.spec import Weights

SCAN_SHARE = 0.1  # most of the time that scans may take
REFRESH_SHARE = 0.05  # most of the time that playlists and report may take while files wait
NAP_SECONDS = 0.2  # within which a request to stop is noticed
Digest = Callable[[Path, State], str]


def run(
    weights: Weights,
    arguments: Sequence[str],
    options: Options,
    moods: Weights | None = None,
) -> int:
    """Watches the folders until asked to stop; returns 0.

    moods: as of mode `organize`.

    Raises UserError where an argument is no folder, or another run uses the output folder.
    """
    folder = results.check_folder(options.predict.output)
    for name in ("poll_seconds", "settle_seconds"):
        if not 0 <= getattr(options, name) <= 86_400:
            raise UserError(f"--{name}: must be 0 to 86400, is {getattr(options, name)}")
    networks = results.networks_of(weights, moods)
    specs = [each.spec for each in networks.values()]
    describe.check(options.predict.describe)
    for spec in specs:
        aggregation.check(options.predict.aggregation, spec)
        if options.predict.choice.unfamiliar_below:
            aggregation.check_familiarity(spec)
    how = labels.labellings(specs, options.predict.choice, options.tagging)
    roots = [expand_home(argument).absolute() for argument in arguments]
    if not roots:
        raise UserError("--files: give the folders to watch")
    folder.mkdir(parents=True, exist_ok=True)
    with updating(folder / "watch"), stop_requests() as stop_requested:
        predictions = results.predictions_path(folder, [*networks.values()], options.predict)
        scoring = results.scoring(options.predict, predictions)
        remembered = _remembered(networks, scoring, predictions)
        library = Library(remembered, watched.last_sightings(remembered, roots))
        for root in roots:
            if not root.is_dir() and not watched.any_below(library.sightings, root):
                raise UserError(f"{root}: is not a folder; give one to watch")
        networks = {
            name: with_windows(each, scoring.window_seconds, scoring.hop_seconds)
            for name, each in networks.items()
        }
        infer = [compile_infer_batch(each) for each in networks.values()]
        job = Job(roots, folder, options, scoring, networks, how, infer)
        log.info(
            "watching %s; %d songs are known; Ctrl-C ends",
            ", ".join(map(str, roots)), len(library.sightings),
        )  # fmt: skip
        digest = _digests()
        _watch(job, library, digest, stop_requested)
        if library.changed:
            _refresh(job, library, digest)
    log.info(
        "ended: %d songs, %d failures; the same command continues",
        len(library.songs), len(library.failures),
    )  # fmt: skip
    return 0


def _remembered(
    networks: Mapping[str, Weights], scoring: predict.Options, predictions: Path
) -> Remembered:
    """Returns what the file of predictions holds; raises UserError where it cannot be continued."""
    made_with = predict.identity_of(networks, scoring)
    layout = Layout(_classes(networks), predict.columns(networks, scoring))
    with updating(predictions):
        if predictions.exists():
            identity.check(predictions, made_with)
        remembered = Remembered(predictions, layout)
        identity.write(predictions, made_with)
    return remembered


def _classes(networks: Mapping[str, Weights]) -> Networks:
    return {name: weights.spec.classes for name, weights in networks.items()}


def _watch(job: Job, library: Library, digest: Digest, stop_requested: StopRequested) -> None:
    """Scans, processes files, writes playlists and report, and waits, until asked to stop."""
    refreshed_at, refresh_seconds = time.monotonic(), 0.0
    while not stop_requested():
        started = time.monotonic()
        watched.look(job, library, started)
        scan_seconds = time.monotonic() - started
        more = _process(job, library, started, stop_requested)
        sys.stdout.flush()
        elapsed = time.monotonic() - refreshed_at
        if library.changed and not (more and refresh_seconds > REFRESH_SHARE * elapsed):
            refresh_started = time.monotonic()
            _refresh(job, library, digest)
            refreshed_at = time.monotonic()
            refresh_seconds = refreshed_at - refresh_started
        if not more:
            wait_seconds = max(job.options.poll_seconds, scan_seconds * (1 / SCAN_SHARE - 1))
            _wait(started + wait_seconds, stop_requested)


def _process(job: Job, library: Library, now_seconds: float, stop_requested: StopRequested) -> bool:
    """Takes in, analyses and tags files; returns whether more are ready.

    Does nothing while another run updates the predictions, or, for tags, writes the journal.
    """
    if not library.untagged and watched.all_handled(library):
        return False
    assert job.scoring.output
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(updating(job.scoring.output))
        except UserError as error:
            _wait_for(library, error)
            return False
        watched.recognise(job, library, stop_requested)
        batch = watched.ready(job, library, now_seconds)
        _analyse(job, library, batch, stop_requested)
        _tag(job, library, stop_requested)
    return len(batch) == BATCH_FILES


def _wait_for(library: Library, error: UserError) -> None:
    """Prints once that another run is writing a file."""
    if library.in_use != str(error):
        log.warning("%s; this run continues then", error)
    library.in_use = str(error)


def _wait(until_seconds: float, stop_requested: StopRequested) -> None:
    while not stop_requested() and (rest := until_seconds - time.monotonic()) > 0:
        time.sleep(min(rest, NAP_SECONDS))


def _analyse(
    job: Job, library: Library, batch: Sequence[Path], stop_requested: StopRequested
) -> None:
    """Analyses files and remembers the result of each at once."""
    states = {path: library.sightings[path].state for path in batch}
    fingerprints = {path: fingerprint(path) for path in batch}
    predictions = predict.predictions(job.networks, batch, fingerprints, {}, job.scoring, job.infer)
    with contextlib.closing(predictions):
        for seconds, prediction in predictions:
            if stop_requested():
                return
            entry = _entry(prediction, seconds, states[prediction.path], library.remembered)
            if entry.error and stamp(entry.path) != entry.state:
                continue  # it changed or vanished meanwhile: no fault of the file
            library.remembered.append(entry)
            watched.take_in(job, library, entry, tag=True)
            if entry.error:
                log.warning("failed: %s", entry.error)
            else:
                print(predict.table_line(prediction, _classes(job.networks), job.scoring.choice))


def _entry(prediction: Prediction, seconds: float, state: State, remembered: Remembered) -> Entry:
    path = prediction.path
    if prediction.error:
        return Entry(path, prediction.fingerprint, error=prediction.error, stamp=state)
    return Entry(
        path,
        prediction.fingerprint,
        prediction.results,
        seconds=seconds,
        descriptors=prediction.descriptors,
        # An owner who changes tags of ours keeps these changes: the audio is the same.
        written=remembered.written_before(path, prediction.results),
        stamp=state,
    )


def _tag(job: Job, library: Library, stop_requested: StopRequested) -> None:
    """Prints the new tags of files, or writes them."""
    for path, entry in list(library.untagged.items()):
        if (now := stamp(path)) and now != entry.state:
            del library.untagged[path]  # it changed since: the next scan finds it
    todo = [
        path
        for path in library.untagged
        if path.exists() and not folder_scan.is_open_for_writing(path)
    ]
    if not todo:
        return
    journal_path = results.journal_path(job.folder)
    with contextlib.ExitStack() as stack:
        record = None
        if job.options.write:
            try:
                record = stack.enter_context(journal.appending(journal_path))
            except UserError as error:
                _wait_for(library, error)
                return
            tag_writer.remove_stale_copies({path.resolve().parent for path in todo})
        library.in_use = ""
        earlier = journal.history(journal_path)
        for path in todo:
            if stop_requested():
                return
            last = earlier.get(os.path.realpath(path), {})
            _tag_file(job, library, library.untagged.pop(path), last, record)


def _tag_file(
    job: Job, library: Library, entry: Entry, last: Mapping[str, Change], record: Record | None
) -> None:
    path, tagging = entry.path, job.how.tagging
    fields = labels.fields_of(library.songs[path], job.how)
    try:
        if requested := {name: values for name, values in fields.items() if values or name in last}:
            results.change_tags(path, requested, tagging, last, record)
    except UserError as error:
        library.failures.setdefault(path, []).append(str(error))
        library.changed = True
        log.warning("failed: %s", error)
        return
    if record:
        state = stamp(path)
        library.remembered.append(dataclasses.replace(entry, stamp=state, written=fields))
        library.handled[path] = state
        library.sightings[path] = Sighting(state, library.sightings[path].since_seconds)


def _refresh(job: Job, library: Library, digest: Digest) -> None:
    """Writes the playlists and the report."""
    songs = [library.songs[path] for path in sorted(library.songs)]
    states = {song.path: library.sightings[song.path].state for song in songs}
    same_size = results.groups(states, lambda path: (states[path] or (0,))[0])
    same_content = [
        same
        for paths in same_size
        for same in results.groups(paths, lambda path: digest(path, states[path]))
    ]
    same_file = [[path, *names] for path, names in library.other_names.items()]
    listable = [song for song in songs if not watched.listing_error(song.path)]
    failures = [escape_controls(error) for errors in library.failures.values() for error in errors]
    duplicates = [*same_file, *same_content]
    try:
        with updating(job.folder):
            written, _ = results.write_playlists(job.folder, job.how.labels, listable)
            results.write_report(job.folder, job.how, songs, written, failures, duplicates)
    except UserError as error:  # of mode organize, which writes them, or a damaged record
        _wait_for(library, error)
        return
    library.changed = False
    log.info("%d songs, %d failures in %s", len(songs), len(failures), job.folder)


def _digests() -> Digest:
    """Returns a function: the digest of a file's bytes, which reads each state of a file once."""
    known: dict[Path, tuple[State, str]] = {}

    def digest(path: Path, state: State) -> str:
        if path not in known or known[path][0] != state:
            try:
                known[path] = state, tag_writer.sha256(path)
            except OSError:  # away, or deleted since the scan: equal to no other
                return str(path)
        return known[path][1]

    return digest

"""Mode `watch`: tags what is added to folders, and keeps playlists and the report up to date.

The folders are scanned periodically. A file is analysed when it has kept its size and modification
time for a while and no program has it open for writing; what is known of it is appended to the file
of predictions (see `remembered`) at once, so that a run continues where an earlier one ended, in
whatever way. The output folder is that of mode `organize`, which can undo the tags.
"""

import contextlib
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import fingerprint
from deepgenre.inference import aggregation, predict
from deepgenre.inference.infer import InferBatch, compile_infer_batch, with_windows
from deepgenre.inference.prediction_files.rows import Prediction
from deepgenre.interrupt import stop_requests
from deepgenre.library import folder_scan, organize, playlists, stability, tag_writer
from deepgenre.library.folder_scan import State
from deepgenre.library.remembered import Entry, Remembered
from deepgenre.library.report import Song
from deepgenre.library.stability import Sighting
from deepgenre.log import escape_controls
from deepgenre.weights.spec import Spec, Weights

BATCH_FILES = 256  # analysed between two scans
SCAN_SHARE = 0.1  # most of the time that scans may take
REFRESH_SHARE = 0.05  # most of the time that playlists and report may take while files wait
NAP_SECONDS = 0.2  # within which a request to stop is noticed
StopRequested = Callable[[], bool]
Digest = Callable[[Path, State], str]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the mode; `cli.flags` describes each."""

    predict: predict.Options  # its output: the folder
    write: bool = False
    poll_seconds: float = 5.0
    settle_seconds: float = 10.0


@dataclasses.dataclass(frozen=True)
class _Job:
    """What stays the same during a run."""

    roots: Sequence[Path]  # absolute
    folder: Path  # of the output
    options: Options
    weights: Weights
    infer_batch: InferBatch

    @property
    def spec(self) -> Spec:
        return self.weights.spec


@dataclasses.dataclass
class _Library:
    """What is known of the folders."""

    remembered: Remembered
    sightings: dict[Path, Sighting]
    handled: dict[Path, State] = dataclasses.field(default_factory=dict)  # state when last handled
    songs: dict[Path, Song] = dataclasses.field(default_factory=dict)
    failures: dict[Path, list[str]] = dataclasses.field(default_factory=dict)
    untagged: dict[Path, Entry] = dataclasses.field(default_factory=dict)  # tags to print or write
    other_names: dict[Path, list[Path]] = dataclasses.field(default_factory=dict)
    away: dict[Path, str] = dataclasses.field(default_factory=dict)  # folders, with reasons
    journal_in_use: bool = False  # by another run
    changed: bool = True  # since playlists and report were written


def run(weights: Weights, arguments: Sequence[str], options: Options) -> int:
    """Watches the folders until asked to stop; returns 0.

    Raises UserError where an argument is no folder, or another run uses the output folder.
    """
    folder = organize.check_folder(options.predict.output)
    for name in ("poll_seconds", "settle_seconds"):
        if not 0 <= getattr(options, name) <= 86_400:
            raise UserError(f"--{name}: must be 0 to 86400, is {getattr(options, name)}")
    aggregation.check(options.predict.aggregation, weights.spec)
    roots = [Path(argument).expanduser().absolute() for argument in arguments]
    if not roots:
        raise UserError("--files: give the folders to watch")
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), stop_requests() as stop_requested:
        predictions = organize.predictions_path(folder, weights, options.predict)
        weights = with_windows(weights, options.predict.window_seconds, options.predict.hop_seconds)
        remembered = Remembered(predictions, weights.spec.classes)
        library = _Library(remembered, _last_sightings(remembered, roots))
        for root in roots:
            if not root.is_dir() and not _any_below(library.sightings, root):
                raise UserError(f"{escape_controls(root)}: is not a folder; give one to watch")
        job = _Job(roots, folder, options, weights, compile_infer_batch(weights))
        log.info(
            "watching %s; %d songs are known; Ctrl-C ends",
            ", ".join(map(escape_controls, roots)), len(library.sightings),
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


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        tag_writer.lock(folder, descriptor)
        yield
    finally:
        os.close(descriptor)


def _last_sightings(remembered: Remembered, roots: Sequence[Path]) -> dict[Path, Sighting]:
    """Returns the files of an earlier run as it left them, so that this one continues it."""
    now = time.monotonic()
    return {
        path: Sighting(remembered.last(path).state, now)
        for path in remembered.paths()
        if any(path.is_relative_to(root) for root in roots)
    }


def _watch(job: _Job, library: _Library, digest: Digest, stop_requested: StopRequested) -> None:
    """Scans, analyses, writes tags, playlists and report, and waits, until asked to stop."""
    refreshed_at, refresh_seconds = time.monotonic(), 0.0
    while not stop_requested():
        started = time.monotonic()
        _look(job, library, started)
        scan_seconds = time.monotonic() - started
        _recognise(job, library, stop_requested)
        batch = _ready(job, library, started)
        _analyse(job, library, batch, stop_requested)
        _tag(job, library, stop_requested)
        sys.stdout.flush()
        more = len(batch) == BATCH_FILES
        elapsed = time.monotonic() - refreshed_at
        if library.changed and not (more and refresh_seconds > REFRESH_SHARE * elapsed):
            refresh_started = time.monotonic()
            _refresh(job, library, digest)
            refreshed_at = time.monotonic()
            refresh_seconds = refreshed_at - refresh_started
        if not more:
            wait_seconds = max(job.options.poll_seconds, scan_seconds * (1 / SCAN_SHARE - 1))
            _wait(started + wait_seconds, stop_requested)


def _wait(until_seconds: float, stop_requested: StopRequested) -> None:
    while not stop_requested() and (rest := until_seconds - time.monotonic()) > 0:
        time.sleep(min(rest, NAP_SECONDS))


def _look(job: _Job, library: _Library, now_seconds: float) -> None:
    """Brings the sightings up to date, and drops the songs that are gone."""
    found: dict[Path, State] = {}
    away: dict[Path, str] = {}
    library.other_names = {}
    for root in job.roots:
        scan = folder_scan.scan(root)
        # The mount point of a network drive that is away is an empty folder.
        if not scan.files and not scan.unreadable and _any_below(library.sightings, root):
            scan.unreadable[root] = "is empty"
        found |= scan.files
        away |= scan.unreadable
        library.other_names |= scan.other_names
    before = library.sightings
    library.sightings = stability.observe(before, found, away, now_seconds)
    gone = [path for path in before if path not in library.sightings and path in library.handled]
    for path in gone:
        for known in (library.handled, library.songs, library.failures, library.untagged):
            known.pop(path, None)
    if gone:
        library.changed = True
        log.info("%d files are gone, deleted or renamed", len(gone))
    for path in library.away.keys() - away.keys():
        log.info("%s: can be read again", escape_controls(path))
    for path in away.keys() - library.away.keys():
        log.warning(
            "%s: cannot be read (%s); what is known of its files is kept",
            escape_controls(path), away[path],
        )  # fmt: skip
    library.away = away


def _any_below(paths: Iterable[Path], root: Path) -> bool:
    return any(path.is_relative_to(root) for path in paths)


def _recognise(job: _Job, library: _Library, stop_requested: StopRequested) -> None:
    """Takes in the files that were analysed before, in this state or under another name."""
    for path, sighting in library.sightings.items():
        if stop_requested():
            return
        if _is_handled(library, path):
            continue
        entry = library.remembered.get(path, sighting.state)
        if not entry and (entry := library.remembered.of_renamed(path, sighting.state)):
            library.remembered.append(entry)
        if entry and entry.scores is not None and entry.seconds is None:  # by mode organize
            if fingerprint(path) != entry.state:
                continue
            entry = _with_seconds(entry)
            library.remembered.append(entry)
        if entry:
            _take_in(job, library, entry, tag=job.options.write)


def _is_handled(library: _Library, path: Path) -> bool:
    return path in library.handled and library.handled[path] == library.sightings[path].state


def _with_seconds(entry: Entry) -> Entry:
    try:
        return dataclasses.replace(entry, seconds=organize.seconds_of(entry.path))
    except UserError as error:
        return dataclasses.replace(entry, scores=None, error=str(error))


def _take_in(job: _Job, library: _Library, entry: Entry, *, tag: bool) -> None:
    """Makes a file a song or a failure; `tag`: its tags are to be printed or written."""
    path = entry.path
    library.handled[path] = entry.state
    library.changed = True
    for known in (library.songs, library.failures, library.untagged):
        known.pop(path, None)
    if entry.scores is None or entry.seconds is None:
        library.failures[path] = [entry.error]
        return
    choice = organize.choice_of(job.spec, job.options.predict)
    song = organize.labelled(path, entry.seconds, entry.scores, job.spec, choice)
    library.songs[path] = song
    if error := _listing_error(path):
        library.failures[path] = [error]
    if tag and song.labels and entry.written != organize.fields_of(song, job.spec):
        library.untagged[path] = entry


def _listing_error(path: Path) -> str:
    try:
        playlists.check_listable(path)
    except UserError as error:
        return str(error)
    return ""


def _ready(job: _Job, library: _Library, now_seconds: float) -> list[Path]:
    """Returns the next files to analyse, complete as far as can be seen: at most BATCH_FILES."""
    ready = (
        path
        for path, sighting in library.sightings.items()
        if not _is_handled(library, path)
        and stability.is_settled(sighting, job.options.settle_seconds, now_seconds)
        and fingerprint(path) == sighting.state
        and not folder_scan.is_open_for_writing(path)
    )
    return list(itertools.islice(ready, BATCH_FILES))


def _analyse(
    job: _Job, library: _Library, batch: Sequence[Path], stop_requested: StopRequested
) -> None:
    """Analyses files and remembers the result of each at once."""
    states = {path: library.sightings[path].state for path in batch}
    predictions = predict.predictions(
        job.weights, batch, states, job.options.predict, job.infer_batch
    )
    with contextlib.closing(predictions):
        for prediction in predictions:
            if stop_requested():
                return
            entry = _entry(prediction, library.remembered)
            if entry.error and fingerprint(entry.path) != entry.state:
                continue  # it changed or vanished meanwhile: no fault of the file
            library.remembered.append(entry)
            _take_in(job, library, entry, tag=True)
            if entry.error:
                log.warning("failed: %s", escape_controls(entry.error))
            else:
                print(predict.table_line(prediction, job.spec))


def _entry(prediction: Prediction, remembered: Remembered) -> Entry:
    path, scores = prediction.path, prediction.scores
    entry = Entry(path, prediction.fingerprint, scores, prediction.tags, prediction.error)
    if scores is None:
        return entry
    # An owner who changes tags of ours keeps these changes: the audio is the same.
    return _with_seconds(
        dataclasses.replace(entry, written=remembered.written_before(path, scores))
    )


def _tag(job: _Job, library: _Library, stop_requested: StopRequested) -> None:
    """Prints the new tags of files, or writes them."""
    for path, entry in list(library.untagged.items()):
        if (now := fingerprint(path)) and now != entry.state:
            del library.untagged[path]  # it changed since: the next scan finds it
    todo = [
        path
        for path in library.untagged
        if path.exists() and not folder_scan.is_open_for_writing(path)
    ]
    with contextlib.ExitStack() as stack:
        record = None
        if job.options.write and todo:
            try:
                record = stack.enter_context(tag_writer.journal(job.folder / "journal.jsonl"))
            except UserError as error:
                if not library.journal_in_use:
                    log.warning("%s; tags are written after that", error)
                library.journal_in_use = True
                return
            library.journal_in_use = False
            tag_writer.remove_stale_copies({path.resolve().parent for path in todo})
        for path in todo:
            if stop_requested():
                return
            _tag_file(job, library, library.untagged.pop(path), record)


def _tag_file(job: _Job, library: _Library, entry: Entry, record: tag_writer.Record | None) -> None:
    path = entry.path
    fields = organize.fields_of(library.songs[path], job.spec)
    try:
        organize.change_tags(path, fields, record)
    except UserError as error:
        library.failures.setdefault(path, []).append(str(error))
        library.changed = True
        log.warning("failed: %s", escape_controls(error))
        return
    if record:
        state = fingerprint(path)
        library.remembered.append(dataclasses.replace(entry, state=state, written=fields))
        library.handled[path] = state
        library.sightings[path] = Sighting(state, library.sightings[path].since_seconds)


def _refresh(job: _Job, library: _Library, digest: Digest) -> None:
    """Writes the playlists and the report."""
    songs = [library.songs[path] for path in sorted(library.songs)]
    failures = [escape_controls(error) for errors in library.failures.values() for error in errors]
    states = {song.path: library.sightings[song.path].state for song in songs}
    same_size = organize.groups(states, lambda path: (states[path] or (0,))[0])
    same_content = [
        same
        for paths in same_size
        for same in organize.groups(paths, lambda path: digest(path, states[path]))
    ]
    same_file = [[path, *names] for path, names in library.other_names.items()]
    listable = [song for song in songs if not _listing_error(song.path)]
    failures += organize.write_playlists(job.folder, job.spec.classes, listable)
    choice = organize.choice_of(job.spec, job.options.predict)
    organize.write_report(
        job.folder, job.spec, choice, songs, failures, [*same_file, *same_content]
    )
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

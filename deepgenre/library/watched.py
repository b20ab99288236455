"""What mode `watch` knows about the files of its folders, and how scans change that."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio import decoding
from deepgenre.errors import UserError
from deepgenre.files import fingerprint, stamp
from deepgenre.inference import predict
from deepgenre.inference.infer import InferBatch
from deepgenre.library import folder_scan, labels, playlists, stability
from deepgenre.library.folder_scan import State
from deepgenre.library.labels import Labelling
from deepgenre.library.policies import Tagging
from deepgenre.library.remembered import Entry, Remembered
from deepgenre.library.report import Song
from deepgenre.library.stability import Sighting
from deepgenre.weights.spec import Weights

BATCH_FILES = 256  # analysed between two scans
StopRequested = Callable[[], int]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the mode; `cli.flags` describes each."""

    predict: predict.Options  # its output: the folder
    tagging: Tagging = dataclasses.field(default_factory=Tagging)
    write: bool = False
    poll_seconds: float = 5.0
    settle_seconds: float = 10.0


@dataclasses.dataclass(frozen=True)
class Job:
    """What stays the same during a run."""

    roots: Sequence[Path]  # absolute
    folder: Path  # of the output
    options: Options
    scoring: predict.Options  # of the predictions; its output: their file
    networks: Mapping[str, Weights]  # of labels and, beside them, of moods
    labellings: Sequence[Labelling]  # of each network
    infer: Sequence[InferBatch]  # likewise

    @property
    def how(self) -> Labelling:
        """Returns the labelling by which songs are listed."""
        return self.labellings[0]


@dataclasses.dataclass
class Library:
    """What is known of the folders."""

    remembered: Remembered
    sightings: dict[Path, Sighting]
    handled: dict[Path, State] = dataclasses.field(default_factory=dict)  # state when last handled
    songs: dict[Path, Song] = dataclasses.field(default_factory=dict)
    failures: dict[Path, list[str]] = dataclasses.field(default_factory=dict)
    untagged: dict[Path, Entry] = dataclasses.field(default_factory=dict)  # tags to print or write
    other_names: dict[Path, list[Path]] = dataclasses.field(default_factory=dict)
    away: dict[Path, str] = dataclasses.field(default_factory=dict)  # folders, with reasons
    in_use: str = ""  # which file another run is writing, as a message
    changed: bool = True  # since playlists and report were written


def look(job: Job, library: Library, now_seconds: float) -> None:
    """Brings the sightings up to date, and drops the songs that are gone."""
    found: dict[Path, State] = {}
    away: dict[Path, str] = {}
    library.other_names = {}
    for root in job.roots:
        scan = folder_scan.scan(root)
        # The mount point of a network drive that is away is an empty folder.
        if not scan.files and not scan.unreadable and any_below(library.sightings, root):
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
        log.info("%s: can be read again", path)
    for path in away.keys() - library.away.keys():
        log.warning(
            "%s: cannot be read (%s); what is known of its files is kept",
            path, away[path],
        )  # fmt: skip
    library.away = away


def last_sightings(remembered: Remembered, roots: Sequence[Path]) -> dict[Path, Sighting]:
    """Returns the files of an earlier run as it left them, so that this one continues it."""
    now = time.monotonic()
    return {
        path: Sighting(remembered.last(path).state, now)
        for path in remembered.paths()
        if any(path.is_relative_to(root) for root in roots)
    }


def any_below(paths: Iterable[Path], root: Path) -> bool:
    """Whether one of the paths is in a folder, at any depth."""
    return any(path.is_relative_to(root) for path in paths)


def recognise(job: Job, library: Library, stop_requested: StopRequested) -> None:
    """Takes in the files that were analysed before, in this state or under another name."""
    for path, sighting in library.sightings.items():
        if stop_requested():
            return
        if is_handled(library, path):
            continue
        entry = _known(library.remembered, path, sighting.state)
        if entry and entry.results and entry.seconds is None:  # by mode organize
            if stamp(path) != sighting.state:
                continue
            entry = with_seconds(entry)
            library.remembered.append(entry)
        if entry:
            take_in(job, library, entry, tag=job.options.write)


def _known(remembered: Remembered, path: Path, state: State) -> Entry | None:
    """Returns what is known of a file that is in this state, or was before tags were written."""
    entry = remembered.get(path, state) or remembered.get(path, fingerprint(path))
    if entry:
        return dataclasses.replace(entry, stamp=state)
    if entry := remembered.of_renamed(path, state):
        remembered.append(entry)
    return entry


def is_handled(library: Library, path: Path) -> bool:
    """Whether a file is taken in, in the state in which it was last seen."""
    return path in library.handled and library.handled[path] == library.sightings[path].state


def all_handled(library: Library) -> bool:
    """Whether every file is taken in, in the state in which it was last seen."""
    return all(is_handled(library, path) for path in library.sightings)


def with_seconds(entry: Entry) -> Entry:
    """Returns the entry with the length of the song, or with the error why it has none."""
    try:
        return dataclasses.replace(entry, seconds=decoding.seconds(entry.path))
    except UserError as error:
        return dataclasses.replace(entry, results=(), error=str(error))


def take_in(job: Job, library: Library, entry: Entry, *, tag: bool) -> None:
    """Makes a file a song or a failure; `tag`: its tags are to be printed or written."""
    path = entry.path
    library.handled[path] = entry.state
    library.changed = True
    for known in (library.songs, library.failures, library.untagged):
        known.pop(path, None)
    if not entry.results or entry.seconds is None:
        library.failures[path] = [entry.error]
        return
    about = entry.results, entry.descriptors
    song = labels.song_of(path, entry.seconds, *about, job.labellings)
    library.songs[path] = song
    if error := listing_error(path):
        library.failures[path] = [error]
    if tag and entry.written != labels.fields_of(song, job.how):
        library.untagged[path] = entry


def listing_error(path: Path) -> str:
    """Returns why playlists cannot contain a path; '' where they can."""
    try:
        playlists.check_listable(path)
    except UserError as error:
        return str(error)
    return ""


def ready(job: Job, library: Library, now_seconds: float) -> list[Path]:
    """Returns the next files to analyse, complete as far as can be seen: at most BATCH_FILES."""
    ready = (
        path
        for path, sighting in library.sightings.items()
        if not is_handled(library, path)
        and stability.is_settled(sighting, job.options.settle_seconds, now_seconds)
        and stamp(path) == sighting.state
        and not folder_scan.is_open_for_writing(path)
    )
    return list(itertools.islice(ready, BATCH_FILES))

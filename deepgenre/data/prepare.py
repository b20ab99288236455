"""Mode `prepare`: writes the levels of each clip of a dataset to the store, in worker processes.

A rerun prepares only clips that are missing or have a changed source file, and those of damaged
shards. Clips that cannot be read are reported and skipped; an interruption leaves complete shards,
from which a rerun resumes. One process at a time changes a store.
"""

import contextlib
import dataclasses
import hashlib
import os
import queue
import signal
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from deepgenre import executors, log, summary
from deepgenre.audio import frontend as front_end
from deepgenre.audio import waveforms
from deepgenre.audio.frontend import STORED_AS, FrontEnd
from deepgenre.data import class_counts, parts, shards, store
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.datasets import dataset_kind, read_dataset, spectrograms
from deepgenre.data.datasets.source import missing_line
from deepgenre.data.settings import DataSettings
from deepgenre.data.shards import Measured
from deepgenre.data.store import Contents, Row
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import file_mode, remove_abandoned, updating
from deepgenre.interrupt import STOPPED, stop_requests

CLIPS_PER_SHARD = 64  # SIGKILL loses at most one shard per worker
MOST_TRIED = 20  # missing files that are reported one by one
NAP_SECONDS = 0.2  # within which a request to stop is noticed


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared dataset: its store, the rows of prepared clips, and the failures."""

    folder: Path
    dataset: Dataset
    frontend: FrontEnd  # with the fields that precomputed spectrograms state
    rows: list[Row]
    failures: list[str]  # one line per clip that could not be prepared
    num_kept: int  # clips that the store contained already
    seconds: float  # length of the clips that it did not contain


def prepare(
    config: DataSettings, data_dir: Path, *, verify: bool = False, cluster: str = ""
) -> Prepared:
    """Prepares the clips that the store lacks, logs failures, and returns the prepared dataset.

    verify: all records of the store are compared with their checksums, not only sizes and rows.
    cluster: that prepares them, of `executors.cluster`; '': processes of this machine.

    Raises:
      UserError: the dataset cannot be read, no clip could be prepared, or another process is
        changing the store.
    """
    _compose(config, data_dir)
    dataset = read_dataset(config, data_dir)
    for note in dataset.notes:
        log.warning("%s", note)
    frontend, scale = frontend_of(config, dataset), scale_of(config, dataset)
    folder = folder_of(config, data_dir, dataset)
    failures = list(dataset.failures)
    contents = store.read_contents(folder)
    found = store.verify(folder) if verify else {}
    missing, rows = missing_clips(dataset, contents), _rows(dataset, contents)
    absent: list[Clip] = []
    is_old = contents.unchecked or not store.is_index_of(folder, rows)
    if missing or contents.damaged or found or (is_old and _is_writable(folder)):
        with updating(folder / "index.jsonl"):
            store.repair(folder, frontend.stored_dtype, found)
            missing = missing_clips(dataset, store.read_contents(folder))
            absent = _absent(missing)
            lost = {clip.key for clip in absent}
            tried = [clip for clip in missing if clip.key not in lost]
            work = _Work(folder, frontend, scale, config.prepare_workers, cluster)
            failures += _prepare_missing(tried, work)
            remove_abandoned(folder / "shards")  # of workers that died
            rows = _rows(dataset, store.read_contents(folder))
            if rows:
                store.write_index(folder, rows)
    reported = len(failures)
    failures += [f"{clip.path}: does not exist" for clip in absent]
    if not rows:
        raise UserError(
            f"{data_dir}: none of its {len(dataset.clips)} clips could be prepared; "
            f"first error: {failures[0]}"
        )
    for failure in failures[:reported]:
        log.warning("skipped: %s", failure)
    if absent:
        log.warning("skipped: %s", missing_line([clip.path for clip in absent], data_dir))
    log.info("prepared: %d of %d clips, in %s", len(rows), len(dataset.clips), folder)
    new = {clip.key for clip in missing}
    seconds = (
        sum(row.measured.frames for row in rows if row.key in new) / frontend.frames_per_second
    )
    num_kept = len(dataset.clips) - len(missing)
    return Prepared(folder, dataset, frontend, rows, failures, num_kept, seconds)


def _absent(missing: Sequence[Clip]) -> list[Clip]:
    """Returns the clips whose file does not exist, where these are many; few are tried as others.

    Of a partly downloaded dataset, they are most of the clips.
    """
    absent = [clip for clip in missing if not file_mode(clip.path)]
    return absent if len(absent) > MOST_TRIED else []


def _compose(config: DataSettings, data_dir: Path) -> None:
    """Composes the dataset, if it is one that the program generates."""
    compose = dataset_kind(config.dataset).compose
    if compose is None:
        return
    with executors.local(config.prepare_workers, num_tasks=2) as pool:
        compose(
            data_dir,
            executor=pool,
            progress=lambda clips: log.progress(
                clips, total=len(clips), unit="clip", title="compose"
            ),
        )


def run(
    config: DataSettings, data_dir: Path, summary_path: Path | None = None, *, cluster: str = ""
) -> int:
    """Prepares the dataset; returns the exit code: 1 if a clip could not be prepared.

    cluster: see `prepare`.
    """
    if source := dataset_kind(config.dataset).source:
        log.info("source: %s", source)
    with summary.batch("prepare", summary_path, unit="clip") as counts:
        prepared = prepare(config, data_dir, verify=True, cluster=cluster)
        dataset = prepared.dataset
        log.info("classes: %s", class_counts.counts_line(prepared.rows))
        for warning in _class_warnings(config, prepared):
            log.warning("%s", warning)
        counts.files, counts.kept = len(dataset.clips) + len(dataset.failures), prepared.num_kept
        counts.processed = counts.files - counts.kept
        counts.audio_seconds = prepared.seconds
        counts.results.append(prepared.folder)
        for failure in prepared.failures:
            counts.add_failure(failure)
    return 1 if prepared.failures else 0


def _class_warnings(config: DataSettings, prepared: Prepared) -> list[str]:
    """Returns warnings of names of classes, and of classes with few clips in a part of the split.

    The split is that of training with this config; where it cannot be made, the reason instead.
    """
    multi_label = prepared.dataset.multi_label
    warnings = class_counts.name_warnings({n for row in prepared.rows for n in row.labels})
    try:
        classes = parts.choose_classes(config, prepared.rows, multi_label)
        split = parts.split_rows(config, prepared.rows, classes, multi_label)
    except UserError as error:
        return [*warnings, f"training with this config is not possible yet: {error}"]
    return [*warnings, *class_counts.part_warnings(split, classes)]


def store_folder(config: DataSettings, data_dir: Path) -> Path:
    """Returns the folder of a data folder's stores; never inside the data folder itself."""
    if config.store_dir:
        return Path(config.store_dir)
    identity = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]
    return Path("data") / "store" / f"{config.dataset}-{identity}"


def folder_of(config: DataSettings, data_dir: Path, dataset: Dataset) -> Path:
    """Returns the store of a dataset's clips under this config's front end."""
    parts = (frontend_of(config, dataset).store_id, scale_of(config, dataset))
    return store_folder(config, data_dir) / "-".join(filter(None, parts))


def frontend_of(config: DataSettings, dataset: Dataset) -> FrontEnd:
    """Returns the front end of a config, with the fields that precomputed spectrograms state."""
    return FrontEnd(**{**config.frontend, **dataset.frontend})


def scale_of(config: DataSettings, dataset: Dataset) -> str:
    """Returns the scale of the values of precomputed spectrograms; '' of audio."""
    return (config.spectrogram_scale or dataset.clips[0].scale) if dataset.precomputed else ""


def missing_clips(dataset: Dataset, contents: Contents) -> list[Clip]:
    """Returns the clips that a store lacks or whose source has changed."""
    return [clip for clip in dataset.clips if not _current(clip, contents)]


def _is_writable(folder: Path) -> bool:
    return all(os.access(place, os.W_OK) for place in (folder, folder / "shards"))


def is_current(clip: Clip, measured: Measured) -> bool:
    """Returns whether a record is up to date with the clip's source file."""
    try:
        status = clip.path.stat()
    except OSError:  # prepared clips remain usable after their source is deleted
        return True
    return (status.st_size, status.st_mtime_ns) == (
        measured.source_bytes,
        measured.source_mtime_ns,
    )


def _rows(dataset: Dataset, contents: Contents) -> list[Row]:
    """Returns the rows of the clips that a store contains."""
    found = [(clip, _current(clip, contents)) for clip in dataset.clips]
    return [
        Row(clip.key, clip.labels, clip.group, clip.split, measured, clip.track)
        for clip, measured in found
        if measured
    ]


def _current(clip: Clip, contents: Contents) -> Measured | None:
    """Returns the latest record of a clip that is up to date with its source; None without one."""
    rows = contents.measured.get(clip.key, [])
    return next((row for row in reversed(rows) if is_current(clip, row)), None)


@dataclasses.dataclass(frozen=True)
class _Work:
    """How clips are prepared, and where."""

    folder: Path
    frontend: FrontEnd
    scale: str
    num_workers: int
    cluster: str

    def executor(
        self, tasks: Sequence[Sequence[Clip]]
    ) -> contextlib.AbstractContextManager[Executor]:
        """Returns the executor of the tasks."""
        if not self.cluster:
            return executors.local(self.num_workers, len(tasks))
        places = [self.folder, next((c.path for t in tasks for c in t if c.path.exists()), Path())]
        return executors.cluster(self.cluster, places)


def _prepare_missing(missing: Sequence[Clip], work: _Work) -> list[str]:
    if not missing:
        return []
    folder = work.folder
    if work.cluster:  # workers have other current folders
        folder = folder.absolute()
        missing = [dataclasses.replace(clip, path=clip.path.absolute()) for clip in missing]
    tasks = [
        missing[start : start + CLIPS_PER_SHARD]
        for start in range(0, len(missing), CLIPS_PER_SHARD)
    ]
    failures: list[str] = []
    finished: queue.SimpleQueue[Future[list[str]]] = queue.SimpleQueue()
    with (
        work.executor(tasks) as pool,
        log.progress(None, total=len(missing), unit="clip", title="prepare") as bar,
        stop_requests() as stop_requested,
    ):
        try:
            num_clips = {}
            for clips in tasks:
                future = pool.submit(prepare_shard, folder, clips, work.frontend, work.scale)
                num_clips[future] = len(clips)
                future.add_done_callback(finished.put)
            while num_clips:
                with contextlib.suppress(queue.Empty):
                    future = finished.get(timeout=NAP_SECONDS)
                    failures.extend(future.result())
                    bar.update(num_clips.pop(future))
                if stop_requested():
                    raise _stopped(stop_requested())
        except BrokenProcessPool as error:
            if stop_requested():  # a signal to all processes of the run
                raise _stopped(stop_requested()) from error
            raise UserError(
                "prepare: a worker process died (out of memory?); finished shards are kept, "
                "run again with fewer --config.prepare_workers"
            ) from error
    return sorted(failures)


def _stopped(number: int) -> InterruptedRunError:
    code = 0 if number == signal.SIGTERM else STOPPED
    return InterruptedRunError("stopped; finished clips are kept, the same command continues", code)


def prepare_shard(
    folder: Path, clips: Sequence[Clip], frontend: FrontEnd, scale: str = ""
) -> list[str]:
    """Writes one shard of the clips that can be read; returns one line per clip that cannot.

    When the run stops, of the clips so far.
    """
    prepared, failures = [], []
    for clip in clips:
        if executors.stopping():
            break
        try:
            levels = clip_levels(clip, frontend, scale)
            prepared.append((shards.measure(clip.key, levels, clip.path), levels))
        except UserError as error:
            failures.append(str(error))
    if prepared:
        identity = repr([(entry.key, entry.source_mtime_ns) for entry, _ in prepared])
        shards.write(folder, hashlib.sha256(identity.encode()).hexdigest()[:16], prepared)
    return failures


def clip_levels(clip: Clip, frontend: FrontEnd, scale: str = "") -> np.ndarray:
    """Returns the stored levels of a clip: (frames, stored_bands) of the front end's type.

    Audio is decoded and transformed by the front end; spectrograms (a row of an .npz, or a .npy)
    are used as they are, regardless of the front end. scale: of spectrograms in floats, a name in
    `spectrogram_levels.SCALES`; '': as the clip states, if it does.

    Raises:
      UserError: the file cannot be read, or it is a spectrogram and the front end requires audio.
    """
    if clip.precomputed and STORED_AS[frontend.kind] != "log_mel":
        raise UserError(
            f"{clip.path}: contains log-mel spectrograms, but config.frontend.kind "
            f"{frontend.kind!r} requires audio; give audio files, or use kind 'log_mel'"
        )
    bands, range_db = frontend.n_mels, frontend.dynamic_range_db
    scale = scale or clip.scale
    if clip.row >= 0:
        return spectrograms.npz_levels(
            clip.path, clip.row, num_bands=bands, range_db=range_db, scale=scale
        )
    if clip.precomputed:
        return spectrograms.npy_levels(clip.path, num_bands=bands, range_db=range_db, scale=scale)
    return front_end.levels(waveforms.load(clip.path, frontend.sample_rate_hz), frontend)

"""Checks weights, a dataset with its store of spectrograms, and the workdir of a run."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from deepgenre import log
from deepgenre.config import Config, check
from deepgenre.data import class_counts, prepare, store
from deepgenre.data.clip import Dataset
from deepgenre.data.datasets import read_dataset
from deepgenre.doctor.finding import Finding
from deepgenre.errors import UserError
from deepgenre.files import updated_by
from deepgenre.weights import loading, run_record

EXAMPLES = 3  # names of a list that is longer


def weights(source: str) -> Finding:
    """Returns whether weights can be loaded, match their network and are finite."""
    try:
        loaded = loading.load(source)
    except UserError as error:
        return Finding("weights", "fault", str(error), "import, copy or train them again")
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(loaded.variables)]
    count = sum(leaf.size for leaf in leaves)
    detail = f"{source}: {loaded.spec.model}, {len(loaded.spec.classes)} classes, {count:,} numbers"
    broken = sum(int(np.sum(~np.isfinite(leaf))) for leaf in leaves if leaf.dtype.kind == "f")
    if broken:
        return Finding("weights", "fault", f"{detail}; {broken} are NaN or infinite", "train again")
    return Finding("weights", "ok", detail)


def data(config: Config, data_dir: Path) -> Iterator[Finding]:
    """Yields findings on the dataset of a config, on its sources and on its store."""
    try:
        check(config)
        dataset = read_dataset(config, data_dir)
    except UserError as error:
        yield Finding("dataset", "fault", str(error), "see docs/data.md for the expected layout")
        return
    yield from _dataset(dataset, data_dir)
    yield from _store(config, data_dir, dataset)


def _dataset(dataset: Dataset, data_dir: Path) -> Iterator[Finding]:
    found = Counter(label for clip in dataset.clips for label in clip.labels)
    detail = f"{data_dir}: {dataset.name}, {len(dataset.clips)} clips, {len(found)} classes"
    if dataset.failures:
        detail = f"{detail}; {_some(dataset.failures)}"
        yield Finding("dataset", "fault", detail, "repair or remove what is named")
    else:
        yield Finding("dataset", "ok", detail)
    for note in (*dataset.notes, *class_counts.name_warnings(found)):
        yield Finding("dataset", "note", note, "check that this is intended")
    absent = sorted({str(clip.path) for clip in dataset.clips if not clip.path.exists()})
    if absent:
        detail = f"{len(absent)} files do not exist: {_some(absent)}"
        yield Finding("dataset", "note", detail, "restore them, unless they are in the store")


def _store(config: Config, data_dir: Path, dataset: Dataset) -> Iterator[Finding]:
    """Yields findings on the store; every record is compared with its checksum."""
    folder = prepare.folder_of(config, data_dir, dataset)
    if not folder.is_dir():
        yield Finding("store", "note", f"{folder}: does not exist", "deepgenre prepare writes it")
        return
    contents = store.read_contents(folder)
    damaged = {**contents.damaged, **store.verify(folder)}
    for error in damaged.values():
        yield Finding("store", "fault", str(error), "deepgenre prepare rebuilds these clips")
    if contents.unchecked:
        detail = f"{folder}: {len(contents.unchecked)} shards have no checksums"
        yield Finding("store", "note", detail, "deepgenre prepare adds them")
    missing = prepare.missing_clips(dataset, contents)
    detail = f"{folder}: {len(dataset.clips) - len(missing)} of {len(dataset.clips)} clips"
    if missing:
        yield Finding("store", "note", detail, "deepgenre prepare or train prepares the others")
    elif not damaged:
        yield Finding("store", "ok", f"{detail}, all checksums match")


def workdir(folder: Path) -> Iterator[Finding]:
    """Yields findings on the files of a run: its config, checkpoints and metrics."""
    if not folder.is_dir():
        yield Finding("workdir", "fault", f"{folder}: is no folder", "give the folder of a run")
        return
    if holder := updated_by(folder):
        detail = f"{folder}: is being updated by {holder}"
        yield Finding("workdir", "note", detail, "wait until it ends for a final result")
    try:
        spec = run_record.read(folder)
        lines = log.read_metrics(folder) if (folder / "metrics.jsonl").exists() else []
    except UserError as error:
        yield Finding("workdir", "fault", str(error), "see the message")
        return
    if spec is None and not lines:
        yield Finding("workdir", "fault", f"{folder}: contains no run", "give the folder of a run")
        return
    name = "no config.json" if spec is None else f"{spec.model}, {len(spec.classes)} classes"
    steps = max((line["step"] for line in lines), default=0)
    yield Finding("workdir", "ok", f"{folder}: {name}, metrics up to step {steps}")
    for step in sorted(folder.glob("checkpoints/[0-9]*"), key=lambda path: int(path.name)):
        yield weights(str(step))


def _some(names: "list[str] | tuple[str, ...]") -> str:
    """Returns the first names of a list, and the number of the others."""
    shown = "; ".join(names[:EXAMPLES])
    return shown + (f"; and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else "")

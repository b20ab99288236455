"""Mode `figures`: the figures of a paper about a dataset, a network and a run, as files."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from deepgenre import log
from deepgenre.audio import frontend as front_end
from deepgenre.audio import waveforms
from deepgenre.audio.discover import Found
from deepgenre.audio.frontend import FrontEnd
from deepgenre.config import Config
from deepgenre.data.datasets import dataset_kind, read_dataset, read_labels
from deepgenre.data.prepare import clip_levels
from deepgenre.errors import UserError
from deepgenre.evaluation.figures import (
    confusion,
    curves,
    network,
    over_time,
    reliability,
    style,
    tags,
)
from deepgenre.evaluation.report import evaluations
from deepgenre.models import build
from deepgenre.models import network as network_row
from deepgenre.models.layer_table import layers
from deepgenre.weights import run_record
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec

Figures = Iterator[tuple[str, Figure]]  # name of the file without suffix, and the figure


def run(
    config: Config | None,
    workdir: Path | None,
    data_dir: Path | None,
    songs: Found,
    output: Path | None,
) -> int:
    """Writes the figures that the given data allow, .png and .svg; returns the exit code.

    config: default that of the run in `workdir`. songs: drawn as spectrograms, instead of a clip of
    the dataset. The exit code is 1 where a song could not be read.

    Raises:
      UserError: neither a config nor a run is given, or nothing could be drawn.
    """
    spec = run_record.read(workdir) if workdir else None
    config = config or (specs.config_of(spec) if spec else None)
    if config is None:
        raise UserError("figures: give --config, or --workdir of a run")
    folder = output or (workdir / "figures" if workdir else Path("figures"))
    reasons: list[str] = []
    failures = [f"{path}: {reason}" for path, reason in songs.failures.items()]
    names: Counter[str] = Counter()
    for name, figure in _all(config, spec, workdir, data_dir, songs, reasons, failures):
        names[name] += 1
        stem = name if names[name] == 1 else f"{name}-{names[name]}"
        style.write_both(figure, folder / stem)
        log.info("drew %s", stem)
    for reason in reasons:
        log.warning("not drawn: %s", reason)
    for failure in failures:
        log.warning("skipped: %s", failure)
    if not names:
        raise UserError("figures: nothing could be drawn; the lines above tell why")
    drawn = log.counted(names.total(), "figure")
    log.info("wrote %s, as .png and .svg, to %s", drawn, folder)
    return 1 if failures else 0


def _all(
    config: Config,
    spec: Spec | None,
    workdir: Path | None,
    data_dir: Path | None,
    songs: Found,
    reasons: list[str],
    failures: list[str],
) -> Figures:
    frontend = spec.frontend if spec else FrontEnd(**config.frontend)
    counts: Mapping[str, int] = {}
    source = data_dir or Path(f"data/{config.dataset}")
    try:
        labels = read_labels(config, source)
        counts = Counter(name for names in labels.values() for name in set(names))
        yield from _distributions(counts, len(labels), config.top_tags)
    except UserError as error:
        reasons.append(f"classes: {error}")
    if songs.paths:
        yield from _songs(songs, frontend, failures)
    else:
        yield from _first_clip(config, source, frontend, reasons)
    yield from _network(config, spec, frontend, counts, reasons)
    if workdir:
        yield from _run(workdir, spec, reasons)


def _distributions(counts: Mapping[str, int], num_clips: int, top_tags: int) -> Figures:
    """Yields the distribution of all classes and, where there are more, of the `top_tags`."""
    top = top_tags if 0 < top_tags < len(counts) else 0
    yield "classes", tags.distribution(counts, num_clips, top)
    if top:
        first = sorted(counts, key=lambda name: (-counts[name], name))[:top]
        yield f"classes-top{top}", tags.distribution({n: counts[n] for n in first}, num_clips)


def _songs(songs: Found, frontend: FrontEnd, failures: list[str]) -> Figures:
    for path in log.progress(songs.audio, total=len(songs.audio), unit="file", title="draw"):
        try:
            levels = front_end.levels(waveforms.load(path, frontend.sample_rate_hz), frontend)
        except UserError as error:
            failures.append(str(error))
            continue
        yield f"spectrogram-{path.stem}", over_time.spectrogram(levels, frontend, path.name)


def _first_clip(config: Config, source: Path, frontend: FrontEnd, reasons: list[str]) -> Figures:
    """Yields the spectrogram of the first clip of the dataset that can be read."""
    error: UserError | None = None
    try:
        for clip in read_dataset(config, source).clips:
            try:
                levels = clip_levels(clip, frontend, config.spectrogram_scale)
            except UserError as unreadable:
                error = unreadable
                continue
            yield "spectrogram", over_time.spectrogram(levels, frontend, clip.key)
            return
    except UserError as unreadable:
        error = unreadable
    reasons.append(f"spectrogram: {error}")


def _network(
    config: Config,
    spec: Spec | None,
    frontend: FrontEnd,
    counts: Mapping[str, int],
    reasons: list[str],
) -> Figures:
    """Yields the network of the run or, without one, of the config's window and classes."""
    if spec:
        module, frames = specs.build(spec), spec.window_frames
    else:
        num_classes = min(len(counts), config.top_tags or len(counts)) if counts else 0
        seconds = config.window_seconds or dataset_kind(config.dataset).clip_seconds
        if not num_classes or not seconds:
            reasons.append("network: its classes and window are unknown; give --workdir of a run")
            return
        least = network_row(config.model).min_frames
        frames = max(round(seconds * frontend.frames_per_second), least)
        options = config.network.to_dict()
        module = build(config.model, num_classes, options, sample_rate_hz=frontend.sample_rate_hz)
    name, bands = spec.model if spec else config.model, frontend.num_bands
    yield "network", network.network(name, layers(module, frames, bands), frames, bands)


def _run(workdir: Path, spec: Spec | None, reasons: list[str]) -> Figures:
    if spec and (workdir / "metrics.jsonl").exists():
        merit = specs.merit_name(spec)
        yield "training", curves.training_curves(log.read_metrics(workdir), merit)
    try:
        found = [evaluations.read(folder) for folder in evaluations.folders(workdir)]
    except UserError as error:  # a run that still trains has none
        reasons.append(f"confusion, tags, calibration: {error}")
        return
    for one in found:
        scored, confused = one.scored, one.confusion
        if confused is None:
            figure = tags.average_precision(scored.scores, scored.labels, scored.classes)
            yield f"tags-{one.name}", figure
        else:
            yield f"confusion-{one.name}", confusion.confusion_matrix(confused, scored.classes)
        yield (
            f"calibration-{one.name}",
            reliability.reliability_diagram(
                scored.scores, scored.labels, multi_label=scored.multi_label
            ),
        )

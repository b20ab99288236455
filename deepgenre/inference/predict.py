"""Mode `predict`: scores and tags of audio files of any length."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre import log, summary
from deepgenre.audio import decoding, describe
from deepgenre.audio.discover import Found
from deepgenre.audio.overview import Overview
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import Fingerprint, fingerprint
from deepgenre.inference import aggregation, energy, taggram, windows
from deepgenre.inference.infer import FileOutputs, InferBatch, infer_files_of_each, with_windows
from deepgenre.inference.prediction_files import writer
from deepgenre.inference.prediction_files.identity import Identity
from deepgenre.inference.prediction_files.rows import Layout, Networks, Prediction, Result
from deepgenre.inference.tags import RUNNER_UP_SCORE, UNKNOWN, Choice, choose_tags, merged_scores
from deepgenre.interrupt import stop_requests
from deepgenre.log import escape_controls
from deepgenre.runtimes import engines
from deepgenre.summary import Batch
from deepgenre.weights.digest import scores_digest
from deepgenre.weights.spec import Spec, Weights


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a prediction; `cli.flags` describes each."""

    output: Path | None = None
    resume: bool = False
    taggram: Path | None = None
    window_seconds: float = 0.0
    hop_seconds: float = 0.0
    aggregation: str = "mean"
    choice: Choice = dataclasses.field(
        default_factory=lambda: Choice(runner_up_threshold=RUNNER_UP_SCORE)
    )
    describe: Sequence[str] = ()  # names in `describe.COLUMNS`
    summary: Path | None = None


# Of `predictions`.
Predict = Callable[..., Generator[tuple[float, Prediction]]]


def run(weights: Weights, inputs: Found, options: Options) -> int:
    """Predicts every file with one network, see `run_side_by_side`."""
    return run_side_by_side({"": weights}, inputs, options)


def run_side_by_side(
    networks: Mapping[str, Weights],
    inputs: Found,
    options: Options,
    predict: Predict | None = None,
) -> int:
    """Predicts every file; prints a table, writes the output; returns 1 if a file failed, else 0.

    networks: by the name that precedes their columns in the output; '' for the only one. When the
    run is asked to stop, the output contains the predictions so far. predict: in place of
    `predictions`, elsewhere.
    """
    with summary.batch("predict", options.summary) as counts:
        process(networks, inputs, options, counts, predict)
    return 1 if counts.failures else 0


def process(
    networks: Mapping[str, Weights],
    inputs: Found,
    options: Options,
    counts: Batch,
    predict: Predict | None = None,
) -> None:
    """Predicts every file as `run_side_by_side`, and counts them."""
    describe.check(options.describe)
    for weights in networks.values():
        aggregation.check(options.aggregation, weights.spec)
        if options.choice.unfamiliar_below:
            aggregation.check_familiarity(weights.spec)
    made_with = identity_of(networks, options)
    networks = {
        name: with_windows(weights, options.window_seconds, options.hop_seconds)
        for name, weights in networks.items()
    }
    fingerprints = {path: fingerprint(path) for path in inputs.files}
    if not fingerprints:
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    classes = {name: weights.spec.classes for name, weights in networks.items()}
    layout = Layout(classes, columns(networks, options))
    open_output = writer.open_resumed if options.resume else writer.open_new
    with (
        stop_requests() as stop_requested,
        open_output(options.output, layout, made_with, fingerprints) as (todo, write),
    ):
        counts.files, counts.kept = len(fingerprints), len(fingerprints) - len(todo)
        if counts.kept:
            log.info("%d of %d files are already in the output", counts.kept, counts.files)
        predict = predict or predictions
        predicted = predict(networks, todo, fingerprints, inputs.failures, options)
        progress = log.progress(None, total=len(todo), unit="song", title="predict")
        with contextlib.closing(predicted), progress as bar:
            for seconds, prediction in predicted:
                bar.update()
                write(prediction)
                if prediction.error:
                    counts.failed(prediction.error, prediction.path)
                else:
                    counts.succeeded(seconds)
                    log.result(table_line(prediction, classes, options.choice))
                if stop_requested():
                    break
    counts.results += [path for path in (options.output, options.taggram) if path]
    if counts.processed < len(todo):
        raise InterruptedRunError(f"stopped after {counts.processed} of {len(todo)} files")


def identity_of(networks: Mapping[str, Weights], options: Options) -> Identity:
    """Returns what determines the rows of an output, except the files themselves."""
    made_with = {
        name: {
            "weights": f"{weights.spec.model} {scores_digest(weights)[:12]}",
            "aggregate": options.aggregation,
            "window_seconds": options.window_seconds,
            "hop_seconds": options.hop_seconds,
            "describe": columns(networks, options),
            **_identity_of_choice(_choice(options, weights.spec)),
            **({"engine": weights.engine} if weights.engine != engines.JAX else {}),
        }
        for name, weights in networks.items()
    }
    return made_with[""] if [*made_with] == [""] else made_with


def columns(networks: Mapping[str, Weights], options: Options) -> list[str]:
    """Returns the columns of descriptors that the output has."""
    described = describe.columns(options.describe)
    return described if _energy_network(networks, options) is None else [*described, energy.COLUMN]


def _energy_network(networks: Mapping[str, Weights], options: Options) -> str | None:
    specs = {name: weights.spec for name, weights in networks.items()}
    return energy.network_of(specs, options.describe)


def _identity_of_choice(choice: Choice) -> dict[str, Any]:
    """Returns the fields; one that outputs of earlier versions lack is left out at its default."""
    fields = dataclasses.asdict(choice)
    if not choice.unfamiliar_below:
        del fields["unfamiliar_below"]
    return fields


def _choice(options: Options, spec: Spec) -> Choice:
    """Returns how a song gets its tags: only genres, which exclude each other, have runners-up."""
    limit = aggregation.familiarity_limit(options.choice.unfamiliar_below, spec)
    choice = dataclasses.replace(options.choice, unfamiliar_below=limit)
    return dataclasses.replace(choice, runner_up_threshold=0.0) if spec.multi_label else choice


@dataclasses.dataclass(frozen=True)
class _Observed:
    """What is computed of a file while it is decoded, beside its windows."""

    describer: describe.Describer | None
    overview: Overview | None

    def observe(self, start: int, samples: np.ndarray, rate_hz: int) -> None:
        for each in (self.describer, self.overview):
            if each:
                each.observe(start, samples, rate_hz)


def predictions(
    networks: Mapping[str, Weights],
    files: Sequence[Path],
    fingerprints: Mapping[Path, Fingerprint | None],
    failures: Mapping[Path, str],
    options: Options,
    infer: Sequence[InferBatch] = (),
) -> Generator[tuple[float, Prediction]]:
    """Yields length in seconds and prediction of each file, in their order; writes taggrams.

    failures: by path, why a file cannot be used, where that is known already.
    infer: of `compile_infer_batch`, one per network, to reuse them between calls.
    """
    names = taggram.names(list(fingerprints)) if options.taggram else {}
    moods = _energy_network(networks, options)
    observed: dict[Path, _Observed] = {}

    def observer(path: Path) -> decoding.Observe:
        observed[path] = _Observed(
            describe.Describer(options.describe) if options.describe else None,
            Overview() if options.taggram else None,
        )
        return observed[path].observe

    read = windows.reader(failures, observer if options.describe or options.taggram else None)
    every = infer_files_of_each([*networks.values()], files, infer=infer, read=read)
    with contextlib.closing(every):
        for of_each in every:
            path, error = of_each[0].path, of_each[0].error
            about = observed.pop(path, _Observed(None, None))
            results, descriptors = (), {}
            if not error:
                results = tuple(_results(of_each, networks, options))
                descriptors = about.describer.values() if about.describer else {}
            if results and moods is not None:
                scores = results[[*networks].index(moods)].scores
                classes = networks[moods].spec.classes
                descriptors[energy.COLUMN] = energy.of_song(scores, classes, descriptors)
            if not error and options.taggram and about.overview:
                picture = about.overview.picture()
                for outputs, (network, weights) in zip(of_each, networks.items(), strict=True):
                    folder = options.taggram / network
                    taggram.write(folder, names[path], outputs, weights.spec, picture)
            seconds = of_each[0].seconds
            prediction = Prediction(
                path, fingerprints[path], results, error, descriptors, None if error else seconds
            )
            yield seconds, prediction


def _results(
    of_each: Sequence[FileOutputs], networks: Mapping[str, Weights], options: Options
) -> Iterator[Result]:
    """Yields the result of a file by each network."""
    for outputs, weights in zip(of_each, networks.values(), strict=True):
        spec = weights.spec
        scores = aggregation.song_scores(outputs, spec, options.aggregation)
        choice = _choice(options, spec)
        tags = choose_tags(scores, spec.classes, choice)
        if aggregation.is_unfamiliar(outputs, spec, choice.unfamiliar_below or 0.0):
            tags = (UNKNOWN,)
        yield Result(scores, tags)


def table_line(prediction: Prediction, networks: Networks, choice: Choice) -> str:
    """Returns a line of tags with their scores, in columns, descriptors, and the file."""
    columns = []
    for result, (network, classes) in zip(prediction.results, networks.items(), strict=True):
        merged, names = merged_scores(result.scores, classes, choice)
        width = max(map(len, names))
        scores = dict(zip(names, merged, strict=True))
        columns += [f"{network}:"] if network else []
        columns += [
            f"{name:<{width}} {scores[name]:.3f}" if name in scores else name
            for name in result.tags
        ]
    columns += describe.text(prediction.descriptors)
    return escape_controls(f"{'  '.join(columns)}  {prediction.path}")

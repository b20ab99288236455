"""Mode `predict`: scores and tags of audio files of any length."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio import describe
from deepgenre.audio.discover import expand
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import Fingerprint, fingerprint
from deepgenre.inference import aggregation, taggram, windows
from deepgenre.inference.infer import infer_files, with_windows
from deepgenre.inference.prediction_files import writer
from deepgenre.inference.prediction_files.rows import Prediction, Write
from deepgenre.inference.tags import Choice, choose_tags
from deepgenre.interrupt import stop_requests
from deepgenre.log import escape_controls
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
    choice: Choice = dataclasses.field(default_factory=Choice)
    describe: Sequence[str] = ()  # names in describe.DESCRIPTORS


def run(weights: Weights, arguments: Sequence[str], options: Options) -> int:
    """Predicts every file; prints a table, writes the output; returns 1 if a file failed, else 0.

    When the run is asked to stop, the output contains the predictions so far.
    """
    aggregation.check(options.aggregation, weights.spec)
    describe.check(options.describe)
    weights = with_windows(weights, options.window_seconds, options.hop_seconds)
    fingerprints = {path: fingerprint(path) for path in expand(arguments)}
    if not fingerprints:
        raise UserError("--files: give files, folders, globs or a list.txt to process")
    with (
        stop_requests() as stop_requested,
        _open_output(options, weights.spec, fingerprints) as (todo, write),
    ):
        if len(todo) < len(fingerprints):
            log.info(
                "%d of %d files are already in the output",
                len(fingerprints) - len(todo), len(fingerprints),
            )  # fmt: skip
        num_processed, failures = 0, []
        with log.progress(None, total=len(todo), unit="song", title="predict") as bar:
            for prediction in _predictions(weights, todo, fingerprints, options):
                num_processed += 1
                bar.update()
                write(prediction)
                if prediction.error:
                    failures.append(escape_controls(prediction.error))
                    log.warning("failed: %s", failures[-1])
                else:
                    with bar.external_write_mode():
                        print(table_line(prediction, weights.spec))
                if stop_requested():
                    break
    if options.output:
        log.info("wrote %s", options.output)
    if failures:
        log.warning("%d of %d files failed:", len(failures), len(todo))
        for failure in failures:
            log.warning("  %s", failure)
    if num_processed < len(todo):
        raise InterruptedRunError(f"stopped after {num_processed} of {len(todo)} files")
    return 1 if failures else 0


def _open_output(
    options: Options, spec: Spec, fingerprints: Mapping[Path, Fingerprint | None]
) -> contextlib.AbstractContextManager[tuple[list[Path], Write]]:
    """Returns the context of the files to process and the function that writes a prediction."""
    described = describe.columns(options.describe)
    if options.resume:
        return writer.open_resumed(options.output, spec.classes, fingerprints, described)
    return writer.open_new(options.output, spec.classes, fingerprints, described)


def _predictions(
    weights: Weights,
    files: Sequence[Path],
    fingerprints: Mapping[Path, Fingerprint | None],
    options: Options,
) -> Iterator[Prediction]:
    """Yields the prediction of each file, in their order; writes taggrams if requested."""
    spec = weights.spec
    names = taggram.names(list(fingerprints)) if options.taggram else {}
    descriptors: dict[Path, Mapping[str, describe.Descriptor]] = {}

    def read(path: Path, spec: Spec) -> Iterator[windows.Windows]:
        describer = describe.Describer(options.describe)
        yield from windows.file_windows(path, spec, describer.observe)
        descriptors[path] = describer.values()

    reader = read if options.describe else windows.file_windows
    for outputs in infer_files(weights, files, read=reader):
        if outputs.error:
            yield Prediction(outputs.path, fingerprints[outputs.path], None, error=outputs.error)
            continue
        scores = aggregation.song_scores(outputs, spec, options.aggregation)
        if options.taggram:
            taggram.write(options.taggram, names[outputs.path], outputs, spec)
        tags = choose_tags(scores, spec.classes, options.choice)
        described = descriptors.pop(outputs.path, {})
        yield Prediction(
            outputs.path, fingerprints[outputs.path], scores, tags, descriptors=described
        )


def table_line(prediction: Prediction, spec: Spec) -> str:
    """Returns a line of tags with their scores, in columns, and the file."""
    assert prediction.scores is not None
    width = max(map(len, spec.classes))
    scores = dict(zip(spec.classes, prediction.scores, strict=True))
    columns = [
        f"{name:<{width}} {scores[name]:.3f}" if name in scores else name
        for name in prediction.tags
    ]
    columns += describe.text(prediction.descriptors)
    return f"{'  '.join(columns)}  {escape_controls(prediction.path)}"

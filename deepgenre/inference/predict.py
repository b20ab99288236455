"""Mode `predict`: files of any length and weights to scores and tags a file."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.audio.discover import expand
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import Fingerprint, fingerprint
from deepgenre.inference import aggregation, taggram
from deepgenre.inference.infer import infer_files, with_windows
from deepgenre.inference.prediction_files import writer
from deepgenre.inference.prediction_files.rows import Prediction, Write
from deepgenre.inference.tags import Choice, choose_tags
from deepgenre.interrupt import stop_requests
from deepgenre.log import escape_controls
from deepgenre.weights.spec import Spec, Weights


@dataclasses.dataclass(frozen=True)
class Options:
    """What is asked of a prediction; the flags of main say what each means."""

    output: Path | None = None
    resume: bool = False
    taggram: Path | None = None
    window_seconds: float = 0.0
    hop_seconds: float = 0.0
    aggregation: str = "mean"
    choice: Choice = dataclasses.field(default_factory=Choice)


def run(weights: Weights, arguments: Sequence[str], options: Options) -> int:
    """Predicts every file; prints a table, writes the output; returns 1 if a file failed, else 0.

    When it is asked to stop, the output holds what was heard until then.
    """
    aggregation.check(options.aggregation, weights.spec)
    weights = with_windows(weights, options.window_seconds, options.hop_seconds)
    fingerprints = {path: fingerprint(path) for path in expand(arguments)}
    if not fingerprints:
        raise UserError("--files: give files, folders, globs or a list.txt of what to hear")
    with (
        stop_requests() as stop_requested,
        _opened(options, weights.spec, fingerprints) as (todo, write),
    ):
        if len(todo) < len(fingerprints):
            log.info(
                "%d of %d files are there already", len(fingerprints) - len(todo), len(fingerprints)
            )
        heard, failures = 0, []
        with log.progress(None, total=len(todo), unit="song", title="predict") as bar:
            for prediction in _predictions(weights, todo, fingerprints, options):
                heard += 1
                bar.update()
                write(prediction)
                if prediction.error:
                    failures.append(escape_controls(prediction.error))
                    log.info("failed: %s", failures[-1])
                else:
                    with bar.external_write_mode():
                        print(table_line(prediction, weights.spec))
                if stop_requested():
                    break
    if options.output:
        log.info("wrote %s", options.output)
    if failures:
        log.info("%d of %d files failed:", len(failures), len(todo))
        for failure in failures:
            log.info("  %s", failure)
    if heard < len(todo):
        raise InterruptedRunError(f"stopped after {heard} of {len(todo)} files")
    return 1 if failures else 0


def _opened(
    options: Options, spec: Spec, fingerprints: Mapping[Path, Fingerprint | None]
) -> contextlib.AbstractContextManager[tuple[list[Path], Write]]:
    """Returns the context of the files to hear and the function that writes a prediction."""
    if options.resume:
        return writer.resumed(options.output, spec.classes, fingerprints)
    return writer.whole(options.output, spec.classes, fingerprints)


def _predictions(
    weights: Weights,
    files: Sequence[Path],
    fingerprints: Mapping[Path, Fingerprint | None],
    options: Options,
) -> Iterator[Prediction]:
    """Yields what was heard in each file, in their order; writes taggrams where asked to."""
    spec = weights.spec
    names = taggram.names(list(fingerprints)) if options.taggram else {}
    for heard in infer_files(weights, files):
        if heard.error:
            yield Prediction(heard.path, fingerprints[heard.path], None, error=heard.error)
            continue
        scores = aggregation.song_scores(heard, spec, options.aggregation)
        if options.taggram:
            taggram.write(options.taggram, names[heard.path], heard, spec)
        tags = choose_tags(scores, spec.classes, options.choice)
        yield Prediction(heard.path, fingerprints[heard.path], scores, tags)


def table_line(prediction: Prediction, spec: Spec) -> str:
    """Returns the tags with their scores, in columns, and the file."""
    assert prediction.scores is not None
    width = max(map(len, spec.classes))
    scores = dict(zip(spec.classes, prediction.scores, strict=True))
    shown = [
        f"{name:<{width}} {scores[name]:.3f}" if name in scores else name
        for name in prediction.tags
    ]
    return f"{'  '.join(shown)}  {escape_controls(prediction.path)}"

"""Mode `predict`: files of any length and weights to scores and tags a file."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepgenre import aggregate, log, resume, taggram
from deepgenre.datasets.discover import expand
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.interrupt import stop_requests
from deepgenre.listen import listen, with_windows
from deepgenre.log import visible
from deepgenre.outputs import Prediction, Write
from deepgenre.restored import Restored
from deepgenre.spec import Spec
from deepgenre.stamps import Stamp, stamp
from deepgenre.tags import Choice, choose_tags


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


def run(restored: Restored, arguments: Sequence[str], options: Options) -> int:
    """Predicts every file; prints a table, writes the output; returns 1 if a file failed, else 0.

    When it is asked to stop, the output holds what was heard until then.
    """
    aggregate.check(options.aggregation, restored.spec)
    restored = with_windows(restored, options.window_seconds, options.hop_seconds)
    stamps = {path: stamp(path) for path in expand(arguments)}
    if not stamps:
        raise UserError("--files: give files, folders, globs or a list.txt of what to hear")
    with (
        stop_requests() as stop_requested,
        _opened(options, restored.spec, stamps) as (todo, write),
    ):
        if len(todo) < len(stamps):
            log.say("%d of %d files are there already", len(stamps) - len(todo), len(stamps))
        heard, failures = 0, []
        with log.progress(None, total=len(todo), unit="song", title="predict") as bar:
            for prediction in _predictions(restored, todo, stamps, options):
                heard += 1
                bar.update()
                write(prediction)
                if prediction.error:
                    failures.append(visible(prediction.error))
                    log.say("failed: %s", failures[-1])
                else:
                    with bar.external_write_mode():
                        print(table_line(prediction, restored.spec))
                if stop_requested():
                    break
    if options.output:
        log.say("wrote %s", options.output)
    if failures:
        log.say("%d of %d files failed:", len(failures), len(todo))
        for failure in failures:
            log.say("  %s", failure)
    if heard < len(todo):
        raise InterruptedRunError(f"stopped after {heard} of {len(todo)} files")
    return 1 if failures else 0


def _opened(
    options: Options, spec: Spec, stamps: Mapping[Path, Stamp | None]
) -> contextlib.AbstractContextManager[tuple[list[Path], Write]]:
    """Returns the context of the files to hear and the function that writes a prediction."""
    if options.resume:
        return resume.resumed(options.output, spec.classes, stamps)
    return resume.whole(options.output, spec.classes, stamps)


def _predictions(
    restored: Restored,
    files: Sequence[Path],
    stamps: Mapping[Path, Stamp | None],
    options: Options,
) -> Iterator[Prediction]:
    """Yields what was heard in each file, in their order; writes taggrams where asked to."""
    spec = restored.spec
    names = taggram.names(list(stamps)) if options.taggram else {}
    for heard in listen(restored, files):
        if heard.error:
            yield Prediction(heard.path, stamps[heard.path], None, error=heard.error)
            continue
        scores = aggregate.song_scores(heard, spec, options.aggregation)
        if options.taggram:
            taggram.write(options.taggram, names[heard.path], heard, spec)
        tags = choose_tags(scores, spec.classes, options.choice)
        yield Prediction(heard.path, stamps[heard.path], scores, tags)


def table_line(prediction: Prediction, spec: Spec) -> str:
    """Returns the tags with their scores, in columns, and the file."""
    assert prediction.scores is not None
    width = max(map(len, spec.classes))
    scores = dict(zip(spec.classes, prediction.scores, strict=True))
    shown = [
        f"{name:<{width}} {scores[name]:.3f}" if name in scores else name
        for name in prediction.tags
    ]
    return f"{'  '.join(shown)}  {visible(prediction.path)}"

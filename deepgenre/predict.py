"""Mode `predict`: files of any length and a checkpoint to scores a file."""

import collections
import contextlib
import csv
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np

from deepgenre import hear, log
from deepgenre.checkpoint import Restored
from deepgenre.datasets.discover import expand
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.interrupt import stop_requests
from deepgenre.nearest import choose
from deepgenre.spec import Spec
from deepgenre.step import compile_score_step
from deepgenre.store import replacing

BATCH_WINDOWS = 16  # one compiled shape; windows of many short files share a batch
SHOWN = 5  # classes a line of the table on the terminal


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What was heard in a file: a score a class, or why it could not be heard."""

    path: Path
    scores: np.ndarray | None  # float32 (classes,)
    error: str = ""


def run(restored: Restored, arguments: Sequence[str], output: Path | None) -> int:
    """Predicts every file; prints a table, writes `output`; returns 1 if a file failed, else 0.

    When it is asked to stop, `output` holds what was heard until then.
    """
    files = expand(arguments)
    if not files:
        raise UserError("--files: give files, folders, globs or a list.txt of what to hear")
    spec = restored.spec
    heard, failures = 0, []
    with (
        stop_requests() as stop_requested,
        writer(output, spec) as write,
        log.progress(None, total=len(files), unit="song", title="predict") as bar,
    ):
        for prediction in predict(restored, files):
            heard += 1
            bar.update()
            if prediction.scores is None:
                failures.append(prediction.error)
                log.say("failed: %s", prediction.error)
            else:
                with bar.external_write_mode():
                    print(table_line(prediction, spec))
            write(prediction)
            if stop_requested():
                break
    if output:
        log.say("wrote %s", output)
    if failures:
        log.say("%d of %d files failed:", len(failures), len(files))
        for failure in failures:
            log.say("  %s", failure)
    if heard < len(files):
        raise InterruptedRunError(f"stopped after {heard} of {len(files)} files")
    return 1 if failures else 0


def predict(restored: Restored, files: Sequence[Path]) -> Iterator[Prediction]:
    """Yields a prediction a file, in the order of the files: the mean score over its windows.

    Files are decoded by threads, ahead of the device but by a bounded number; the windows of many
    files fill one batch, and every batch has the same shape, so nothing is compiled a second time.
    """
    spec = restored.spec
    score = compile_score_step(spec)
    variables = jax.device_put(restored.variables)  # once, not with every batch

    def scores_of(levels: np.ndarray) -> np.ndarray:
        spare = BATCH_WINDOWS - levels.shape[0]
        padded = np.pad(levels, ((0, spare), (0, 0), (0, 0)))
        return np.asarray(score(variables, padded))[: levels.shape[0]]

    return _in_batches(_heard(files, spec), scores_of)


def _heard(files: Sequence[Path], spec: Spec) -> Iterator[tuple[Path, np.ndarray | UserError]]:
    """Yields (file, its windows or why there are none), in order, decoded ahead by threads."""

    def listen(path: Path) -> np.ndarray | UserError:
        try:
            return hear.windows(path, spec)
        except UserError as error:
            return error

    num_threads = os.cpu_count() or 1
    waiting: collections.deque[tuple[Path, Future[np.ndarray | UserError]]] = collections.deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for path in files:
            waiting.append((path, pool.submit(listen, path)))
            if len(waiting) > 2 * num_threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _in_batches(
    heard: Iterable[tuple[Path, np.ndarray | UserError]],
    scores_of: Callable[[np.ndarray], np.ndarray],
) -> Iterator[Prediction]:
    """Yields a prediction a file, in order, scoring BATCH_WINDOWS windows at a time."""
    order: collections.deque[tuple[Path, int, str]] = collections.deque()  # not yet yielded
    unscored = np.zeros((0, 0, 0))
    scored: list[np.ndarray] = []  # rows (classes,) of the first files of `order`, in order

    def finished() -> Iterator[Prediction]:
        while order and (order[0][2] or order[0][1] <= len(scored)):
            path, count, error = order.popleft()
            if error:
                yield Prediction(path, None, error)
            else:
                yield Prediction(path, np.mean(scored[:count], axis=0))
                del scored[:count]

    for path, windows in heard:
        if isinstance(windows, UserError):
            order.append((path, 0, str(windows)))
        else:
            order.append((path, len(windows), ""))
            unscored = np.concatenate([unscored, windows]) if unscored.size else windows
        while len(unscored) >= BATCH_WINDOWS:
            scored.extend(scores_of(unscored[:BATCH_WINDOWS]))
            unscored = unscored[BATCH_WINDOWS:]
        yield from finished()
    if len(unscored):
        scored.extend(scores_of(unscored))
    yield from finished()


def table_line(prediction: Prediction, spec: Spec) -> str:
    """Returns the best classes with their scores, in columns, and the file."""
    assert prediction.scores is not None
    width = max(map(len, spec.classes))
    best = np.argsort(-prediction.scores, kind="stable")[:SHOWN]
    shown = (f"{spec.classes[index]:<{width}} {prediction.scores[index]:.3f}" for index in best)
    return f"{'  '.join(shown)}  {prediction.path}"


@contextlib.contextmanager
def writer(output: Path | None, spec: Spec) -> Iterator[Callable[[Prediction], None]]:
    """Yields a function that adds a prediction to the output file, JSON lines or CSV by suffix.

    The file takes its name when the block ends well.
    """
    if output is None:
        yield lambda prediction: None
        return
    make_writer = choose(WRITERS, output.suffix.lower(), "--output suffix")
    with (
        replacing(output) as temporary,
        # A name of another encoding than UTF-8 becomes an escape, of JSON too.
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        yield make_writer(stream, spec)


def _json_lines(stream: TextIO, spec: Spec) -> Callable[[Prediction], None]:
    def write(prediction: Prediction) -> None:
        line: dict[str, Any] = {"path": str(prediction.path)}
        if prediction.scores is None:
            line["error"] = prediction.error
        else:
            rounded = [round(float(score), 6) for score in prediction.scores]
            line["scores"] = dict(zip(spec.classes, rounded, strict=True))
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    return write


def _csv(stream: TextIO, spec: Spec) -> Callable[[Prediction], None]:
    rows = csv.writer(stream)
    rows.writerow(["path", "error", *spec.classes])

    def write(prediction: Prediction) -> None:
        scores = [] if prediction.scores is None else [f"{s:.6f}" for s in prediction.scores]
        rows.writerow([str(prediction.path), prediction.error, *scores])

    return write


WRITERS = {".jsonl": _json_lines, ".csv": _csv}

"""Inference on many files: windows are scored in full batches, outputs come in order."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import flax.errors
import jax
import numpy as np

from deepgenre.errors import UserError
from deepgenre.evaluation.steps import compile_infer_step
from deepgenre.inference import windows
from deepgenre.inference.read_ahead import read_ahead
from deepgenre.inference.windows import Reader
from deepgenre.runtimes import engines
from deepgenre.weights.spec import Spec, Weights

BATCH_WINDOWS = 16  # of a full batch; the last one is padded to the next power of two only
MAX_WINDOW_SECONDS = 3600  # an hour: a longer window is a typing error
Outputs = Mapping[str, jax.Array | np.ndarray]
InferBatch = Callable[[np.ndarray], Outputs]


@dataclasses.dataclass(frozen=True)
class FileOutputs:
    """Network outputs per window of a file, or the error why there are none."""

    path: Path
    start_seconds: np.ndarray  # float64 (windows,): start of each window in the file
    scores: np.ndarray  # float32 (windows, classes)
    embeddings: np.ndarray | None  # float32 (windows, features), if requested
    error: str = ""  # with an error the arrays are empty
    attention: np.ndarray | None = None  # float32 (windows, heads), of networks that have it
    familiarity: np.ndarray | None = None  # float32 (windows,), likewise
    seconds: float = 0.0  # length of the file
    # float32 (windows, steps, classes): after each step of a window, of recurrent networks
    step_scores: np.ndarray | None = None


@dataclasses.dataclass
class _Part:
    """A file in progress, for one network: the outputs so far."""

    starts: list[np.ndarray] = dataclasses.field(default_factory=list)
    outputs: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)  # row per window
    num_unscored: int = 0  # windows that are read and not yet scored
    seconds: float = 0.0  # read so far


@dataclasses.dataclass
class _PendingFile:
    """A file in progress, for all networks."""

    path: Path
    parts: Sequence[_Part]  # one per network
    ended: bool = False
    error: str = ""


Batch = list[tuple[_Part, np.ndarray]]  # windows, each with its file


@dataclasses.dataclass
class _Queue:
    """The windows that wait for one network, and its batch that the device computes."""

    infer_batch: InferBatch
    rows: Batch = dataclasses.field(default_factory=list)
    in_progress: tuple[Batch, Outputs] | None = None


def compile_infer_batch(weights: Weights) -> InferBatch:
    """Returns the function of levels (windows, frames, bands) to the outputs of the network.

    Weights stay on the device. Outputs may have more rows than the levels: batches are padded to a
    power of two, so that few shapes are compiled and a short song does not cost a full batch. The
    weights' engine computes them.
    """
    if weights.engine != engines.JAX:
        return engines.load(weights)
    step = compile_infer_step(weights.spec)
    variables = jax.device_put(weights.variables)

    def infer_batch(levels: np.ndarray) -> Outputs:
        padded = 1 << (levels.shape[0] - 1).bit_length()
        return step(variables, np.pad(levels, ((0, padded - levels.shape[0]), (0, 0), (0, 0))))

    return infer_batch


def with_windows(weights: Weights, window_seconds: float, hop_seconds: float) -> Weights:
    """Returns the weights with another window length or hop in their spec; 0: unchanged.

    Raises UserError where the network requires the window length of its training.
    """
    spec = weights.spec
    for flag, seconds in (("window", window_seconds), ("hop", hop_seconds)):
        if not 0 <= seconds <= MAX_WINDOW_SECONDS:
            raise UserError(f"--{flag}_seconds: must be 0 to {MAX_WINDOW_SECONDS}, is {seconds}")
    if not window_seconds and not hop_seconds:
        return weights
    rate = spec.frontend.frames_per_second
    for flag, seconds in (("window", window_seconds), ("hop", hop_seconds)):
        if seconds and not round(seconds * rate):
            raise UserError(
                f"--{flag}_seconds: {seconds} s is less than a frame of these weights, which is "
                f"{1 / rate:.3g} s"
            )
    window_frames = round(window_seconds * rate) or spec.window_frames
    changed = dataclasses.replace(
        spec,
        window_frames=window_frames,
        hop_frames=max(1, round(hop_seconds * rate) or min(spec.hop_frames, window_frames)),
        clip_seconds=max(spec.clip_seconds, window_seconds),  # a piece contains a window
    )
    shape = (1, window_frames, spec.frontend.stored_bands)
    levels = jax.ShapeDtypeStruct(shape, spec.frontend.stored_dtype)
    try:
        jax.eval_shape(compile_infer_step(changed), weights.variables, levels)
    except (UserError, flax.errors.ScopeParamShapeError) as error:
        raise UserError(
            f"--window_seconds: {spec.model} with these weights does not accept windows of "
            f"{window_seconds} s; it was trained on {spec.window_frames / rate:.2f} s"
        ) from error
    return dataclasses.replace(weights, spec=changed)


def infer_files(
    weights: Weights,
    files: Iterable[Path],
    *,
    embed: bool = False,
    infer_batch: InferBatch | None = None,
    read: Reader = windows.file_windows,
) -> Generator[FileOutputs, None, None]:
    """Yields the outputs of each file, in the order of the files.

    `infer_batch`: of `compile_infer_batch`, to reuse it between calls.
    """
    batches = [infer_batch or compile_infer_batch(weights)]
    of_each = infer_files_of_each([weights], files, embed=embed, infer=batches, read=read)
    with contextlib.closing(of_each):
        for (outputs,) in of_each:
            yield outputs


def infer_files_of_each(
    networks: Sequence[Weights],
    files: Iterable[Path],
    *,
    embed: bool = False,
    infer: Sequence[InferBatch] = (),
    read: Reader = windows.file_windows,
) -> Generator[tuple[FileOutputs, ...], None, None]:
    """Yields the outputs of each file by each network, in the order of the files.

    Threads read files ahead of the device by a bounded amount, each once for all networks; windows
    of several files share a batch. A file that fails has the error for every network.

    infer: of `compile_infer_batch`, one per network; compiled here where none are given.
    """
    specs = [weights.spec for weights in networks]
    queues = [_Queue(batch) for batch in infer or map(compile_infer_batch, networks)]
    pending: collections.deque[_PendingFile] = collections.deque()  # in order, not yet yielded
    with read_ahead(files, specs, read) as pieces:
        for path, piece in pieces:
            if not pending or pending[-1].ended:
                pending.append(_PendingFile(path, [_Part() for _ in networks]))
            if isinstance(piece, str):
                pending[-1].ended, pending[-1].error = True, piece
            else:
                index, found = piece
                queues[index].rows += _add_piece(pending[-1].parts[index], found)
                _score_full_batches(queues[index])
            yield from _pop_finished(pending, specs, embed)
    for rest in queues:
        _score_rest(rest)
    yield from _pop_finished(pending, specs, embed)


def _add_piece(part: _Part, piece: windows.Windows) -> Batch:
    """Adds a piece to its file; returns the windows to score."""
    part.starts.append(piece.starts)
    part.num_unscored += len(piece.levels)
    part.seconds += piece.piece_seconds
    return [(part, window) for window in piece.levels]


def _score_full_batches(waiting: _Queue) -> None:
    """Gives full batches to the device."""
    while len(waiting.rows) >= BATCH_WINDOWS:
        batch, waiting.rows = waiting.rows[:BATCH_WINDOWS], waiting.rows[BATCH_WINDOWS:]
        outputs = waiting.infer_batch(np.stack([levels for _, levels in batch]))
        if waiting.in_progress:  # one batch late, so that host and device work in parallel
            _distribute(*waiting.in_progress)
        waiting.in_progress = batch, outputs


def _score_rest(waiting: _Queue) -> None:
    """Scores what is left when all files are read."""
    if waiting.in_progress:
        _distribute(*waiting.in_progress)
    if waiting.rows:
        levels = np.stack([levels for _, levels in waiting.rows])
        _distribute(waiting.rows, waiting.infer_batch(levels))


def _distribute(batch: Batch, outputs: Outputs) -> None:
    """Adds the rows of a batch to their files."""
    for name, values in outputs.items():
        for (part, _), row in zip(batch, np.asarray(values), strict=False):  # the rest is padding
            part.outputs.setdefault(name, []).append(row)
    for part, _ in batch:
        part.num_unscored -= 1


def _pop_finished(
    pending: collections.deque[_PendingFile], specs: Sequence[Spec], embed: bool
) -> Iterator[tuple[FileOutputs, ...]]:
    """Removes finished files from the front, and yields their outputs."""
    while pending and pending[0].ended:
        file = pending[0]
        if not file.error and any(part.num_unscored for part in file.parts):
            return
        pending.popleft()
        both = zip(file.parts, specs, strict=True)
        yield tuple(_file_outputs(file, part, spec, embed) for part, spec in both)


def _file_outputs(file: _PendingFile, part: _Part, spec: Spec, embed: bool) -> FileOutputs:
    if file.error:
        empty = np.zeros((0, len(spec.classes)), np.float32)
        return FileOutputs(
            file.path, np.zeros(0), empty, empty[:, :0] if embed else None, file.error
        )
    outputs = {name: np.stack(rows) for name, rows in part.outputs.items()}
    return FileOutputs(
        file.path,
        np.concatenate(part.starts),
        outputs["scores"],
        outputs["embedding"] if embed else None,
        attention=outputs.get("attention"),
        familiarity=outputs.get("familiarity"),
        seconds=part.seconds,
        step_scores=outputs.get("step_scores"),
    )

"""Mode `fewshot`: a head for a user's own classes, on the embedding of any weights."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepgenre import log, models, summary
from deepgenre.audio.discover import expand
from deepgenre.data.clip import Clip
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.fewshot import asking, examples, report, selection
from deepgenre.fewshot.asking import Question
from deepgenre.fewshot.examples import Examples
from deepgenre.files import expand_home, fingerprint, real_paths, updating
from deepgenre.inference import embed, song_index
from deepgenre.inference.infer import infer_files
from deepgenre.interrupt import stop_requests
from deepgenre.library import indexed_songs
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.training import logistic
from deepgenre.training.logistic import Fitted, Head
from deepgenre.weights import heads, loading, weight_file
from deepgenre.weights.export import check_output
from deepgenre.weights.spec import Weights

NUM_QUANTILES = 101  # of the familiarity of the examples
BEST_SHOWN = 3  # classes beside a question


@dataclasses.dataclass(frozen=True)
class Options:
    """What to learn from, and where to write; `cli.flags` describes each."""

    examples: Sequence[str]
    output: Path | None = None
    library: Sequence[str] = ()
    ask: int = 0
    index: Path | None = None
    summary: Path | None = None


def run(body: Weights, source: str, options: Options) -> int:
    """Writes the weights of a head; returns 1 if a file failed, else 0.

    source: of the body, whose embedding is used. With a library, asks for the classes of its most
    useful songs, or lists these where there is no terminal.
    """
    output, name = check_output(options.output), _name_of(body, source, options.output)
    if options.ask < 0 or bool(options.ask) != bool(options.library):
        raise UserError("--ask: give --library and --ask=10, or neither")
    given = examples.read(options.examples)
    answers = asking.answers_path(output)
    with updating(output), summary.batch("fewshot", options.summary) as counts:
        for failure in given.failures:
            counts.failed(failure, "")
        earlier = asking.read(answers, given.classes, multi_label=given.multi_label)
        vectors: dict[str, np.ndarray] = {}
        known = _with_answers(given, earlier)
        head = _learn(body, name, known, vectors, output, counts)
        if options.library:
            questions = _questions(body, head, [*known.clips, *earlier], options, given, counts)
            later = _ask(questions, given, answers, earlier)
            if len(later) > len(earlier):
                _learn(body, name, _with_answers(given, later), vectors, output, counts)
                counts.results.append(answers)
    return 1 if counts.failures else 0


def _name_of(body: Weights, source: str, output: Path | None) -> str:
    """Returns the name by which the head's file names its body; raises UserError without one."""
    if body.spec.model == models.LINEAR_HEAD:
        raise UserError(f"--weights: {source} is itself a head; give the weights below it")
    path = expand_home(source)
    if path.is_dir():
        raise UserError(
            f"--weights: {source} is a run; write its weights as a file first, with deepgenre "
            f"export --weights={source} --output=NAME.safetensors"
        )
    if not path.is_file():
        return source
    beside = (output or path).absolute().parent
    if path.stem not in loading.named_files() and path.absolute().parent != beside:
        raise UserError(
            f"--weights: {source} must be found by name later; put it beside --output, or into "
            f"{loading.imported_folder()}"
        )
    return path.stem


def _with_answers(given: Examples, answers: Sequence[Clip]) -> Examples:
    """Returns the examples with the songs that were answered, not those skipped."""
    kept = {clip.key: clip for clip in given.clips}
    answered = [examples.with_artist(clip) for clip in answers if clip.labels]
    kept |= {clip.key: clip for clip in answered}
    return dataclasses.replace(given, clips=tuple(kept.values()))


def _learn(
    body: Weights,
    name: str,
    given: Examples,
    vectors: dict[str, np.ndarray],
    output: Path,
    counts: Batch,
) -> Head:
    """Embeds what `vectors` lacks, fits, prints what the head is worth and writes it."""
    _embed(body, given, vectors, counts)
    usable = tuple(clip for clip in given.clips if clip.key in vectors)
    given = dataclasses.replace(given, clips=usable)
    targets = _targets(given)
    if (targets.any(axis=0)).sum() < 2:
        raise UserError("--examples: fewer than two classes have a song that can be used")
    started = time.monotonic()
    songs = [vectors[clip.key] for clip in usable]
    fitted = logistic.fit(songs, targets, usable, given.multi_label)
    results = report.measure(fitted, targets, given)
    report.show(fitted, targets, given, results)
    weights, quantiles = _weights(body, name, fitted, given, results)
    log.info("%s", report.familiarity_line(quantiles))
    size_bytes = weight_file.write(output, weights, dtype="float32")
    loading.load(str(output))  # it finds its body
    log.info(
        "%s: %d classes from %d songs, on %s, %.0f kB; fitted in %.1f s", output,
        len(given.classes), len(usable), name, size_bytes / 1000, time.monotonic() - started,
    )  # fmt: skip
    if output not in counts.results:
        counts.results.append(output)
    return fitted.head


def _embed(body: Weights, given: Examples, vectors: dict[str, np.ndarray], counts: Batch) -> None:
    """Adds the embeddings of the windows of each song that `vectors` lacks."""
    todo = {clip.path: clip.key for clip in given.clips if clip.key not in vectors}
    counts.files += len(todo)
    every = infer_files(body, [*todo], embed=True)
    progress = log.progress(None, total=len(todo), unit="song", title="embed")
    with stop_requests() as stop_requested, contextlib.closing(every), progress as bar:
        for outputs in every:
            bar.update()
            try:
                embed.song_vector(outputs)
            except UserError as error:
                counts.failed(str(error), outputs.path)
            else:
                assert outputs.embeddings is not None
                vectors[todo[outputs.path]] = outputs.embeddings
                counts.succeeded(outputs.seconds)
            if stop_requested():
                raise InterruptedRunError("stopped; no weights were written")


def _targets(given: Examples) -> np.ndarray:
    """Returns 0 or 1, float64 (songs, classes)."""
    return np.array(
        [[name in clip.labels for name in given.classes] for clip in given.clips], float
    )


def _weights(
    body: Weights, name: str, fitted: Fitted, given: Examples, results: Mapping[str, float]
) -> tuple[Weights, np.ndarray]:
    """Returns the head as weights without its body, and the quantiles of the familiarity."""
    head = fitted.head
    tested = fitted.familiarity[fitted.testable] if fitted.testable.any() else fitted.familiarity
    quantiles = np.quantile(tested, np.linspace(0, 1, NUM_QUANTILES))
    spec = heads.spec_of(
        body, name, given.classes, multi_label=given.multi_label, num_songs=len(given.clips)
    )
    network = {**spec.network, "familiarity": [round(float(value), 6) for value in quantiles]}
    arrays = {
        "params": {"logits": {"kernel": head.kernel, "bias": head.bias}},
        "batch_stats": {"mean": head.mean, "scale": head.scale, "examples": head.examples},
    }
    spec = dataclasses.replace(spec, network=network)
    return Weights(spec, arrays, step=1, metrics=dict(results)), quantiles


def _questions(
    body: Weights,
    head: Head,
    known: Sequence[Clip],
    options: Options,
    given: Examples,
    counts: Batch,
) -> list[Question]:
    """Returns the songs of the library whose classes help most; its embeddings are in an index."""
    library = expand(options.library)
    path = options.index or indexed_songs.default_index(body, options.library)
    embed.update(body, library, path, counts)
    wanted = {*real_paths(library.files)} - {*real_paths(clip.path for clip in known)}
    index = song_index.read_index(path).songs
    reals = real_paths(song.path for song in index)
    songs = [song for song, real in zip(index, reals, strict=True) if real in wanted]
    songs = [song for song in songs if fingerprint(song.path)]
    if not songs:
        log.info("the library has no further song to ask about")
        return []
    embeddings = np.stack([song.vector for song in songs])
    scores = head.scores(embeddings)
    chosen = selection.most_useful(head, embeddings, options.ask)
    return [
        Question(
            songs[row].path,
            tuple((given.classes[i], float(scores[row, i])) for i in _best(scores[row])),
        )
        for row in chosen
    ]


def _best(scores: np.ndarray) -> list[int]:
    return [int(index) for index in np.argsort(-scores, kind="stable")[:BEST_SHOWN]]


def _ask(
    questions: Sequence[Question],
    given: Examples,
    answers: Path,
    earlier: Sequence[Clip],
) -> list[Clip]:
    """Asks in the terminal, else lists the songs; returns all answers."""
    if questions and sys.stdin.isatty():
        return asking.ask(questions, given.classes, answers, earlier, multi_label=given.multi_label)
    for question in questions:
        best = ", ".join(f"{name} {score:.2f}" for name, score in question.best)
        print(f"{escape_controls(question.path)}  ({best})")
    if questions:
        log.info("the classes of these songs help most; in a terminal, they are asked for")
    return list(earlier)

"""Mode `fewshot`: a head for a user's own classes, on the embedding of any weights."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepgenre import log, summary
from deepgenre.audio.discover import expand
from deepgenre.data.clip import Clip
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.fewshot import asking, examples, learning, report
from deepgenre.fewshot.asking import Question
from deepgenre.fewshot.examples import Examples
from deepgenre.files import fingerprint, real_paths, updating
from deepgenre.inference import embed, song_index
from deepgenre.inference.infer import infer_files
from deepgenre.interrupt import stop_requests
from deepgenre.library import indexed_songs
from deepgenre.log import escape_controls
from deepgenre.summary import Batch
from deepgenre.training.logistic import Head
from deepgenre.weights import loading, weight_file
from deepgenre.weights.export import check_output
from deepgenre.weights.spec import Weights


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
    output, name = check_output(options.output), learning.body_name(body, source, options.output)
    if options.ask < 0 or bool(options.ask) != bool(options.library):
        raise UserError("--ask: give --library and --ask=10, or neither")
    given = examples.read(options.examples)
    answers = asking.answers_path(output)
    with updating(output), summary.batch("fewshot", options.summary) as counts:
        for failure in given.failures:
            counts.failed(failure, "")
        earlier = asking.read(answers, given.classes, multi_label=given.multi_label)
        vectors: dict[str, np.ndarray] = {}
        known = learning.with_answers(given, earlier)
        head = _learn(body, name, known, vectors, output, counts)
        if options.library:
            questions = _questions(body, head, [*known.clips, *earlier], options, given, counts)
            later = _ask(questions, given, answers, earlier)
            if len(later) > len(earlier):
                _learn(body, name, learning.with_answers(given, later), vectors, output, counts)
                counts.results.append(answers)
    return 1 if counts.failures else 0


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
    started = time.monotonic()
    learned = learning.learn(body, name, given, vectors)
    report.show(learned.fitted, learned.targets, learned.given, learned.results)
    log.info("%s", report.familiarity_line(learned.quantiles))
    size_bytes = weight_file.write(output, learned.weights, dtype="float32")
    loading.load(str(output))  # it finds its body
    log.info(
        "%s: %d classes from %d songs, on %s, %.0f kB; fitted in %.1f s", output,
        len(given.classes), len(learned.given.clips), name, size_bytes / 1000,
        time.monotonic() - started,
    )  # fmt: skip
    if output not in counts.results:
        counts.results.append(output)
    return learned.fitted.head


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
    paths = [song.path for song in songs]
    return learning.questions(head, paths, embeddings, given.classes, options.ask)


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

"""Mode `organize`: playlists, tags in the files, and a report of a library.

<output>/<label>.m3u8           the songs of a genre or tag
<output>/report.md              counts per label, songs below the threshold, failures, duplicates
<output>/journal.jsonl          how to undo changes of the files, see `tag_writer`
<output>/songs-<weights>.jsonl  predictions, as of mode `predict`; these songs are not read again
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from deepgenre import log
from deepgenre.audio import ffmpeg
from deepgenre.audio.discover import expand, expand_with_duplicates
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import replacing, write_json_lines
from deepgenre.inference import embed, predict
from deepgenre.inference.infer import with_windows
from deepgenre.inference.tags import UNKNOWN, Choice, choose_tags
from deepgenre.interrupt import stop_requests
from deepgenre.library import file_tags, playlists, tag_writer
from deepgenre.library.report import Report, Song, to_markdown
from deepgenre.log import escape_controls
from deepgenre.weights.spec import Spec, Weights

DEFAULT_THRESHOLD = 0.5  # a song gets the labels that are more likely than not


def run(
    weights: Weights, arguments: Sequence[str], options: predict.Options, *, write: bool
) -> int:
    """Organises the files given by the arguments; returns 1 if a file failed, else 0.

    options.output: the folder. Without `write`, changes of files are only printed.
    """
    folder, spec = _check_folder(options.output), weights.spec
    predictions = folder / f"songs-{_scores_digest(weights, options)}.jsonl"
    predict.run(weights, arguments, dataclasses.replace(options, output=predictions, resume=True))
    files = expand(arguments)
    choice = options.choice if spec.multi_label else dataclasses.replace(options.choice, top_k=1)
    songs, failures = _read_predictions(files, predictions, spec, choice)
    write_failures = [*_write_playlists(folder, spec.classes, songs)]
    fields = {song.path: _fields(song, spec) for song in songs if song.labels}
    write_failures += _write_tags(folder, fields, predictions, write=write)
    report = Report(
        heading=f"{spec.model}, labels with a score of {choice.threshold} or more",
        songs=songs,
        labels=spec.classes,
        playlist_names=playlists.file_names(spec.classes),
        failures=[*failures, *write_failures],
        duplicates=[*_same_file(arguments), *_same_content(files)],
    )
    with replacing(folder / "report.md") as path:
        text = to_markdown(report)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    log.info("wrote %d playlists and report.md to %s", len(spec.classes), folder)
    return 1 if report.failures else 0


def _scores_digest(weights: Weights, options: predict.Options) -> str:
    """Returns eight hexadecimal digits, a digest of everything that determines a song's scores."""
    weights = with_windows(weights, options.window_seconds, options.hop_seconds)
    spec = weights.spec
    fields = [embed.model_digest(weights), options.aggregation, spec.temperature, spec.classes]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:8]


def undo(output: Path | None) -> int:
    """Restores the files to their state before `write`; returns 1 if one failed, else 0."""
    failures = 0
    for path, error in tag_writer.undo(_check_folder(output) / "journal.jsonl"):
        if error:
            failures += 1
            log.warning("failed: %s", escape_controls(error))
        else:
            log.info("restored: %s", escape_controls(path))
    return 1 if failures else 0


def _check_folder(output: Path | None) -> Path:
    if output is None or (output.exists() and not output.is_dir()):
        raise UserError("--output: give a folder for playlists, report and journal")
    return output


def _read_predictions(
    files: Sequence[Path], predictions: Path, spec: Spec, choice: Choice
) -> tuple[list[Song], list[str]]:
    """Returns the songs, in the order of the files, and the errors of files that failed."""
    with predictions.open(encoding="utf-8") as stream:
        lines = {line["path"]: line for line in map(json.loads, stream)}
    songs, failures = [], []
    for path in files:
        line = lines[str(path)]
        try:
            if "error" in line:
                raise UserError(line["error"])
            scores = np.array([line["scores"][name] for name in spec.classes])
            labels = tuple(sorted({*choose_tags(scores, spec.classes, choice)} - {UNKNOWN}))
            best = int(scores.argmax())
            songs.append(
                Song(path, _seconds(path), labels, spec.classes[best], float(scores[best]))
            )
        except UserError as error:
            failures.append(escape_controls(error))
    return songs, failures


def _seconds(path: Path) -> float:
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:  # a format of ffmpeg
        return sum(len(samples) / rate_hz for samples, rate_hz in ffmpeg.decode(path))


def _write_playlists(folder: Path, labels: Sequence[str], songs: Sequence[Song]) -> Iterator[str]:
    """Writes a playlist per label; yields an error per song that cannot be listed."""
    entries: dict[str, list[tuple[Path, float]]] = collections.defaultdict(list)
    for song in songs:
        try:
            playlists.check_listable(song.path)
        except UserError as error:
            log.warning("failed: %s", error)
            yield str(error)
            continue
        for label in song.labels:
            entries[label].append((song.path, song.seconds))
    playlists.write(folder, labels, entries)


def _fields(song: Song, spec: Spec) -> dict[str, str]:
    """Returns the field to write into a song's file: its genre or its tags."""
    if spec.multi_label:
        return {"tags": file_tags.SEPARATOR.join(song.labels)}
    return {"genre": song.labels[0]}


def _write_tags(
    folder: Path, fields: Mapping[Path, Mapping[str, str]], predictions: Path, *, write: bool
) -> list[str]:
    """Prints the changes of each file and, with `write`, applies them; returns the errors."""
    failures: list[str] = []
    changed: list[Path] = []
    with contextlib.ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests())
        record = None
        if write:
            record = stack.enter_context(tag_writer.journal(folder / "journal.jsonl"))
            tag_writer.remove_stale_copies({path.resolve().parent for path in fields})
            stack.callback(lambda: _update_fingerprints(predictions, changed))
        for path, new_fields in fields.items():
            if stop_requested():
                raise InterruptedRunError(f"stopped after changing {len(changed)} files")
            try:
                changes = tag_writer.changes(path, new_fields)
                if changes and record:
                    tag_writer.rewrite(path, changes, record)
                for change in changes:
                    print(
                        f"{escape_controls(path)}: {change.field}: {change.old!r} -> {change.new!r}"
                    )
                changed += [path] if changes else []
            except UserError as error:
                failures.append(escape_controls(error))
                log.warning("failed: %s", failures[-1])
    if write:
        log.info("changed %d files; --undo restores them", len(changed))
    elif changed:
        log.info("no file was changed; --write changes these %d files", len(changed))
    return failures


def _update_fingerprints(predictions: Path, changed: Sequence[Path]) -> None:
    """Keeps the predictions of changed files valid: only tags changed, not the audio."""
    with predictions.open(encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    states = {str(path): path.stat() for path in changed}
    for line in lines:
        if state := states.get(line["path"]):
            line.update(bytes=state.st_size, mtime_ns=state.st_mtime_ns)
    write_json_lines(predictions, lines)


def _same_file(arguments: Sequence[str]) -> list[list[Path]]:
    """Returns groups of paths that lead to the same file, e.g. by a link."""
    return _groups(expand_with_duplicates(arguments), os.path.realpath)


def _same_content(files: Sequence[Path]) -> list[list[Path]]:
    """Returns groups of files with identical bytes."""
    existing = [path for path in files if path.is_file()]
    same_size = _groups(existing, lambda path: path.stat().st_size)
    return [same for paths in same_size for same in _groups(paths, tag_writer.sha256)]


def _groups(paths: Iterable[Path], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Returns the distinct paths grouped by key; groups of one path are left out."""
    groups: dict[Hashable, list[Path]] = collections.defaultdict(list)
    for path in dict.fromkeys(paths):
        groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]

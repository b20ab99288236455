"""Mode `organize`: a library to playlists, tags in its files, and a report.

<output>/<label>.m3u8           the songs of a genre or tag
<output>/report.md              what there is, what is unsure, what failed
<output>/journal.jsonl          how to undo what was written into the files, see `retag`
<output>/songs-<weights>.jsonl  what was heard, as of --mode=predict: no song is heard twice
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
from deepgenre.audio.discover import expand, mentioned
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

DEFAULT_THRESHOLD = (
    0.5  # a label is given where it is more likely than not, unless another threshold is asked
)


def run(
    weights: Weights, arguments: Sequence[str], options: predict.Options, *, write: bool
) -> int:
    """Organises the files that the arguments name; returns 1 if something failed, else 0.

    options.output: the folder. Without `write`, what would be written into files is only printed.
    """
    folder, spec = _folder(options.output), weights.spec
    heard_path = folder / f"songs-{_digest(weights, options)}.jsonl"
    listening = dataclasses.replace(options, output=heard_path, resume=True)
    predict.run(weights, arguments, listening)
    files = expand(arguments)
    choice = options.choice if spec.multi_label else dataclasses.replace(options.choice, top_k=1)
    songs, failures = _songs(files, heard_path, spec, choice)
    unwritten = [*_write_playlists(folder, spec.classes, songs)]
    fields = {song.path: _fields(song, spec) for song in songs if song.labels}
    unwritten += _write_tags(folder, fields, heard_path, write=write)
    report = Report(
        heading=f"{spec.model}, labels with a score of {choice.threshold} or more",
        songs=songs,
        labels=spec.classes,
        playlist_names=playlists.file_names(spec.classes),
        failures=[*failures, *unwritten],
        same=[*_same_file(arguments), *_same_content(files)],
    )
    with replacing(folder / "report.md") as path:
        text = to_markdown(report)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    log.info("wrote %d playlists and report.md to %s", len(spec.classes), folder)
    return 1 if report.failures else 0


def _digest(weights: Weights, options: predict.Options) -> str:
    """Returns eight letters that differ where songs would get other scores."""
    weights = with_windows(weights, options.window_seconds, options.hop_seconds)
    spec = weights.spec
    about = [embed.identity(weights), options.aggregation, spec.temperature, spec.classes]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]


def undo(output: Path | None) -> int:
    """Brings back the files as they were before `write`; returns 1 if one could not, else 0."""
    failures = 0
    for path, error in tag_writer.undo(_folder(output) / "journal.jsonl"):
        failures += bool(error)
        log.info(
            "%s",
            f"failed: {escape_controls(error)}" if error else f"undone: {escape_controls(path)}",
        )
    return 1 if failures else 0


def _folder(output: Path | None) -> Path:
    if output is None or (output.exists() and not output.is_dir()):
        raise UserError("--output: give a folder for playlists, report and journal")
    return output


def _songs(
    files: Sequence[Path], heard: Path, spec: Spec, choice: Choice
) -> tuple[list[Song], list[str]]:
    """Returns the songs that were heard, in the order of the files, and why others were not."""
    with heard.open(encoding="utf-8") as stream:
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
            likeliest = spec.classes[best], float(scores[best])
            songs.append(Song(path, _seconds(path), labels, *likeliest))
        except UserError as error:
            failures.append(escape_controls(error))
    return songs, failures


def _seconds(path: Path) -> float:
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:  # ffmpeg's
        return sum(len(samples) / rate_hz for samples, rate_hz in ffmpeg.decode(path))


def _write_playlists(folder: Path, labels: Sequence[str], songs: Sequence[Song]) -> Iterator[str]:
    """Writes a playlist a label; yields why songs are on none."""
    entries: dict[str, list[tuple[Path, float]]] = collections.defaultdict(list)
    for song in songs:
        try:
            playlists.check_listable(song.path)
        except UserError as error:
            log.info("failed: %s", error)
            yield str(error)
            continue
        for label in song.labels:
            entries[label].append((song.path, song.seconds))
    playlists.write(folder, labels, entries)


def _fields(song: Song, spec: Spec) -> dict[str, str]:
    """Returns what is to stand in a song's file: its genre, or its tags."""
    if spec.multi_label:
        return {"tags": file_tags.SEPARATOR.join(song.labels)}
    return {"genre": song.labels[0]}


def _write_tags(
    folder: Path, fields: Mapping[Path, Mapping[str, str]], heard: Path, *, write: bool
) -> list[str]:
    """Prints what changes in each file, and changes it if asked to; returns why files did not."""
    failures: list[str] = []
    changed: list[Path] = []
    with contextlib.ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests())
        record = None
        if write:
            record = stack.enter_context(tag_writer.journal(folder / "journal.jsonl"))
            tag_writer.clear_up({path.resolve().parent for path in fields})
            stack.callback(lambda: _still_heard(heard, changed))
        for path, wanted in fields.items():
            if stop_requested():
                raise InterruptedRunError(f"stopped when {len(changed)} files were changed")
            try:
                changes = tag_writer.changes(path, wanted)
                if changes and record:
                    tag_writer.rewrite(path, changes, record)
                for change in changes:
                    print(
                        f"{escape_controls(path)}: {change.field}: {change.old!r} -> {change.new!r}"
                    )
                changed += [path] if changes else []
            except UserError as error:
                failures.append(escape_controls(error))
                log.info("failed: %s", failures[-1])
    if write:
        log.info("changed %d files; --undo takes it back", len(changed))
    elif changed:
        log.info("nothing is changed yet: --write changes these %d files", len(changed))
    return failures


def _still_heard(heard: Path, changed: Sequence[Path]) -> None:
    """Says of files, whose tags alone changed, that what was heard in them still holds."""
    with heard.open(encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    states = {str(path): path.stat() for path in changed}
    for line in lines:
        if state := states.get(line["path"]):
            line.update(bytes=state.st_size, mtime_ns=state.st_mtime_ns)
    write_json_lines(heard, lines)


def _same_file(arguments: Sequence[str]) -> list[list[Path]]:
    """Returns the paths that lead to one file, by a link say."""
    return _groups(mentioned(arguments), os.path.realpath)


def _same_content(files: Sequence[Path]) -> list[list[Path]]:
    """Returns the files that are the same, byte for byte."""
    there = [path for path in files if path.is_file()]
    alike = _groups(there, lambda path: path.stat().st_size)
    return [same for paths in alike for same in _groups(paths, tag_writer.sha256)]


def _groups(paths: Iterable[Path], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Returns the paths of one key, two or more of them; a path that comes again counts once."""
    found: dict[Hashable, list[Path]] = collections.defaultdict(list)
    for path in dict.fromkeys(paths):
        found[key(path)].append(path)
    return [group for group in found.values() if len(group) > 1]

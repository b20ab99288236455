"""A small synthetic corpus, for trying the whole program without a download.

Ten styles, composed and rendered by the program (`composition`, `rendering`), without recordings.
A score on it shows that the pipeline works, not how accurate predictions on real music are. The
files have real formats: WAV, FLAC, Ogg Vorbis and MP3, some stereo, some at 44,100 Hz.
"""

import concurrent.futures
import dataclasses
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import soundfile

from deepgenre.audio.discover import find_audio
from deepgenre.data.clip import Clip, Dataset
from deepgenre.data.composer.composition import compose
from deepgenre.data.composer.rendering import render
from deepgenre.data.composer.styles import STYLES
from deepgenre.errors import UserError

# By suffix: libsndfile's container and encoding.
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@dataclasses.dataclass(frozen=True)
class _Task:
    path: Path
    style: str
    index: int
    seed: int
    seconds: float
    sample_rate_hz: int
    channels: int


def compose_corpus(
    folder: Path,
    *,
    clips_per_style: int = 20,
    seconds: float = 10.0,
    seed: int = 0,
    sample_rates_hz: tuple[int, ...] = (22050, 22050, 44100, 22050, 22050),
    channels: tuple[int, ...] = (1, 2, 1),
    executor: concurrent.futures.Executor | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> int:
    """Writes files `folder`/<style>/<style>.000NN.<suffix>; returns how many it wrote.

    Clip NN of each style uses entry NN, modulo the length, of FORMATS, `sample_rates_hz` and
    `channels` (1 or 2), so that none of these identifies the style. Apart from these, a clip
    depends only on `seed`, `seconds`, its style and NN: its samples do not depend on the process or
    the order. Existing files are kept, so a corpus can be resumed and extended.

    `executor` composes clips in its workers; `progress` wraps the list of clips, like tqdm.

    Raises:
      UserError: a number is out of range, or `folder` has a corpus of another seed or duration.
    """
    if clips_per_style < 1 or seconds <= 0 or seed < 0 or not set(channels) <= {1, 2}:
        raise UserError(
            f"Cannot compose a synthetic corpus with {clips_per_style} clips per style, {seconds} "
            f"s, seed {seed} and channels {channels}: use at least 1 clip, more than 0 s, a seed "
            "of at least 0, and 1 or 2 channels."
        )
    _check_settings(folder, {"seed": seed, "seconds": float(seconds)})
    suffixes = list(FORMATS)
    tasks = []
    for style in STYLES:
        (folder / style).mkdir(exist_ok=True)
        for index in range(clips_per_style):
            name = f"{style}.{index:05d}.{suffixes[index % len(suffixes)]}"
            rate_hz = sample_rates_hz[index % len(sample_rates_hz)]
            task = _Task(
                folder / style / name, style, index, seed, seconds, rate_hz,
                channels[index % len(channels)],
            )  # fmt: skip
            if not task.path.exists():
                tasks.append(task)
    if executor is None:
        for task in progress(tasks):
            _write(task)
    else:
        for future in progress([executor.submit(_write, task) for task in tasks]):
            future.result()
    return len(tasks)


def read(data_dir: Path, *, multi_label: bool = False) -> Dataset:
    """Returns the clips of a composed corpus; the style is the label, each clip its own group.

    Raises:
      UserError: `data_dir` contains no clips of a synthetic corpus.
    """
    clips: dict[str, Clip] = {}
    failures: list[str] = []
    for style in filter(lambda style: (data_dir / style).is_dir(), STYLES):
        found = find_audio(data_dir / style)
        failures += found.failures.values()
        for path in found.audio:
            key = path.stem
            if re.fullmatch(rf"{style}\.\d{{5}}", key):
                clips[key] = Clip(key=key, path=path, labels=(style,), group=key)
    if not clips:
        raise UserError(
            f"Folder {str(data_dir)!r} has no synthetic corpus: compose one there first, or set "
            "data_dir to the folder that contains chorale/chorale.00000.wav etc."
        )
    in_order = tuple(clips[key] for key in sorted(clips))
    return Dataset("synthetic", in_order, multi_label, tuple(failures))


def _check_settings(folder: Path, settings: dict[str, float]) -> None:
    """Writes the corpus settings to `folder`; raises UserError if it has others already."""
    path, requested = folder / "synthetic.json", json.dumps(settings) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(requested)
        existing = path.read_text()
    except OSError as error:
        raise UserError(
            f"Cannot compose a corpus in {str(folder)!r} ({error.strerror}): use another folder."
        ) from error
    if existing != requested:
        raise UserError(
            f"{str(path)!r}: this corpus has settings {existing.strip()}, not {requested.strip()}: "
            "use another folder, or delete this one."
        )


def _write(task: _Task) -> None:
    """Composes a clip and writes it to a temporary file, which is renamed when complete."""
    generator = np.random.default_rng([task.seed, zlib.crc32(task.style.encode()), task.index])
    piece = compose(task.style, generator, task.seconds)
    samples = render(piece, generator, task.sample_rate_hz, task.channels)
    container, encoding = FORMATS[task.path.suffix[1:]]
    part = task.path.with_name(f".{task.path.name}.{os.getpid()}.part")
    try:
        with soundfile.SoundFile(
            part, "w", task.sample_rate_hz, task.channels, encoding, format=container
        ) as file:
            # libsndfile 1.2 overflows its stack if it gets minutes of Vorbis at once.
            for start in range(0, len(samples), task.sample_rate_hz):
                file.write(samples[start : start + task.sample_rate_hz])
        part.replace(task.path)
    finally:
        part.unlink(missing_ok=True)

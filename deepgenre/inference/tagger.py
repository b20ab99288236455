"""The Python interface of inference: `deepgenre.load("gtzan")("song.mp3")`."""

import contextlib
import numbers
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from deepgenre.audio import decoding, waveforms
from deepgenre.errors import UserError
from deepgenre.files import expand_home
from deepgenre.inference import aggregation, windows
from deepgenre.inference.infer import FileOutputs, compile_infer_batch, infer_files
from deepgenre.weights import loading
from deepgenre.weights.spec import Spec, Weights

SongPath = str | os.PathLike[str]
Song = SongPath | np.ndarray
Scores = dict[str, float]  # by class, highest first
ARRAY = Path("the array")  # the name of an array in messages


class Tagger:
    """Weights, ready for inference: compiled code and device arrays are kept between calls."""

    def __init__(self, weights: Weights) -> None:
        """Moves the weights to the device."""
        self._weights = weights
        self._infer_batch = compile_infer_batch(weights)

    @property
    def classes(self) -> tuple[str, ...]:
        """Returns the classes, in the order of training."""
        return self._weights.spec.classes

    def __call__(self, song: Song, *, sample_rate_hz: int | None = None) -> Scores:
        """Returns the score of each class, highest first, equal to those of mode `predict`.

        song: an audio file, or float samples in -1..1, (samples,) or (samples, channels), at
        `sample_rate_hz`. Raises errors.UserError where it cannot be read or is silent.
        """
        return self._scores(self._infer(song, sample_rate_hz, embed=False))

    def embed(self, song: Song, *, sample_rate_hz: int | None = None) -> np.ndarray:
        """Returns the embedding of a song, float32 (features,): the input of the last layer.

        The mean over the song's windows. `song` and errors are those of a call.
        """
        outputs = self._infer(song, sample_rate_hz, embed=True)
        assert outputs.embeddings is not None
        return outputs.embeddings.mean(axis=0)

    def predict_many(
        self, paths: Iterable[SongPath]
    ) -> Iterator[tuple[SongPath, Scores | UserError]]:
        """Yields each path with the scores of its song, or the error, in the order of the paths.

        Threads read ahead, and windows of several files share a batch: faster than a call per
        file. Paths are yielded as they are given. Raises errors.UserError where one is of another
        type.
        """
        if isinstance(paths, str | bytes | os.PathLike) or not isinstance(paths, Iterable):
            raise UserError(f"paths: give several paths, e.g. a list, not {type(paths).__name__}")
        given = list(paths)
        every = infer_files(self._weights, [*map(_path, given)], infer_batch=self._infer_batch)
        return self._in_order(given, every)

    def _in_order(
        self, given: Sequence[SongPath], every: Generator[FileOutputs]
    ) -> Iterator[tuple[SongPath, Scores | UserError]]:
        with contextlib.closing(every):
            for path, outputs in zip(given, every, strict=True):
                yield path, UserError(outputs.error) if outputs.error else self._scores(outputs)

    def _scores(self, outputs: FileOutputs) -> Scores:
        scores = aggregation.song_scores(outputs, self._weights.spec, "mean")
        order = np.argsort(-scores, kind="stable")
        return {self.classes[index]: float(scores[index]) for index in order}

    def _infer(self, song: Song, sample_rate_hz: int | None, *, embed: bool) -> FileOutputs:
        if isinstance(song, np.ndarray):
            mono = _mono(song, sample_rate_hz, self._weights.spec.frontend.sample_rate_hz)

            def read(path: Path, specs: Sequence[Spec]) -> Iterator[tuple[int, windows.Windows]]:
                return windows.waveform_windows(mono, path, *specs)

            path = ARRAY
        elif sample_rate_hz is not None:
            raise UserError("sample_rate_hz: is for arrays only; files contain their rate")
        else:
            path, read = _path(song), windows.file_windows
        (outputs,) = infer_files(
            self._weights, [path], embed=embed, infer_batch=self._infer_batch, read=read
        )
        if outputs.error:
            raise UserError(outputs.error)
        return outputs


def load(weights: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Tagger:
    """Returns the tagger of a workdir's weights, of a .safetensors file, or of weights by name.

    Several weights: of their ensemble.
    """
    sources = [weights] if isinstance(weights, str | os.PathLike) else weights
    if not isinstance(sources, list | tuple) or not sources:
        raise UserError(f"weights: give a name, a path or a list of them, not {_shown(weights)}")
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise UserError(f"weights: contain {_shown(source)}; give names or paths")
    return Tagger(loading.load(*(os.fspath(source) for source in sources)))


def _shown(value: object) -> str:
    return "an empty list" if value == [] or value == () else type(value).__name__


def _path(song: object) -> Path:
    """Returns the path of a song, with '~' expanded."""
    if not isinstance(song, str | os.PathLike):
        raise UserError(
            f"song: give a path or a NumPy array of samples, not {type(song).__name__}; for "
            "several songs use predict_many"
        )
    return expand_home(song)


def _mono(samples: np.ndarray, from_hz: int | None, to_hz: int) -> np.ndarray:
    """Returns float32 (samples,) at `to_hz`, mixed and resampled like the samples of a file."""
    if from_hz is None:
        raise UserError("sample_rate_hz: is missing; give the rate of the array")
    if isinstance(from_hz, bool) or not isinstance(from_hz, numbers.Real):
        raise UserError(f"sample_rate_hz: must be a number, not {type(from_hz).__name__}")
    if not decoding.RATES_HZ[0] <= from_hz <= decoding.RATES_HZ[1]:
        raise UserError(f"sample_rate_hz: must be {decoding.RATES_HZ[0]} or more, is {from_hz}")
    if not np.issubdtype(samples.dtype, np.floating):
        raise UserError(f"{ARRAY}: holds {samples.dtype}; give floats in -1..1")
    if not samples.size:
        raise UserError(f"{ARRAY}: holds no audio samples")
    if samples.ndim not in (1, 2) or samples.shape[0] < samples[0].size:
        raise UserError(
            f"{ARRAY}: has shape {samples.shape}; give (samples,) or (samples, channels)"
        )
    mono = samples.astype(np.float32)
    mono = mono if mono.ndim == 1 else decoding.to_mono(mono)
    decoding.peak(mono, ARRAY)
    return waveforms.resample(mono, from_hz, to_hz)

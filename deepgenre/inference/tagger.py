"""The Python interface of inference: `deepgenre.load("gtzan")("song.mp3")`."""

import contextlib
import numbers
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from deepgenre import log
from deepgenre.audio import decoding, waveforms
from deepgenre.errors import UserError, unknown_name
from deepgenre.evaluation.steps import compile_infer_step
from deepgenre.files import expand_home
from deepgenre.inference import aggregation, windows
from deepgenre.inference.embed import song_vector
from deepgenre.inference.infer import FileOutputs, InferBatch, compile_infer_batch, infer_files
from deepgenre.weights import loading
from deepgenre.weights.spec import Spec, Weights

SongPath = str | os.PathLike[str]
Song = SongPath | np.ndarray
Sources = SongPath | Sequence[SongPath]  # of weights
Paths = Any  # a list, array, pandas Series or single column of paths
OUTPUTS = ("embeddings", "scores")
ON_ERROR = ("raise", "nan")
Scores = dict[str, float]  # by class, highest first
ARRAY = Path("the array")  # the name of an array in messages


class Tagger(TransformerMixin, BaseEstimator):
    """Weights, ready for inference: compiled code and device arrays are kept between calls.

    A scikit-learn transformer as well: from paths of audio files to embeddings or scores, so that
    it can be the first step of a pipeline. `fit` learns nothing. Pickles contain the weights.
    """

    def __init__(
        self, weights: Sources = "gtzan", *, output: str = "embeddings", on_error: str = "raise"
    ) -> None:
        """Stores the parameters; the weights are loaded when they are used first.

        weights: a name, a workdir, a .safetensors file, or a list of them, an ensemble.
        output: of `transform`, 'embeddings' or 'scores'.
        on_error: for a file that `transform` cannot read, 'raise' or 'nan', a row of NaN.
        """
        self.weights = weights
        self.output = output
        self.on_error = on_error

    @property
    def classes(self) -> tuple[str, ...]:
        """Returns the classes, in the order of training."""
        return self._loaded.spec.classes

    def fit(self, X: Paths, y: object = None) -> "Tagger":  # noqa: N803 (scikit-learn's names)
        """Loads the weights and checks the parameters; returns itself."""
        self._check()
        _paths(X)
        return self

    def transform(self, X: Paths) -> np.ndarray:  # noqa: N803
        """Returns a row per path, float32 (paths, features or classes), in their order.

        X: paths, 1-D or a single column. Raises errors.UserError where X holds no paths, or, unless
        `on_error` is 'nan', a file cannot be read.
        """
        self._check()
        paths = _paths(X)
        rows: list[np.ndarray | None] = []
        embed = self.output == "embeddings"
        every = infer_files(self._loaded, paths, embed=embed, infer_batch=self._compiled)
        with contextlib.closing(every):
            for outputs in every:
                try:
                    rows.append(self._row(outputs))
                except UserError as error:
                    if self.on_error == "raise":
                        raise
                    log.warning("row of NaN: %s", error)
                    rows.append(None)
        missing = np.full(len(self.get_feature_names_out()), np.nan, np.float32)
        return np.stack([missing if row is None else row for row in rows])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Returns the names of the columns of `transform`, str (columns,)."""
        self._check()
        if self.output == "scores":
            return np.array(self.classes, dtype=object)
        spec = self._loaded.spec
        shape = (1, spec.window_frames, spec.frontend.stored_bands)
        levels = jax.ShapeDtypeStruct(shape, spec.frontend.stored_dtype)
        outputs = jax.eval_shape(compile_infer_step(spec), self._loaded.variables, levels)
        width = outputs["embedding"].shape[-1]
        return np.array([f"embedding_{number}" for number in range(width)], dtype=object)

    def _row(self, outputs: FileOutputs) -> np.ndarray:
        if self.output == "embeddings":
            return song_vector(outputs)
        if outputs.error:
            raise UserError(outputs.error)
        return aggregation.song_scores(outputs, self._loaded.spec, "mean").astype(np.float32)

    def _check(self) -> None:
        for name, known in (("output", OUTPUTS), ("on_error", ON_ERROR)):
            if getattr(self, name) not in known:
                raise unknown_name(name, str(getattr(self, name)), known)
        self._loaded  # noqa: B018 (loads)

    @property
    def _loaded(self) -> Weights:
        """Returns the weights, loaded at the first use."""
        sources = sources_of(self.weights)
        if self.__dict__.get("_sources") != sources:
            self.__dict__.pop("_compiled_batch", None)
            self._weights, self._sources = loading.load(*sources), sources
        return self._weights

    @property
    def _compiled(self) -> InferBatch:
        weights = self._loaded
        if "_compiled_batch" not in self.__dict__:
            self._compiled_batch = compile_infer_batch(weights)
        return self._compiled_batch

    def __getstate__(self) -> dict[str, Any]:
        """Returns the parameters and the weights, without compiled code and device arrays."""
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_compiled_batch"}

    def __sklearn_tags__(self) -> Tags:
        """Returns that the input is text in one dimension, and that `fit` is not needed."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

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
        every = infer_files(self._loaded, [*map(_path, given)], infer_batch=self._compiled)
        return self._in_order(given, every)

    def _in_order(
        self, given: Sequence[SongPath], every: Generator[FileOutputs]
    ) -> Iterator[tuple[SongPath, Scores | UserError]]:
        with contextlib.closing(every):
            for path, outputs in zip(given, every, strict=True):
                yield path, UserError(outputs.error) if outputs.error else self._scores(outputs)

    def _scores(self, outputs: FileOutputs) -> Scores:
        scores = aggregation.song_scores(outputs, self._loaded.spec, "mean")
        order = np.argsort(-scores, kind="stable")
        return {self.classes[index]: float(scores[index]) for index in order}

    def _infer(self, song: Song, sample_rate_hz: int | None, *, embed: bool) -> FileOutputs:
        if isinstance(song, np.ndarray):
            mono = _mono(song, sample_rate_hz, self._loaded.spec.frontend.sample_rate_hz)

            def read(path: Path, specs: Sequence[Spec]) -> Iterator[tuple[int, windows.Windows]]:
                return windows.waveform_windows(mono, path, *specs)

            path = ARRAY
        elif sample_rate_hz is not None:
            raise UserError("sample_rate_hz: is for arrays only; files contain their rate")
        else:
            path, read = _path(song), windows.file_windows
        (outputs,) = infer_files(
            self._loaded, [path], embed=embed, infer_batch=self._compiled, read=read
        )
        if outputs.error:
            raise UserError(outputs.error)
        return outputs


def load(weights: Sources = "gtzan") -> Tagger:
    """Returns a tagger with the weights of a name, a workdir or a .safetensors file.

    Several, as a list: their ensemble. Raises errors.UserError where they do not exist, are damaged
    or cannot form an ensemble.
    """
    tagger = Tagger(weights)
    tagger.classes  # noqa: B018 (loads the weights now)
    return tagger


def sources_of(weights: Sources) -> list[str]:
    """Returns the sources of weights, at least one; raises UserError where they are no names."""
    sources = [weights] if isinstance(weights, str | os.PathLike) else weights
    if not isinstance(sources, list | tuple) or not sources:
        raise UserError(f"weights: give a name, a path or a list of them, not {_shown(weights)}")
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise UserError(f"weights: contain {_shown(source)}; give names or paths")
    return [os.fspath(source) for source in sources]


def _shown(value: object) -> str:
    return "an empty list" if value == [] or value == () else type(value).__name__


def _paths(several: Paths) -> list[Path]:
    """Returns the paths in a sequence, or in the single column of a table."""
    if isinstance(several, str | bytes | os.PathLike) or not hasattr(several, "__len__"):
        raise UserError(f"X: give several paths, e.g. a list, not {type(several).__name__}")
    values = np.asarray(several, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not values.size:
        raise UserError(f"X: has shape {values.shape}; give paths, one per song")
    for number, value in enumerate(values.tolist()):
        if not isinstance(value, str | os.PathLike):
            raise UserError(f"X: row {number} is {type(value).__name__}; give paths, one per song")
    return [*map(expand_home, values.tolist())]


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

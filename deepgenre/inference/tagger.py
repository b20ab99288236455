"""Python's way to hear music: `deepgenre.load("gtzan")("song.mp3")`."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deepgenre.audio import decoding, waveforms
from deepgenre.errors import UserError
from deepgenre.inference import aggregation, windows
from deepgenre.inference.infer import FileOutputs, infer_files, scorer
from deepgenre.weights import loading
from deepgenre.weights.spec import Spec, Weights

Song = str | os.PathLike[str] | np.ndarray
ARRAY = Path("the array")  # how messages call what is no file


class Tagger:
    """Weights, ready to hear: compiled code and what lies on the device stay between calls."""

    def __init__(self, weights: Weights) -> None:
        """Takes the weights to the device."""
        self._weights = weights
        self._score = scorer(weights)

    @property
    def classes(self) -> tuple[str, ...]:
        """Returns the classes, in the order of training."""
        return self._weights.spec.classes

    def __call__(self, song: Song, *, sample_rate_hz: int | None = None) -> dict[str, float]:
        """Returns the score of each class, highest first: those that the command line says.

        song: an audio file, or float samples in -1..1, (samples,) or (samples, channels), at
        `sample_rate_hz`. Raises errors.UserError where there is nothing to hear in it.
        """
        heard = self._hear(song, sample_rate_hz, embed=False)
        scores = aggregation.song_scores(heard, self._weights.spec, "mean")
        order = np.argsort(-scores, kind="stable")
        return {self.classes[index]: float(scores[index]) for index in order}

    def embed(self, song: Song, *, sample_rate_hz: int | None = None) -> np.ndarray:
        """Returns what the network's last layer sees of a song, float32 (features,).

        The mean over the song's windows. Errors and `song` are those of a call.
        """
        heard = self._hear(song, sample_rate_hz, embed=True)
        assert heard.embeddings is not None
        return heard.embeddings.mean(axis=0)

    def _hear(self, song: Song, sample_rate_hz: int | None, *, embed: bool) -> FileOutputs:
        if isinstance(song, np.ndarray):
            mono = _mono(song, sample_rate_hz, self._weights.spec.frontend.sample_rate_hz)

            def read(path: Path, spec: Spec) -> Iterator[windows.Windows]:
                return windows.waveform_windows(mono, path, spec)

            path = ARRAY
        elif sample_rate_hz is not None:
            raise UserError("sample_rate_hz: is for arrays; a file says its own")
        else:
            path, read = Path(song), windows.windows
        (heard,) = infer_files(self._weights, [path], embed=embed, score=self._score, read=read)
        if heard.error:
            raise UserError(heard.error)
        return heard


def load(source: str) -> Tagger:
    """Returns the tagger of a workdir's weights, of a .safetensors file, or of weights by name."""
    return Tagger(loading.load(source))


def _mono(samples: np.ndarray, from_hz: int | None, to_hz: int) -> np.ndarray:
    """Returns float32 (samples,) at `to_hz`, made as a file's are."""
    if from_hz is None:
        raise UserError("sample_rate_hz: an array does not say its own; give it")
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
    mono = mono if mono.ndim == 1 else decoding.mixed(mono)
    decoding.peak(mono, ARRAY)
    return waveforms.resample(mono, from_hz, to_hz)

"""The Python interface of inference: `deepgenre.load("gtzan")("song.mp3")`."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deepgenre.audio import decoding, waveforms
from deepgenre.errors import UserError
from deepgenre.inference import aggregation, windows
from deepgenre.inference.infer import FileOutputs, compile_infer_batch, infer_files
from deepgenre.weights import loading
from deepgenre.weights.spec import Spec, Weights

Song = str | os.PathLike[str] | np.ndarray
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

    def __call__(self, song: Song, *, sample_rate_hz: int | None = None) -> dict[str, float]:
        """Returns the score of each class, highest first, equal to those of mode `predict`.

        song: an audio file, or float samples in -1..1, (samples,) or (samples, channels), at
        `sample_rate_hz`. Raises errors.UserError where it cannot be read or is silent.
        """
        outputs = self._infer(song, sample_rate_hz, embed=False)
        scores = aggregation.song_scores(outputs, self._weights.spec, "mean")
        order = np.argsort(-scores, kind="stable")
        return {self.classes[index]: float(scores[index]) for index in order}

    def embed(self, song: Song, *, sample_rate_hz: int | None = None) -> np.ndarray:
        """Returns the embedding of a song, float32 (features,): the input of the last layer.

        The mean over the song's windows. `song` and errors are those of a call.
        """
        outputs = self._infer(song, sample_rate_hz, embed=True)
        assert outputs.embeddings is not None
        return outputs.embeddings.mean(axis=0)

    def _infer(self, song: Song, sample_rate_hz: int | None, *, embed: bool) -> FileOutputs:
        if isinstance(song, np.ndarray):
            mono = _mono(song, sample_rate_hz, self._weights.spec.frontend.sample_rate_hz)

            def read(path: Path, spec: Spec) -> Iterator[windows.Windows]:
                return windows.waveform_windows(mono, path, spec)

            path = ARRAY
        elif sample_rate_hz is not None:
            raise UserError("sample_rate_hz: is for arrays only; files contain their rate")
        else:
            path, read = Path(song), windows.file_windows
        (outputs,) = infer_files(
            self._weights, [path], embed=embed, infer_batch=self._infer_batch, read=read
        )
        if outputs.error:
            raise UserError(outputs.error)
        return outputs


def load(source: str) -> Tagger:
    """Returns the tagger of a workdir's weights, of a .safetensors file, or of weights by name."""
    return Tagger(loading.load(source))


def _mono(samples: np.ndarray, from_hz: int | None, to_hz: int) -> np.ndarray:
    """Returns float32 (samples,) at `to_hz`, mixed and resampled like the samples of a file."""
    if from_hz is None:
        raise UserError("sample_rate_hz: is missing; give the rate of the array")
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

"""The windows of audio of any length, as input of a network."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from deepgenre.audio import decoding, device_frontend, waveforms
from deepgenre.audio import frontend as front_end
from deepgenre.data.sampling import window, window_starts
from deepgenre.errors import UserError
from deepgenre.weights.spec import Spec


class Windows(NamedTuple):
    """The windows of a piece of a song; a silent piece has none."""

    starts: np.ndarray  # float64 (windows,), seconds from the start of the file
    levels: list[np.ndarray]  # of each window, (window_frames, stored_bands)
    piece_seconds: float  # length of the piece


# From a file to its windows for several networks, each with the index of the network.
Reader = Callable[[Path, Sequence[Spec]], Iterator[tuple[int, Windows]]]


def file_windows(
    path: Path, specs: Sequence[Spec], observe: decoding.Observe | None = None
) -> Iterator[tuple[int, Windows]]:
    """Yields (index of the spec, windows that cover a file), piece by piece, decoded once for all.

    A song is cut into equal pieces of about the length of a training clip. Each piece is processed
    like a training clip: levels relative to its own maximum, then windows. The levels of a file as
    long as a training clip therefore equal the stored levels. Silent pieces are skipped: relative
    to their own maximum they would be as loud as any other. `observe`: of
    `waveforms.pieces_of_each`. Raises UserError where the file cannot be read or all of it is
    silent.
    """
    requested = [(spec.frontend.sample_rate_hz, spec.clip_seconds) for spec in specs]
    return _windows(waveforms.pieces_of_each(path, requested, observe), path, specs)


def reader(
    failures: Mapping[Path, str], observer: Callable[[Path], decoding.Observe] | None = None
) -> Reader:
    """Returns `file_windows` that raises UserError for paths whose failure is already known.

    observer: returns what observes the decoding of a file.
    """

    def read(path: Path, specs: Sequence[Spec]) -> Iterator[tuple[int, Windows]]:
        if path in failures:
            raise UserError(failures[path])
        return file_windows(path, specs, observer(path) if observer else None)

    return read


def waveform_windows(
    waveform: np.ndarray, name: object, spec: Spec
) -> Iterator[tuple[int, Windows]]:
    """Yields what `file_windows` does, of a waveform, (samples,) at the rate of the only spec."""
    rate_hz = spec.frontend.sample_rate_hz
    pieces = ((0, piece) for piece in waveforms.cut(waveform, spec.clip_seconds * rate_hz))
    return _windows(pieces, name, [spec])


def on_gpu() -> bool:
    """Whether levels are computed on the device: a GPU has capacity left while the host decodes."""
    return jax.default_backend() == "gpu"


def _windows(
    pieces: Iterable[tuple[int, np.ndarray]], name: object, specs: Sequence[Spec]
) -> Iterator[tuple[int, Windows]]:
    rates_hz = [spec.frontend.sample_rate_hz for spec in specs]
    offset_samples, is_silent = [0] * len(specs), [True] * len(specs)
    for index, piece in pieces:
        starts, levels = np.zeros(0), []
        if np.abs(piece).max() >= decoding.SILENCE_PEAK:
            starts, levels = piece_windows(piece, specs[index])
            is_silent[index] = False
        offset_seconds = offset_samples[index] / rates_hz[index]
        yield index, Windows(offset_seconds + starts, levels, piece.size / rates_hz[index])
        offset_samples[index] += piece.size
    if any(is_silent):
        rate_hz = rates_hz[is_silent.index(True)]
        raise UserError(f"{name}: is silent below {rate_hz / 2:g} Hz; use another recording")


def piece_windows(piece: np.ndarray, spec: Spec) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns starts in seconds from the start of the piece, and the levels of each window."""
    compute_levels = device_frontend.levels_of if on_gpu() else front_end.levels
    levels = compute_levels(piece, spec.frontend)
    starts = window_starts(levels.shape[0], spec.window_frames, spec.hop_frames)
    cut = [window(levels, start, spec.window_frames) for start in starts]
    return np.array(starts) / spec.frontend.frames_per_second, cut

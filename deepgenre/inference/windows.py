"""The windows of audio of any length, as input of a network."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import numpy as np

from deepgenre.audio import decoding, device_frontend, waveforms
from deepgenre.audio import frontend as front_end
from deepgenre.data.sampling import window, window_starts
from deepgenre.errors import UserError
from deepgenre.weights.spec import Spec

# Starts of windows, float64 (windows,) in seconds from the start of the file, and the levels of
# each, (window_frames, stored_bands).
Windows = tuple[np.ndarray, list[np.ndarray]]


def file_windows(
    path: Path, spec: Spec, observe: decoding.Observe | None = None
) -> Iterator[Windows]:
    """Yields the windows that cover a file, piece by piece.

    A song is cut into equal pieces of about the length of a training clip. Each piece is processed
    like a training clip: levels relative to its own maximum, then windows. The levels of a file as
    long as a training clip therefore equal the stored levels. Silent pieces are skipped: relative
    to their own maximum they would be as loud as any other. `observe`: of `waveforms.pieces`.
    Raises UserError where the file cannot be read or all of it is silent.
    """
    rate_hz, piece_seconds = spec.frontend.sample_rate_hz, spec.clip_seconds
    return _windows(waveforms.pieces(path, rate_hz, piece_seconds, observe), path, spec)


def waveform_windows(waveform: np.ndarray, name: object, spec: Spec) -> Iterator[Windows]:
    """Yields the windows of a waveform, (samples,) at the spec's rate, as `file_windows` does."""
    rate_hz = spec.frontend.sample_rate_hz
    return _windows(waveforms.cut(waveform, spec.clip_seconds * rate_hz), name, spec)


def on_gpu() -> bool:
    """Whether levels are computed on the device: a GPU has capacity left while the host decodes."""
    return jax.default_backend() == "gpu"


def _windows(pieces: Iterable[np.ndarray], name: object, spec: Spec) -> Iterator[Windows]:
    offset_samples, is_silent = 0, True
    for piece in pieces:
        if np.abs(piece).max() >= decoding.SILENCE_PEAK:
            starts, levels = _piece_windows(piece, spec)
            yield offset_samples / spec.frontend.sample_rate_hz + starts, levels
            is_silent = False
        offset_samples += piece.size
    if is_silent:
        raise UserError(
            f"{name}: is silent below {spec.frontend.sample_rate_hz / 2:g} Hz; "
            "use another recording"
        )


def _piece_windows(piece: np.ndarray, spec: Spec) -> Windows:
    compute_levels = device_frontend.levels_of if on_gpu() else front_end.levels
    levels = compute_levels(piece, spec.frontend)
    starts = window_starts(levels.shape[0], spec.window_frames, spec.hop_frames)
    cut = [window(levels, start, spec.window_frames) for start in starts]
    return np.array(starts) / spec.frontend.frames_per_second, cut

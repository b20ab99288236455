"""An audio file of any length to the windows that a network hears."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import numpy as np

from deepgenre.audio import decoding, device_frontend, waveforms
from deepgenre.audio import frontend as front_end
from deepgenre.data.sampling import window, window_starts
from deepgenre.errors import UserError
from deepgenre.weights.spec import Spec

# Where windows start, float64 (windows,) in seconds from the file's start, and the levels of each,
# (window_frames, stored_bands).
Windows = tuple[np.ndarray, list[np.ndarray]]


def windows(path: Path, spec: Spec) -> Iterator[Windows]:
    """Yields the windows that cover a file, piece by piece; raises UserError where it is no music.

    A song is cut into equal pieces of about the length of a training clip. Each piece is treated
    as training treated a clip: levels re its own maximum, then windows. A file as long as a
    training clip therefore gives exactly what the store would hold of it. Silent pieces are left
    out: relative to its own maximum, silence is as loud as can be.
    """
    return _windows(
        waveforms.pieces(path, spec.frontend.sample_rate_hz, spec.clip_seconds), path, spec
    )


def on_gpu() -> bool:
    """Whether the device makes the levels too: a GPU has the time, while the host decodes."""
    return jax.default_backend() == "gpu"


def waveform_windows(waveform: np.ndarray, name: object, spec: Spec) -> Iterator[Windows]:
    """Yields likewise the windows of a waveform, (samples,) at the spec's rate."""
    rate_hz = spec.frontend.sample_rate_hz
    return _windows(waveforms.cut(waveform, spec.clip_seconds * rate_hz), name, spec)


def _windows(pieces: Iterable[np.ndarray], name: object, spec: Spec) -> Iterator[Windows]:
    first, heard = 0, False
    for piece in pieces:
        if np.abs(piece).max() >= decoding.SILENCE_PEAK:
            starts, levels = _piece_windows(piece, spec)
            yield first / spec.frontend.sample_rate_hz + starts, levels
            heard = True
        first += piece.size
    if not heard:
        raise UserError(
            f"{name}: is silent below {spec.frontend.sample_rate_hz / 2:g} Hz; there is nothing "
            "to hear"
        )


def _piece_windows(piece: np.ndarray, spec: Spec) -> Windows:
    make = device_frontend.levels_of if on_gpu() else front_end.levels
    levels = make(piece, spec.frontend)
    starts = window_starts(levels.shape[0], spec.window_frames, spec.hop_frames)
    cut = [window(levels, start, spec.window_frames) for start in starts]
    return np.array(starts) / spec.frontend.frames_per_second, cut

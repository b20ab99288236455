"""The window of a song that is explained: its levels and its samples."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepgenre.audio import waveforms
from deepgenre.errors import UserError
from deepgenre.inference import windows
from deepgenre.inference.infer import FileOutputs
from deepgenre.weights.spec import Spec


class SongWindow(NamedTuple):
    """One window of a song."""

    start_seconds: float
    levels: np.ndarray  # (window_frames, stored_bands)
    samples: np.ndarray  # float32 (samples,), at the spec's rate; fewer than a window's at the end


def window_index(outputs: FileOutputs, target: int, start_seconds: float | None) -> int:
    """Returns the window with the highest score of the target, or that nearest to a time.

    Raises UserError where the time is not within the song.
    """
    if start_seconds is None:
        return int(np.argmax(outputs.scores[:, target]))
    if not 0 <= start_seconds < outputs.seconds:
        raise UserError(
            f"{outputs.path}: --start_seconds={start_seconds:g} is not within its "
            f"{outputs.seconds:.1f} s; give a time from 0 to {outputs.seconds:.1f}"
        )
    return int(np.argmin(np.abs(outputs.start_seconds - start_seconds)))


def read(path: Path, spec: Spec, start_seconds: float) -> SongWindow:
    """Returns the window that starts at `start_seconds`, one of those that inference scores.

    Decodes the song only so far. Raises UserError where it cannot be read.
    """
    frontend, offset = spec.frontend, 0
    half_frame = 0.5 / frontend.frames_per_second
    for piece in waveforms.pieces(path, frontend.sample_rate_hz, spec.clip_seconds):
        starts, levels = windows.piece_windows(piece, spec)
        in_song = starts + offset / frontend.sample_rate_hz
        nearest = int(np.argmin(np.abs(in_song - start_seconds)))
        if abs(in_song[nearest] - start_seconds) < half_frame:
            first = round(starts[nearest] * frontend.sample_rate_hz)
            count = round(spec.window_frames / frontend.frames_per_second * frontend.sample_rate_hz)
            samples = piece[first : first + count]
            return SongWindow(float(in_song[nearest]), levels[nearest], samples)
        offset += piece.size
    raise UserError(f"{path}: changed while it was read; wait until it is complete")

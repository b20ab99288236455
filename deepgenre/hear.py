"""An audio file of any length to the windows that a network hears."""

from pathlib import Path

import numpy as np

from deepgenre import audio, pipeline
from deepgenre import frontend as front_end
from deepgenre.spec import Spec


def windows(path: Path, spec: Spec) -> np.ndarray:
    """Returns levels (windows, window_frames, stored_bands) that cover the file; else UserError.

    A song is cut into equal pieces of about the length of a training clip. Each piece is treated
    as training treated a clip: levels re its own maximum, then windows. A file as long as a
    training clip therefore gives exactly what the store would hold of it. Silent pieces are left
    out: relative to its own maximum, silence is as loud as can be.
    """
    waveform = audio.load(path, spec.frontend.sample_rate_hz)
    clip_samples = spec.clip_seconds * spec.frontend.sample_rate_hz
    pieces = np.array_split(waveform, max(1, round(waveform.size / clip_samples)))
    heard = [piece for piece in pieces if np.abs(piece).max() >= audio.SILENCE_PEAK] or pieces
    return np.concatenate([_piece_windows(piece, spec) for piece in heard])


def _piece_windows(piece: np.ndarray, spec: Spec) -> np.ndarray:
    levels = front_end.levels(piece, spec.frontend)
    starts = pipeline.window_starts(levels.shape[0], spec.window_frames, spec.hop_frames)
    return np.stack([pipeline.window(levels, start, spec.window_frames) for start in starts])

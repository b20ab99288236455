"""Why a window of a song has the score of a class: a picture and a sound, as values for JSON."""

import base64
import io
from pathlib import Path

import numpy as np
import soundfile

from deepgenre.errors import UserError, look_up, unknown_name
from deepgenre.explain import song_window
from deepgenre.explain.explanation import METHODS, default_method, explain
from deepgenre.explain.run import to_json
from deepgenre.explain.sound import important_parts, smoothed
from deepgenre.server.analysis import Json, Network

MAX_FRAMES = 400  # of the picture: means of several frames where a window has more


def explain_window(
    network: Network, path: Path, target: str, start_seconds: float, method: str = ""
) -> Json:
    """Returns the explanation of a class's score for the window that starts at a time.

    'map' and 'plane' are uint8 (frames, bands) in base64, lowest band first: support, 128 is none,
    and the spectrogram. 'sound' is a FLAC file in base64. Raises UserError where the class or
    method is unknown, or the window cannot be read.
    """
    weights = network.weights
    if target not in weights.spec.classes:
        raise unknown_name("class", target, weights.spec.classes)
    method = method or default_method(weights)
    look_up(METHODS, method, "method")
    window = song_window.read(path, weights.spec, start_seconds)
    found = explain(weights, window.levels, target, method)
    if not np.isfinite(found.plane).all():
        raise UserError("the spectrogram of this window is not finite; choose another window")
    rate_hz = weights.spec.frontend.sample_rate_hz
    sound = important_parts(window.samples, rate_hz, found)
    support = smoothed(found.map, found.seconds_per_frame)
    limit = float(np.abs(support).max()) or 1.0
    shown, plane = (_fewer_frames(values) for values in (support, found.plane))
    low, high = np.quantile(plane, [0.02, 0.998])
    return {
        "start_seconds": round(window.start_seconds, 3),
        "window_seconds": round(len(found.map) * found.seconds_per_frame, 3),
        "frames": shown.shape[0],
        "bands": shown.shape[1],
        "band_hz": found.band_hz.round(1).tolist(),
        "map": _text(128 + 127 * shown / limit),
        "plane": _text(255 * (plane - low) / max(float(high - low), 1e-9)),
        "sound": base64.b64encode(_flac(sound.samples, rate_hz)).decode(),
        "gain_db": round(sound.gain_db, 2),
        **to_json(found, window.start_seconds),
    }


def _fewer_frames(values: np.ndarray) -> np.ndarray:
    """Returns (frames, bands) as at most MAX_FRAMES means of as many frames each."""
    count = -(-len(values) // MAX_FRAMES)
    padded = np.pad(values, ((0, -len(values) % count), (0, 0)), mode="edge")
    return padded.reshape(-1, count, values.shape[1]).mean(axis=1)


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.clip(values, 0, 255).round().astype(np.uint8).tobytes()).decode()


def _flac(samples: np.ndarray, rate_hz: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.clip(samples, -1, 1), rate_hz, format="FLAC")
    return stream.getvalue()

"""Spectrogram and audio of the clips that a page shows, from the dataset's own files.

Audio is embedded, as an excerpt in MP3: the page then plays from any disk and needs no other file.
"""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import soundfile

from deepgenre.audio import waveforms
from deepgenre.config import Config
from deepgenre.data.clip import Clip
from deepgenre.data.datasets import read_dataset
from deepgenre.data.prepare import clip_levels
from deepgenre.evaluation.figures import over_time, style
from deepgenre.weights.spec import Spec, config_of

EXCERPT_SECONDS = 30.0  # of the middle of longer clips
AUDIO_HZ = 22_050
MP3_COMPRESSION = 0.8  # about 40 kbit/s
MAX_FRAMES = 500  # columns of a small spectrogram


@dataclasses.dataclass(frozen=True)
class EmbeddedAudio:
    """Audio for a page, and the part of the clip that it is."""

    uri: str
    start_seconds: float
    end_seconds: float
    clip_seconds: float


def clips_by_key(spec: Spec, data_dir: Path) -> dict[str, Clip]:
    """Returns the clips of the run's dataset; UserError where it cannot be read."""
    config: Config = config_of(spec)
    dataset = read_dataset(config, data_dir)
    return {clip.key: clip for clip in dataset.clips}


def spectrogram(clip: Clip, spec: Spec, prefix: str) -> str:
    """Returns the clip's spectrogram as an <svg> element; UserError if it cannot be read."""
    levels = clip_levels(clip, spec.frontend, spec.config.get("spectrogram_scale", ""))
    decibels, shown_as = over_time.decibels_of(levels, spec.frontend)
    seconds = len(decibels) / shown_as.frames_per_second
    figure = over_time.small_spectrogram(_at_most(decibels, MAX_FRAMES), shown_as, seconds)
    return style.svg_element(figure, prefix)


def audio(clip: Clip) -> EmbeddedAudio | None:
    """Returns the middle of the clip's audio; None of a precomputed spectrogram.

    Raises UserError if the file cannot be read.
    """
    if clip.precomputed:
        return None
    waveform = waveforms.load(clip.path, AUDIO_HZ)
    length = min(waveform.size, round(EXCERPT_SECONDS * AUDIO_HZ))
    start = (waveform.size - length) // 2
    excerpt = np.clip(waveform[start : start + length], -1, 1)
    stream = io.BytesIO()
    soundfile.write(stream, excerpt, AUDIO_HZ, format="MP3", bitrate_mode="VARIABLE",
                    compression_level=MP3_COMPRESSION)  # fmt: skip
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return EmbeddedAudio(
        uri=f"data:audio/mpeg;base64,{encoded}",
        start_seconds=start / AUDIO_HZ,
        end_seconds=(start + length) / AUDIO_HZ,
        clip_seconds=waveform.size / AUDIO_HZ,
    )


def _at_most(decibels: np.ndarray, frames: int) -> np.ndarray:
    """Returns (at most `frames`, bands): the means of groups of equal size, the last cut off."""
    group = -(-len(decibels) // frames)
    whole = len(decibels) // group * group
    return decibels[:whole].reshape(-1, group, decibels.shape[1]).mean(axis=1)

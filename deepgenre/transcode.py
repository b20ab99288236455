"""One clip, whatever it comes as, to the levels that the store keeps."""

import numpy as np

from deepgenre import audio
from deepgenre import frontend as front_end
from deepgenre.datasets import spectrograms
from deepgenre.datasets.clip import Clip
from deepgenre.errors import UserError
from deepgenre.frontend import STORED_AS, FrontEnd


def clip_levels(clip: Clip, frontend: FrontEnd) -> np.ndarray:
    """Returns what the store keeps of the clip: (frames, stored_bands) of the front end's type.

    Audio is decoded and goes through the front end; spectrograms (a row of an .npz, a .npy) are
    taken as they are, whatever front end made them. Raises UserError naming a bad file, or
    spectrograms where the front end needs audio.
    """
    if clip.precomputed and STORED_AS[frontend.kind] != "log_mel":
        raise UserError(
            f"{clip.path}: holds log-mel spectrograms, but config.frontend.kind {frontend.kind!r} "
            "is made from audio; give audio files, or use kind 'log_mel'"
        )
    if clip.row >= 0:
        return spectrograms.npz_levels(clip.path, clip.row)
    if clip.precomputed:
        return spectrograms.npy_levels(
            clip.path, num_bands=frontend.n_mels, range_db=frontend.dynamic_range_db
        )
    return front_end.levels(audio.load(clip.path, frontend.sample_rate_hz), frontend)

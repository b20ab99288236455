"""One clip, whatever it comes as, to the levels that the store keeps."""

import numpy as np

from deepgenre import audio
from deepgenre import frontend as front_end
from deepgenre.datasets import spectrograms
from deepgenre.datasets.clip import Clip
from deepgenre.frontend import FrontEnd


def clip_levels(clip: Clip, frontend: FrontEnd) -> np.ndarray:
    """Returns uint8 levels (frames, n_mels) of the clip; raises UserError naming a bad file.

    Audio is decoded and goes through the front end; spectrograms (a row of an .npz, a .npy) are
    taken as they are, whatever front end made them.
    """
    if clip.row >= 0:
        return spectrograms.npz_levels(clip.path, clip.row)
    if clip.precomputed:
        return spectrograms.npy_levels(
            clip.path, num_bands=frontend.n_mels, range_db=frontend.dynamic_range_db
        )
    return front_end.levels(audio.load(clip.path, frontend.sample_rate_hz), frontend)

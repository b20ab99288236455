"""Chromaprint, the fingerprint of recordings that AcoustID looks up, by libchromaprint (optional).

Needs the package pyacoustid and the library libchromaprint. As `fpcalc` does by default, the first
two minutes are used, with the algorithm that AcoustID uses.
"""

from types import ModuleType

import numpy as np

from deepgenre.audio.acoustic_fingerprint import Matching
from deepgenre.errors import UserError

RATE_HZ = 11_025  # at which Chromaprint computes: other rates are resampled to it
ALGORITHM = 1  # CHROMAPRINT_ALGORITHM_TEST2, the default
MAX_SAMPLES = 120 * RATE_HZ
HOP_SECONDS = 1365 / RATE_HZ  # between frames, 0.124 s
# Bits that differ in re-encodings of 65 clips: at most 4.4 %; in unrelated clips at least 24 %.
MATCHING = Matching(min_overlap_frames=40, max_bit_errors=0.12)  # 40: 5 s
INSTALL = "pip install 'deepgenre[chromaprint]'"


def load_library(what: str = "--describe=chromaprint") -> ModuleType:
    """Returns the bindings; raises UserError, beginning with `what`, where something is missing."""
    try:
        import chromaprint  # of pyacoustid
    except ModuleNotFoundError as error:
        raise UserError(f"{what}: the package pyacoustid is not installed; {INSTALL}") from error
    except ImportError as error:
        raise UserError(
            f"{what}: the library libchromaprint is not installed; install it (Debian: apt install "
            "libchromaprint1; macOS: brew install chromaprint)"
        ) from error
    if not hasattr(chromaprint, "Fingerprinter"):  # another package of this name
        raise UserError(
            f"{what}: the installed package 'chromaprint' is not that of pyacoustid; remove it and "
            f"{INSTALL}"
        )
    return chromaprint


class Stream:
    """The fingerprint of a signal that arrives in blocks."""

    def __init__(self) -> None:
        """Starts a signal."""
        self._fingerprinter = load_library().Fingerprinter(ALGORITHM)
        self._fingerprinter.start(RATE_HZ, 1)
        self._num_samples = 0

    def add(self, block: np.ndarray) -> None:
        """Adds a block, float32 (samples,), at RATE_HZ."""
        block = block[: MAX_SAMPLES - self._num_samples]
        self._num_samples += block.size
        if block.size:
            pcm = np.rint(np.clip(block, -1, 1) * 32_767).astype(np.int16)
            self._fingerprinter.feed(pcm.tobytes())

    def values(self) -> str | None:
        """Returns the text that AcoustID takes; None below three seconds, which give no frame."""
        text = self._fingerprinter.finish().decode()
        return text if decode(text).size else None


def decode(text: str) -> np.ndarray:
    """Returns the frames of a fingerprint, uint32 (frames,), of its text."""
    frames, _ = load_library().decode_fingerprint(text.encode())
    return np.array(frames, np.uint32)

"""Test helper: what worker processes do, in the process of the test, where it can be observed."""

import numpy as np
import pytest

from deepgenre.audio import native_decoding
from deepgenre.isolated import calls


def decode_here(monkeypatch: pytest.MonkeyPatch, *, block_samples: int) -> None:
    """Decodes in this process, in blocks of a size."""
    monkeypatch.setattr(native_decoding, "BLOCK_SAMPLES", block_samples)
    out = np.zeros(block_samples, np.float32)
    monkeypatch.setattr(calls, "stream", lambda function, path, warn: function(path, warn, out))


def call_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls functions in this process."""
    monkeypatch.setattr(calls, "call", lambda function, path, *args: function(path, *args))

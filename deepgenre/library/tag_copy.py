"""Writes fields into a copy of an audio file, and verifies it; called in a worker process."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile

from deepgenre.audio import ffmpeg
from deepgenre.errors import UserError
from deepgenre.files import for_soundfile
from deepgenre.library import file_tags
from deepgenre.library.tag_fields import Values


def write(copy: Path, song: Path, fields: Mapping[str, Values]) -> None:
    """Writes fields into a copy of a song.

    Raises UserError where that fails, or the copy has other audio or differs in other tags.
    """
    file_tags.write(copy, fields)
    if file_tags.other_tags(copy, fields) != file_tags.other_tags(song, fields):
        raise UserError(f"{song}: other tags differ in the changed copy; file left unchanged")
    try:
        is_same = _audio_digest(copy) == _audio_digest(song)
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{song}: is not audio that can be verified; file left unchanged"
        ) from error
    if not is_same:
        raise UserError(f"{song}: audio differs in the changed copy; file left unchanged")


def _audio_digest(path: Path) -> str:
    """Returns a digest of the decoded audio: samples, sample rate and channels."""
    digest = hashlib.sha256()
    for samples, rate_hz in _decode(path):
        digest.update(f"{rate_hz} {samples.shape}".encode())
        digest.update(samples.tobytes())
    return digest.hexdigest()


def _decode(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (float32 (samples, channels), rate in Hz), in blocks."""
    try:
        sound = soundfile.SoundFile(for_soundfile(path))
    except soundfile.LibsndfileError:  # m4a
        yield from ffmpeg.decode(path)
        return
    with sound:
        for samples in sound.blocks(1 << 18, dtype="float32", always_2d=True):
            yield samples, sound.samplerate

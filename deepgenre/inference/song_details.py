"""What an index may hold of a song beside its embedding: descriptors, tag scores, fingerprints.

Arrays that are added to the index file where a song has any of these (`song_index`):

described           uint8 (songs,): which of NAMES were computed, bit i for NAMES[i]
tempo_bpm           float32 (songs,): beats per minute, NaN where unknown
loudness_lufs       float32 (songs,): LUFS, NaN where unknown
key                 int8 (songs,): position in KEYS, -1 where unknown
classes             uint8: names of the classes as JSON
scores              float32 (songs, classes): of the song, see `aggregation`; NaN where not computed
fingerprint_frames  int32 (songs,): number of frames of each acoustic fingerprint
fingerprints        uint32 (frames,): the frames of all songs, one after the other
chromaprint_frames  likewise, of Chromaprint; both only where a song has it
chromaprints
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from deepgenre.audio import chromaprint, describe
from deepgenre.audio.describe import Descriptor
from deepgenre.audio.key import NAMES as TONICS
from deepgenre.errors import look_up
from deepgenre.files import parse_json

# The order is that of the bits.
NAMES = ("tempo", "key", "loudness", "fingerprint", "tags", "chromaprint")
OF_AUDIO = tuple(describe.COLUMNS)  # 'tags' are the scores of the network
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)

# Reads an array of the index by name, type and shape, None for any length.
ReadArray = Callable[[str, type[np.generic], tuple[int | None, ...]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Details:
    """Descriptors of a song; None where one is unknown or was not computed."""

    computed: frozenset[str] = frozenset()  # of NAMES
    tempo_bpm: float | None = None
    key: str | None = None  # of KEYS
    loudness_lufs: float | None = None
    scores: np.ndarray | None = None  # float32 (classes,)
    fingerprint: np.ndarray | None = None  # uint32 (frames,), see `audio.acoustic_fingerprint`
    chromaprint: np.ndarray | None = None  # uint32 (frames,), see `audio.chromaprint`


NO_DETAILS = Details()


def check(names: Sequence[str]) -> None:
    """Raises UserError that names a detail which does not exist, or what it needs."""
    for name in names:
        look_up(dict.fromkeys(NAMES), name, "--describe")
    describe.check([name for name in names if name in OF_AUDIO])


def of_song(
    names: Iterable[str], descriptors: Mapping[str, Descriptor], scores: np.ndarray
) -> Details:
    """Returns the named details. descriptors: by column of `audio.describe`."""
    names = frozenset(names)
    tempo, loudness = descriptors.get("tempo_bpm"), descriptors.get("loudness_lufs")
    text, key = descriptors.get("acoustic_fingerprint"), descriptors.get("key")
    of_chromaprint = descriptors.get("chromaprint")
    return Details(
        names,
        tempo if isinstance(tempo, float) else None,
        str(key) if key else None,
        loudness if isinstance(loudness, float) else None,
        scores if "tags" in names else None,
        describe.decode_fingerprint(str(text)) if text else None,
        chromaprint.decode(str(of_chromaprint)) if of_chromaprint else None,
    )


def to_arrays(songs: Sequence[Details], classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the arrays that the module describes; none where no song has a detail."""
    if not any(song.computed for song in songs):
        return {}
    bits = [sum(1 << NAMES.index(name) for name in song.computed) for song in songs]
    scores = np.full((len(songs), len(classes)), np.nan, np.float32)
    for row, song in zip(scores, songs, strict=True):
        if song.scores is not None:
            row[:] = song.scores
    arrays = {
        "described": np.array(bits, np.uint8),
        "tempo_bpm": np.array([song.tempo_bpm for song in songs], np.float32),  # None: NaN
        "loudness_lufs": np.array([song.loudness_lufs for song in songs], np.float32),
        "key": np.array([KEYS.index(song.key) if song.key else -1 for song in songs], np.int8),
        "classes": np.frombuffer(json.dumps([*classes]).encode(), np.uint8),
        "scores": scores,
        **_joined("fingerprint", [song.fingerprint for song in songs]),
    }
    if any("chromaprint" in song.computed for song in songs):
        arrays |= _joined("chromaprint", [song.chromaprint for song in songs])
    return arrays


def _joined(name: str, prints: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """Returns the arrays of fingerprints, each uint32 (frames,)."""
    empty = np.zeros(0, np.uint32)
    frames = [empty if each is None else each for each in prints]
    return {
        f"{name}_frames": np.array([part.size for part in frames], np.int32),
        f"{name}s": np.concatenate([empty, *frames]),
    }


def _separate(read: ReadArray, name: str, num_songs: int) -> list[np.ndarray | None]:
    """Returns the fingerprint of each song; the inverse of `_joined`."""
    counts = read(f"{name}_frames", np.int32, (num_songs,)).astype(np.int64)
    frames = read(f"{name}s", np.uint32, (None,))
    if counts.min(initial=0) < 0 or counts.sum() != frames.size:
        raise ValueError(f"{name}s: have another number of frames than {name}_frames")
    ends = np.cumsum(counts).tolist()
    return [
        frames[end - count : end] if count else None
        for count, end in zip(counts.tolist(), ends, strict=True)
    ]


def from_arrays(read: ReadArray, num_songs: int) -> tuple[list[Details], tuple[str, ...]]:
    """Returns the details of each song, and the classes; raises ValueError where they are damaged.

    The inverse of `to_arrays`.
    """
    classes = parse_json(read("classes", np.uint8, (None,)).tobytes())
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("classes: is not a list of texts")
    described = read("described", np.uint8, (num_songs,))
    tempo, loudness = (
        read(name, np.float32, (num_songs,)) for name in ("tempo_bpm", "loudness_lufs")
    )
    keys = read("key", np.int8, (num_songs,))
    scores = read("scores", np.float32, (num_songs, len(classes)))
    _check_values(described, tempo, loudness, keys, scores)
    prints = _separate(read, "fingerprint", num_songs)
    chromaprints: list[np.ndarray | None] = [None] * num_songs
    if _has(described, "chromaprint").any():
        chromaprints = _separate(read, "chromaprint", num_songs)
    sets = {bits: _names_of(bits) for bits in np.unique(described).tolist()}
    rows = zip(
        described.tolist(), tempo.tolist(), keys.tolist(), loudness.tolist(), scores,
        prints, chromaprints, strict=True,
    )  # fmt: skip
    songs = [
        Details(
            sets[bits],
            _known(bpm),
            KEYS[key] if key >= 0 else None,
            _known(lufs),
            of_classes if "tags" in sets[bits] else None,
            *fingerprints,
        )
        for bits, bpm, key, lufs, of_classes, *fingerprints in rows
    ]
    return songs, tuple(classes)


def _check_values(
    described: np.ndarray,
    tempo: np.ndarray,
    loudness: np.ndarray,
    keys: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Raises ValueError that names an array whose values are impossible."""
    fits = {
        "described": described.max(initial=0) < 1 << len(NAMES),
        "tempo_bpm": not (np.isinf(tempo) | (tempo <= 0)).any(),
        "loudness_lufs": not np.isinf(loudness).any(),
        "key": keys.min(initial=0) >= -1 and keys.max(initial=0) < len(KEYS),
        "scores": np.isfinite(scores[_has(described, "tags")]).all(),
    }
    for name, is_possible in fits.items():
        if not is_possible:
            raise ValueError(f"{name}: values are out of range")


def _has(described: np.ndarray, name: str) -> np.ndarray:
    """Returns of which songs a detail was computed, bool (songs,)."""
    return (described >> NAMES.index(name)) & 1 == 1


def _names_of(bits: int) -> frozenset[str]:
    return frozenset(name for bit, name in enumerate(NAMES) if bits >> bit & 1)


def _known(value: float) -> float | None:
    return value if value == value else None  # NaN differs from itself

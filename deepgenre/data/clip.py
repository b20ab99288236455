"""The table of clips that every dataset reader returns. No audio is opened here."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording excerpt: its source and metadata, before decoding."""

    key: str  # unique within the dataset and stable between runs, e.g. 'blues.00029'
    path: Path  # an audio file, a .npy spectrogram, or an .npz that contains row `row`
    labels: tuple[str, ...]  # by name: one genre, or any number of tags
    group: str  # artist or recording: clips of one group belong in one part of a split
    split: str = ""  # part assigned by the dataset's author; '' where none is given
    row: int = -1  # row in an .npz; -1 where the file is one clip
    track: str = ""  # song that the clip is cut from; '' where each clip is a song of its own
    scale: str = ""  # of a spectrogram, where known: a name in `spectrogram_levels.SCALES`

    @property
    def precomputed(self) -> bool:
        """Whether the clip is a precomputed spectrogram, not audio."""
        return self.row >= 0 or self.path.suffix.lower() == ".npy"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named collection of clips, sorted by key."""

    name: str
    clips: tuple[Clip, ...]
    multi_label: bool  # False: each clip has exactly one label (genre); True: a set of tags
    failures: tuple[str, ...] = ()  # one line per folder that could not be read
    notes: tuple[str, ...] = ()  # one line on each kind of thing that was left out or adapted
    # Fields of the front end that precomputed spectrograms state, e.g. {'hop_length': 512}.
    frontend: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def precomputed(self) -> bool:
        """Whether the clips are precomputed spectrograms, not audio."""
        return any(clip.precomputed for clip in self.clips)

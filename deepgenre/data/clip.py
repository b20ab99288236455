"""What every dataset is read into: a table of clips. No audio is opened here."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording excerpt, with everything that is known of it before it is decoded."""

    key: str  # unique within the dataset and stable between runs, e.g. 'blues.00029'
    path: Path  # an audio file, a .npy spectrogram, or the .npz that holds row `row`
    labels: tuple[str, ...]  # by name; one name for a genre, any number for tags
    group: str  # artist or recording: clips of one group must not be split apart
    split: str = ""  # the part that the dataset's own author put it in; '' where none is given
    row: int = -1  # row in an .npz; -1 where the path alone is the clip

    @property
    def precomputed(self) -> bool:
        """Whether it is a spectrogram already, not audio."""
        return self.row >= 0 or self.path.suffix.lower() == ".npy"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named collection of clips, sorted by key."""

    name: str
    clips: tuple[Clip, ...]
    multi_label: bool  # False: each clip has exactly one label (genre); True: a set of tags

    @property
    def precomputed(self) -> bool:
        """Whether its clips are spectrograms already, not audio."""
        return any(clip.precomputed for clip in self.clips)

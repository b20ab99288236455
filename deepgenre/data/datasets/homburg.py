"""Homburg (Music Audio Benchmark Data Set): 1,886 excerpts of 10 s in nine genres, 1,463 artists.

Source: H. Homburg, I. Mierswa, B. Möller, K. Morik and M. Wurst, "A benchmark dataset for audio
classification and clustering", ISMIR 2005; from garageband.com.

Known faults: genres overlap and are unbalanced (47 to 504 excerpts). There is no split by the
authors; published scores are of ten folds (--config.folds=10), here with no artist in two folds.
"""

from pathlib import Path

from deepgenre.data.clip import Dataset
from deepgenre.data.datasets import class_folders
from deepgenre.data.datasets.source import Source

SOURCE = Source(
    "http://www-ai.cs.uni-dortmund.de/audio.html",
    "excerpts of what artists offered for free at garageband.com, for research",
    "alternative/*.mp3, blues/*.mp3 etc., from the zip of each genre",
)
COUNTS = {
    "alternative": 145, "blues": 120, "electronic": 113, "folkcountry": 222, "funksoulrnb": 47,
    "jazz": 319, "pop": 116, "raphiphop": 300, "rock": 504,
}  # fmt: skip


def read(data_dir: Path, *, multi_label: bool = False) -> Dataset:
    """Returns the clips, with key 'blues/Guitarboy-TWICE_A_DAY'; see `class_folders.read`."""
    classes = {genre: genre for genre in COUNTS}
    return class_folders.read(
        "homburg", [data_dir / "homburg", data_dir], classes, artist_of, SOURCE
    )


def artist_of(name: str) -> str:
    """Returns 'Guitarboy' of 'Guitarboy-TWICE_A_DAY'."""
    return name.partition("-")[0]

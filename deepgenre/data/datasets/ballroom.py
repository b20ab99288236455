"""Ballroom: 698 excerpts of about 30 s in eight styles of dance music.

Source: F. Gouyon et al., "An experimental comparison of audio tempo induction algorithms", IEEE
Transactions on Audio, Speech, and Language Processing 14(5), 2006; from ballroomdancers.com.

Known faults: 13 excerpts occur twice under different names, of which Albums-Latin_Jam-06 and -15
are two; tempo alone tells most styles. There is no split by the authors. Excerpts of one album
('Albums-Cafe_Paradiso-05') are one group, the others ('Media-105901') are groups of their own.
"""

from pathlib import Path

from deepgenre.data.clip import Dataset
from deepgenre.data.datasets import class_folders
from deepgenre.data.datasets.source import Source

SOURCE = Source(
    "http://mtg.upf.edu/ismir2004/contest/tempoContest/node5.html",
    "excerpts of commercial recordings, for research; annotations CC BY-NC-SA 4.0",
    "BallroomData/ChaChaCha/*.wav etc., as in data1.tar.gz",
    download="ballroom",
)
COUNTS = {
    "chachacha": 111, "jive": 60, "quickstep": 82, "rumba": 98, "samba": 86, "tango": 86,
    "viennesewaltz": 65, "waltz": 110,
}  # fmt: skip
CLASSES = {
    "ChaChaCha": "chachacha",
    "Jive": "jive",
    "Quickstep": "quickstep",
    "Rumba-American": "rumba",
    "Rumba-International": "rumba",
    "Rumba-Misc": "rumba",
    "Samba": "samba",
    "Tango": "tango",
    "VienneseWaltz": "viennesewaltz",
    "Waltz": "waltz",
}


def read(data_dir: Path, *, multi_label: bool = False) -> Dataset:
    """Returns the clips, with key 'Rumba-Misc/Media-105209'; see `class_folders.read`."""
    roots = [data_dir / "BallroomData", data_dir / "data1/BallroomData", data_dir]
    return class_folders.read("ballroom", roots, CLASSES, album_of, SOURCE)


def album_of(name: str) -> str:
    """Returns 'Albums-Cafe_Paradiso' of 'Albums-Cafe_Paradiso-05'; other names as they are."""
    return name.rpartition("-")[0] if name.startswith("Albums-") else name

"""What `deepgenre download` fetches: files, their published hashes and sizes, and where they go.

Each hash is as published by the source that stands beside it; sizes are for the check of disk space
only. Where no hash is published, the size that the server states, and the checksums inside an
archive, are what is verified.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Item:
    """A file, or the parts that make one up when joined, and the folder it belongs in."""

    urls: tuple[str, ...]
    known_hash: str = ""  # 'md5:...', 'sha1:...' or 'sha256:...', of the joined file
    num_bytes: int = 0  # of the joined file, about; 0: not known
    folder: str = ""  # below the data folder, to extract to or to put the file in
    extract: bool = True  # False: a table, put there as it is

    @property
    def name(self) -> str:
        """Returns the name of the joined file: 'mp3.zip' of 'mp3.zip.001' and so on."""
        last = self.urls[0].rpartition("/")[2]
        return last.removesuffix(".001") if len(self.urls) > 1 else last


@dataclasses.dataclass(frozen=True)
class Download:
    """What a name on the command line stands for."""

    dataset: str  # name in DATASETS
    items: tuple[Item, ...]
    hash_source: str  # who published the hashes
    config: str = ""  # for `prepare`; '': the dataset's name


_MTAT = "https://mirg.city.ac.uk/datasets/magnatagatune"
_FMA = "https://os.unil.cloud.switch.ch/fma"
_EMOTIFY = "http://www2.projects.science.uu.nl/memotion/emotifydata"
_MIB = 1 << 20


def _fma(size: str, sha1: str, num_mib: int) -> Download:
    return Download(
        "fma",
        (
            Item(
                (f"{_FMA}/fma_metadata.zip",),
                "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
                342 * _MIB,
            ),
            Item((f"{_FMA}/fma_{size}.zip",), f"sha1:{sha1}", num_mib * _MIB),
        ),
        "the README of github.com/mdeff/fma",
        config=f"collection:fma,{size}",
    )


DOWNLOADS: Mapping[str, Download] = {
    "mtat": Download(
        "mtat",
        (
            Item(
                (f"{_MTAT}/annotations_final.csv",),
                "md5:f04fa01752a8cc64f6e1ca142a0fef1d",
                extract=False,
            ),
            Item((f"{_MTAT}/clip_info_final.csv",), extract=False),
            Item(
                tuple(f"{_MTAT}/mp3.zip.00{part}" for part in (1, 2, 3)),
                "md5:f12add0eb4cd6c2a3ab7e4afaf7b7467",
                2900 * _MIB,
                folder="mp3",
            ),
        ),
        "code on GitHub that loads the dataset, not its authors; of clip_info_final.csv nobody",
    ),
    "gtzan": Download(
        "gtzan",
        (
            Item(
                ("https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz",),
                "sha256:b28cc067ff6199bd826f5d1a6931458586d64acae7f44b2e882b7a97af057531",
                1170 * _MIB,
            ),
        ),
        "Hugging Face, of this mirror; the original archive, offline, had another",
    ),
    "fma_small": _fma("small", "ade154f733639d52e35e32f5593efe5be76c6d70", 7373),
    "fma_medium": _fma("medium", "c67b69ea232021025fca9231fc1c7c1a063ab50b", 22_528),
    "fma_large": _fma("large", "497109f4dd721066b5ce5e5f250ec604dc78939e", 95_232),
    "fma_full": _fma("full", "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab", 900_096),
    "ballroom": Download(
        "ballroom",
        (
            Item(
                ("https://mtg.upf.edu/ismir2004/contest/tempoContest/data1.tar.gz",),
                "md5:2872a3e52070bc342a4510a95e2fa0b8",
                1387 * _MIB,
            ),
        ),
        "github.com/CPJKU/BallroomAnnotations",
        config="collection:ballroom",
    ),
    "emotify": Download(
        "emotify",
        (
            Item((f"{_EMOTIFY}/data.csv",), extract=False),
            Item((f"{_EMOTIFY}/emotifymusic.zip",), num_bytes=363 * _MIB),
        ),
        "nobody",
        config="collection:emotify",
    ),
}

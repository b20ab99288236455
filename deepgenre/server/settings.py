"""What a server serves, and its limits."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepgenre.library.policies import Tagging

MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client can ask for, at most."""

    upload_bytes: int = 200 * MEBIBYTE
    upload_seconds: float = 120.0  # in which an upload must have arrived
    concurrent_uploads: int = 8
    song_seconds: float = 3600.0
    job_seconds: float = 120.0  # of the worker, for one request
    waiting_jobs: int = 64
    uploads: int = 200  # kept at the same time; the one that was used least recently is removed
    uploads_bytes: int = 4096 * MEBIBYTE  # likewise
    json_bytes: int = MEBIBYTE


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options of a server; `cli.flags` describes each."""

    weights: Mapping[str, Sequence[str]]  # sources by name; several sources form an ensemble
    library: Sequence[str] = ()  # files, folders, globs or lists
    index: Path | None = None
    predictions: Path | None = None  # tags of the library's songs (.jsonl)
    examples: Sequence[str] = ()  # songs of the user's own genres
    output: Path | None = None  # folder of the journal
    write: bool = False  # whether the page may write tags into files of the library
    tagging: Tagging = dataclasses.field(default_factory=Tagging)
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""  # '': none on this machine's own addresses, else a random one
    limits: Limits = dataclasses.field(default_factory=Limits)

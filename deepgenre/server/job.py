"""What the server asks of the worker process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

LASTING = ("change_tags", "take_back")  # not cancelled where the client closes the connection


class Job(NamedTuple):
    """What the worker is to do for a request."""

    kind: str  # of JOBS
    path: Path
    weights: str
    options: Mapping[str, Any] = {}

"""The ledger of a workdir: how often a test part was consulted, and by which weights.

A score on a test part is unbiased for weights that were chosen without it. Whoever evaluates many
weights on it and keeps the best has selected on the test part; the ledger makes that visible, in
`<workdir>/consultations.jsonl`. Mode `audit` reads it.
"""

import dataclasses
import datetime
from pathlib import Path

from deepgenre import log
from deepgenre.data.settings import DataSettings
from deepgenre.files import append_line
from deepgenre.sealed_lines import sealed, unsealed

LEDGER = "consultations.jsonl"


@dataclasses.dataclass(frozen=True)
class Consultation:
    """One evaluation of a part that is not for training or selection."""

    time: str  # ISO 8601, UTC
    part: str
    weights: str  # `scores_digest`
    data: str  # `data_name`


def record(workdir: Path, part: str, weights: str, data: str) -> None:
    """Appends a line to the ledger. Where it cannot be written, a warning says so."""
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = Consultation(time, part, weights, data)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        append_line(workdir / LEDGER, sealed(dataclasses.asdict(entry)).encode())
    except OSError as error:
        log.warning(
            "%s: the evaluation of part %s was not recorded (%s)",
            workdir / LEDGER,
            part,
            error.strerror,
        )


def consultations(workdir: Path) -> list[Consultation]:
    """Returns the ledger of a workdir, oldest first; [] without one. Damaged lines: a warning."""
    path = workdir / LEDGER
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            entries.append(Consultation(**unsealed(line)))
        except (ValueError, TypeError):
            log.warning("%s: line %d is damaged and not counted", path, number)
    return entries


def data_name(config: DataSettings) -> str:
    """Returns dataset, subset, split and seed of a config, e.g. 'gtzan fault_filtered 0'."""
    return " ".join(filter(None, (config.dataset, config.subset, config.split, str(config.seed))))

"""The ledger of a workdir: how often a test part was consulted, and by which weights.

A score on a test part is unbiased for weights that were chosen without it. Whoever evaluates many
weights on it and keeps the best has selected on the test part; the ledger makes that visible, in
`<workdir>/consultations.jsonl`. Mode `audit` reads it.
"""

import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.data.parts import test_rows
from deepgenre.data.store import Row
from deepgenre.weights.digest import scores_digest
from deepgenre.weights.spec import Weights, config_of

LEDGER = "consultations.jsonl"


@dataclasses.dataclass(frozen=True)
class Consultation:
    """One evaluation of a part that is not for training or selection."""

    time: str  # ISO 8601, UTC
    part: str
    weights: str  # digest of the weights
    data: str  # dataset, split and seed, e.g. 'gtzan fault_filtered 0'; '' where unknown


def record_consultation(workdir: Path, part: str, weights_fingerprint: str, data: str = "") -> None:
    """Appends a line to the ledger. Where it cannot be written, a warning says so."""
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = Consultation(time, part, weights_fingerprint, data)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with (workdir / LEDGER).open("ab") as stream:  # one write per line: processes do not mix
            stream.write(json.dumps(dataclasses.asdict(entry)).encode() + b"\n")
    except OSError as error:
        log.warning(
            "%s: the evaluation of part %s was not recorded (%s)",
            workdir / LEDGER,
            part,
            error.strerror,
        )


def record_if_test(
    workdir: Path, weights: Weights, rows: Sequence[Row], evaluated: Sequence[Row], part: str
) -> None:
    """Records an evaluation of `part`, if some of its clips are of the split's test part.

    rows: all clips of the dataset. part: as given by the user, '' for the default.
    """
    spec = weights.spec
    config = config_of(spec)
    test = {row.key for row in test_rows(config, rows, spec.classes, spec.multi_label)}
    if any(row.key in test for row in evaluated):
        record_consultation(workdir, part or "test", scores_digest(weights), data_name(config))


def consultations(workdir: Path) -> list[Consultation]:
    """Returns the ledger of a workdir, oldest first; [] without one. Damaged lines: a warning."""
    path = workdir / LEDGER
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            entries.append(Consultation(**json.loads(line)))
        except (ValueError, TypeError):
            log.warning("%s: line %d is damaged and not counted", path, number)
    return entries


def data_name(config: object) -> str:
    """Returns the dataset, split and seed of a config (its fields), as one string."""
    return " ".join(str(getattr(config, field, "")) for field in ("dataset", "split", "seed"))


def distinct_weights(entries: Sequence[Consultation], part: str) -> int:
    """Returns how many different weights were evaluated on a part."""
    return len({entry.weights for entry in entries if entry.part == part})

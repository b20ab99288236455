"""Mode `audit`: looks for what makes scores false, in a dataset, feature files or a run."""

import dataclasses
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepgenre import log
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data.clip import Clip
from deepgenre.data.datasets import dataset_kind
from deepgenre.data.parts import choose_classes, split_rows
from deepgenre.data.prepare import Prepared, prepare
from deepgenre.data.settings import DataSettings
from deepgenre.data.store import Records
from deepgenre.errors import UserError
from deepgenre.evaluation import ledger, near_duplicates
from deepgenre.evaluation.audit import nuisances
from deepgenre.evaluation.audit.checks import CHECKS
from deepgenre.evaluation.audit.feature_files import read_features
from deepgenre.evaluation.audit.subject import STATUSES, Finding, Subject
from deepgenre.files import write_json
from deepgenre.log import escape_controls

WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Data:
    """A dataset to audit, with the config that splits it, and the run that used it, if any."""

    config: DataSettings
    data_dir: Path
    workdir: Path | None = None


def run(files: Sequence[Path], data: Data | None, output: Path | None) -> int:
    """Prints the findings as tables, writes them as JSON; returns 0, also with warnings.

    Returns 1 where a feature file could not be read. Raises UserError where there is nothing to
    audit.
    """
    if not files and data is None:
        raise UserError(
            "audit: give feature files, --config and --data_dir of a dataset, or --workdir of a run"
        )
    failures, audits = [], {}
    for path in files:
        try:
            subject = read_features(path)
        except UserError as error:
            failures.append(str(error))
            continue
        audits[subject.name] = audit(subject)
    if data is not None:
        subject = dataset_subject(data)
        audits[subject.name] = audit(subject)
    for name, findings in audits.items():
        print("\n".join(table(name, findings)))
    if output:
        found = {name: [dataclasses.asdict(one) for one in audits[name]] for name in audits}
        write_json(output, found)
        log.info("wrote %s", output)
    for failure in failures:
        log.warning("%s", failure)
    return 1 if failures else 0


def audit(subject: Subject) -> list[Finding]:
    """Returns the finding of every check, worst first."""
    findings = [check(subject) for check in CHECKS]
    return sorted(findings, key=lambda finding: STATUSES.index(finding.status))


def table(name: str, findings: Sequence[Finding]) -> list[str]:
    """Returns the lines of a table: a finding per row."""
    first = max(len(finding.check) for finding in findings) + 2
    second = max(map(len, STATUSES)) + 2
    lines = [escape_controls(name)]
    for finding in findings:
        head = f"  {finding.check:<{first}}{finding.status:<{second}}"
        body = textwrap.wrap(escape_controls(finding.text), WIDTH - len(head))
        lines += [head + body[0], *(" " * len(head) + line for line in body[1:])]
    return lines


def dataset_subject(data: Data) -> Subject:
    """Returns the clips of a dataset, measured from its store, with the parts of its split."""
    prepared = prepare(data.config, data.data_dir)
    rows = prepared.rows
    bands, measured = _measure(prepared, _fitting(data.config, prepared))
    parts = _parts(data.config, prepared)
    return Subject(
        name=f"{prepared.dataset.name}, split {data.config.split}",
        keys=[row.key for row in rows],
        labels=[row.labels for row in rows],
        groups=[row.group for row in rows],
        parts=parts,
        bands=bands,
        nuisances=measured,
        consultations=_consultations(data),
    )


def _measure(
    prepared: Prepared, frontend: FrontEnd
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Returns the band levels of each clip, and each nuisance as an array (clips, n)."""
    rows, clips = prepared.rows, {clip.key: clip for clip in prepared.dataset.clips}
    records = Records(prepared.folder, rows, frontend.stored_dtype)
    bands, silence, bandwidth, coding = [], [], [], []
    for index in log.progress(range(len(rows)), total=len(rows), unit="clip", title="measure"):
        levels = records[index]
        own = near_duplicates.band_levels(levels, frontend)
        bands.append(own)
        silence.append(nuisances.silence(own, near_duplicates.STEP_SECONDS))
        in_decibels = frontend.kind in ("log_mel", "mfcc")
        bandwidth.append(nuisances.bandwidth(levels if in_decibels else own))
        coding.append(_coding(clips[rows[index].key], len(own) * near_duplicates.STEP_SECONDS))
    known = {"silence": np.array(silence), "bandwidth": np.array(bandwidth)}
    if all(values is not None for values in coding):
        known["coding"] = np.array(coding, np.float64)
    return bands, known


def _fitting(config: DataSettings, prepared: Prepared) -> FrontEnd:
    """Returns the front end, with the hop of precomputed spectrograms of a known length."""
    frontend, seconds = FrontEnd(**config.frontend), dataset_kind(config.dataset).clip_seconds
    if not prepared.dataset.precomputed or not seconds:
        return frontend
    frames = statistics.median_low(row.measured.frames for row in prepared.rows)
    hop_length = round(seconds * frontend.sample_rate_hz / max(frames - 0.5, 1))
    return dataclasses.replace(frontend, hop_length=hop_length)


def _coding(clip: Clip, seconds: float) -> list[float] | None:
    return None if clip.precomputed else nuisances.coding(clip.path, seconds)


def _parts(config: DataSettings, prepared: Prepared) -> dict[str, str]:
    multi_label = prepared.dataset.multi_label
    try:
        names = choose_classes(config, prepared.rows, multi_label)
        split = split_rows(config, prepared.rows, names, multi_label)
    except UserError as error:
        log.warning("no parts: %s", error)
        return {}
    return {row.key: part for part, own in split.items() for row in own}


def _consultations(data: Data) -> list[ledger.Consultation]:
    """Returns those of this data in the ledgers of the run and of the runs beside it."""
    if data.workdir is None:
        return []
    name = ledger.data_name(data.config)
    workdir = data.workdir.absolute()
    workdirs = sorted({workdir, *workdir.parent.glob("*/")})
    entries = [entry for workdir in workdirs for entry in ledger.consultations(workdir)]
    return [entry for entry in entries if entry.data == name]

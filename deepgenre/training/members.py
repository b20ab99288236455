"""Runs that belong together: the folds of a cross-validation, the runs of a sweep.

Each is a run of its own in a folder of the common workdir. The same command resumes one that was
interrupted and skips those that are finished, by their `results.json`. One runs after the other;
with several GPUs, one at a time on each.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from deepgenre import devices, log
from deepgenre.config import Config, check
from deepgenre.data.prepare import Prepared
from deepgenre.errors import InterruptedRunError, UserError
from deepgenre.files import parse_json, replacing, strict_json
from deepgenre.interrupt import STOPPED, stop_requests
from deepgenre.training import names, train, workers

NAME = "results.json"
# Fields that another store, or other clips in it, depend on.
DATA_FIELDS = ("dataset", "multi_label", "label_separator", "spectrogram_scale", "frontend",
               "store_dir")  # fmt: skip
Results = dict[str, Any]  # of `train.train`
Outcomes = dict[str, Results | UserError]  # by folder of the member
Report = Callable[[Outcomes], None]


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the runs."""

    folder: str  # below the common workdir
    config: Config


def check_all(members: Sequence[Member]) -> None:
    """Raises UserError naming a field of a config that is wrong."""
    for member in members:
        check(member.config)
        names.check(member.config)
        # On one device: asking how many there are would take them from the runs.
        devices.check_batch_size(member.config.batch_size, member.config.batch_shares, devices=1)


def run_all(
    members: Sequence[Member],
    data_dir: Path,
    workdir: Path,
    *,
    parts: Sequence[str] = train.PARTS,
    report: Report = lambda outcomes: None,
) -> Outcomes:
    """Runs what is not finished; returns the results, or the error, of each member in their order.

    An error of one does not stop the others. report: called with the outcomes so far after each.
    Raises UserError before any run where a config or the data are unsuitable, or another process
    uses the workdir, and InterruptedRunError after a stop request.
    """
    check_all(members)
    with train.sole_use(workdir), _stop_requests() as stop_requested:
        digests = _digests(members, data_dir)
        outcomes: Outcomes = {}
        for member in members:
            if found := _finished(workdir / member.folder, member.config, digests):
                outcomes[member.folder] = found
        if outcomes:
            log.info("%d of %d runs are finished", len(outcomes), len(members))
            report(outcomes)
        rest = [member for member in members if member.folder not in outcomes]
        gpus = devices.gpus_to_share() if len(rest) > 1 and digests else []
        if len(gpus) > 1:
            jobs = [workers.Job(one.folder, one.config, data_dir, workdir, parts) for one in rest]
            ended = workers.run(jobs, gpus, stop_requested)
        else:
            ended = _one_by_one(rest, data_dir, workdir, parts, stop_requested)
        configs = {member.folder: member.config for member in rest}
        with contextlib.closing(ended):  # with it, the processes end
            for folder, outcome in ended:
                outcomes[folder] = outcome
                if isinstance(outcome, UserError):
                    log.warning("%s failed: %s", folder, outcome)
                elif digests:
                    _write(workdir / folder, configs[folder], digests, outcome)
                report(outcomes)
        if len(outcomes) < len(members):
            raise _stopped(stop_requested(), len(outcomes), len(members))
        return {member.folder: outcomes[member.folder] for member in members}


def _one_by_one(
    members: Sequence[Member],
    data_dir: Path,
    workdir: Path,
    parts: Sequence[str],
    stop_requested: Callable[[], int],
) -> Generator[tuple[str, Results | UserError]]:
    """Yields (folder, results or error) of each run; ends early after a stop request."""
    for number, member in enumerate(members, 1):
        if stop_requested():
            return
        log.info("run %d of %d: %s", number, len(members), member.folder)
        try:
            results = train.train(member.config, data_dir, workdir / member.folder, parts=parts)
        except UserError as error:
            yield member.folder, error
        else:
            yield member.folder, results


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], int]]:
    """Yields the function of `stop_requests`; several processes leave signals to JAX."""
    if jax.distributed.is_initialized():
        yield lambda: 0
        return
    with stop_requests() as requested:
        yield requested


def _stopped(number: int, done: int, total: int) -> InterruptedRunError:
    code = 0 if number == signal.SIGTERM else STOPPED
    return InterruptedRunError(
        f"stopped with {done} of {total} runs finished; the same command continues", code
    )


def _digests(members: Sequence[Member], data_dir: Path) -> dict[str, str]:
    """Returns the digest of the prepared clips by `_data_of` a config, and prepares them.

    {} where several processes train together, whose file systems may differ: none is skipped.
    """
    if jax.distributed.is_initialized():
        return {}
    digests: dict[str, str] = {}
    for member in members:
        data = _data_of(member.config)
        if data not in digests:
            digests[data] = _digest(train.prepare_once(member.config, data_dir))
    return digests


def _data_of(config: Config) -> str:
    fields = config.to_dict()
    return json.dumps({name: fields[name] for name in DATA_FIELDS}, sort_keys=True)


def _digest(prepared: Prepared) -> str:
    lines = (
        repr(
            (row.key, row.labels, row.group, row.split, row.measured.frames, row.measured.level_sum)
        )
        for row in prepared.rows
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _identity(config: Config, digests: Mapping[str, str]) -> dict[str, Any]:
    """Returns what the results of a run follow from."""
    return {
        "config": json.loads(json.dumps(config.to_dict())),
        "data": digests[_data_of(config)],
    }


def _finished(folder: Path, config: Config, digests: Mapping[str, str]) -> Results | None:
    """Returns the results of a run that is finished; None where it is not, or was another one."""
    path = folder / NAME
    if not digests or not path.exists():
        return None
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
        identity = {name: record[name] for name in ("config", "data")}
        results = _undefined(record["results"])
        return results if identity == _identity(config, digests) else None
    except (ValueError, KeyError, TypeError):  # damaged: the run itself knows whether it is done
        return None


def _undefined(value: Any) -> Any:
    """Returns the value with NaN in place of null, which JSON has for undefined metrics."""
    if isinstance(value, dict):
        return {name: _undefined(entry) for name, entry in value.items()}
    return math.nan if value is None else value


def _write(folder: Path, config: Config, digests: Mapping[str, str], results: Results) -> None:
    record = {**_identity(config, digests), "results": results}
    with replacing(folder / NAME) as path:
        path.write_text(strict_json(record, indent=1) + "\n", encoding="utf-8")

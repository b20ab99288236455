"""Mode `doctor`: prints what was checked, and what to do where something is wrong."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.config import Config
from deepgenre.doctor import contents, machine
from deepgenre.doctor.finding import Finding, lines
from deepgenre.weights import loading


def run(
    sources: Sequence[str], workdir: Path | None, config: Config | None, data_dir: Path | None
) -> int:
    """Prints a line per check; returns 1 where a fault was found.

    sources: weights; where none are given, all that can be loaded by name. workdir: of a run.
    config, data_dir: of a dataset.
    """
    faults = 0
    for finding in _findings(sources, workdir, config, data_dir):
        faults += finding.state == "fault"
        for line in lines(finding):
            print(log.escape_controls(line), flush=True)
    print(f"{faults} faults" if faults != 1 else "1 fault")
    return int(faults > 0)


def _findings(
    sources: Sequence[str], workdir: Path | None, config: Config | None, data_dir: Path | None
) -> Iterator[Finding]:
    yield from machine.findings()
    for source in sources or sorted(loading.named_files()):
        yield contents.weights(source)
    if config is not None and data_dir is not None:
        yield from contents.data(config, data_dir)
    if workdir is not None:
        yield from contents.workdir(workdir)

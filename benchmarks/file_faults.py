"""Injects thousands of faults into writing and reading of each kind of file, unattended.

    python benchmarks/file_faults.py [--count=10000] [--seed=0] [--artefacts=store,...]
        [--output=file_faults.jsonl] [--seconds=0] [--table]

While a file is written, at a random system call: kill (SIGKILL, in the middle of a write where it
is one), worker (SIGKILL of the process that decodes or tags), full (a disk that gets full there:
ENOSPC after a part of the bytes). Afterwards: torn (the end is missing, or zeros from a random
page on, as after a power cut), flip (one bit). Then the files are read, the same writer runs
again, undisturbed, and they are read again. Outcomes:

    unharmed   all that is read is as without the fault
    recovered  it is so after the second run
    refused    a message of one line names the file; what can be read is as without the fault
    WRONG      anything else: another number or sample, a file left behind, a traceback, a hang

Fault number N has the seed "SEED-N", and a line in the output; a run that was stopped continues
where the output ends. --table prints the table of an output. Exits with 1 if any outcome is WRONG.
`faults.py` disturbs whole commands instead, a second or two per fault.
"""

import argparse
import collections
import contextlib
import dataclasses
import fnmatch
import gc
import json
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import faulty_calls

TIMEOUT_SECONDS = 120.0
NAP_SECONDS = 0.1
PAGE = 512  # bytes: zeros begin at a multiple of it
OUTCOMES = ("unharmed", "recovered", "refused", "WRONG")
FAULTS = {"kill": 6, "full": 5, "torn": 4, "flip": 4, "worker": 1}  # with their frequencies
CALLS = {"kill": faulty_calls.KILL, "full": faulty_calls.FULL, "worker": faulty_calls.WORKER}


class Armed(TypedDict):
    """The arguments of `faulty_calls.arm`."""

    kind: int
    at: int
    fraction: float


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a step: ok, refused (one line), traceback, killed or hang."""

    status: str
    text: str = ""  # of the error
    items: dict[str, Any] | None = None
    printed: str = ""


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="after which it stops; 0: none")
    parser.add_argument("--artefacts", default="")
    parser.add_argument("--only", type=int, default=-1, help="repeat this fault, and print it")
    parser.add_argument("--output", type=Path, default=Path("file_faults.jsonl"))
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    rows = read_rows(given.output)
    if given.table:
        print(table(rows))
        return int(any(row["outcome"] == "WRONG" for row in rows))
    if "FAULTY_CALLS" not in os.environ:
        run_preloaded()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    folder = Path(os.environ["FAULTY_CALLS"]).parent
    try:
        harness = Harness(folder, given.artefacts.split(",") if given.artefacts else [])
        if given.only >= 0:
            print(json.dumps(harness.inject(f"{given.seed}-{given.only}"), indent=1))
            return 0
        deadline = time.monotonic() + (given.seconds or float("inf"))
        done = {row["number"] for row in rows if row["base_seed"] == given.seed}
        for number in (n for n in range(given.count) if n not in done):
            if time.monotonic() > deadline:
                break
            row = harness.inject(f"{given.seed}-{number}")
            rows.append({"number": number, "base_seed": given.seed, **row})
            with given.output.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
            if row["outcome"] == "WRONG":
                print(json.dumps(rows[-1], indent=1), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(rows))
    return int(any(row["outcome"] == "WRONG" for row in rows))


def run_preloaded() -> None:
    """Runs this program again, in a new folder, with the library of faulty calls in its place."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where a sync takes no time
    variables = faulty_calls.environment(Path(tempfile.mkdtemp(prefix="faults-", dir=memory)))
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | variables)


def read_rows(output: Path) -> list[dict[str, Any]]:
    """Returns the faults of an output, without an incomplete last line."""
    lines = output.read_bytes().splitlines(keepends=True) if output.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


@dataclasses.dataclass(frozen=True)
class Made:
    """An artefact as it is without a fault, in folders before and after it was written."""

    before: Path
    after: Path
    items_before: dict[str, Any]
    items: dict[str, Any]
    num_calls: int  # system calls that change files


class Harness:
    """The artefacts without a fault, made in a folder, and the faults."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        """Makes the artefacts."""
        from file_faults_artefacts import ARTEFACTS

        self.artefacts = {name: ARTEFACTS[name] for name in names or ARTEFACTS}
        self.folder, self.run = folder, folder / "run"
        self.plan = faulty_calls.mapped()
        gc.collect()
        gc.freeze()
        self.made = {name: self.make(name) for name in self.artefacts}

    def make(self, name: str) -> Made:
        """Returns an artefact without a fault."""
        artefact, place = self.artefacts[name], self.folder / name.replace(" ", "-")
        self.run.mkdir()
        self.steps([artefact.begin])
        shutil.copytree(self.run, place / "before")
        started = self.steps([artefact.read, artefact.write, artefact.read], count=True)
        num_calls = self.plan.count
        again = self.steps([artefact.read, artefact.write, artefact.read])
        shutil.copytree(self.run, place / "after")
        shutil.rmtree(self.run)
        before, _, items = (report.items for report in started)
        if not items or [again[0].items, again[2].items] != [items, items]:
            raise RuntimeError(f"{name}: {[*started, *again]}")
        return Made(place / "before", place / "after", before or {}, items, num_calls)

    def inject(self, seed: str) -> dict[str, Any]:
        """Returns the fault of a seed and its outcome."""
        rng, started = random.Random(seed), time.monotonic()
        fault = rng.choices([*FAULTS], [*FAULTS.values()])[0]
        if fault == "worker":
            names = [name for name in self.artefacts if name.startswith(("tags", "undo"))]
        else:
            names = [*self.artefacts]
        name = (
            rng.choices(names, [self.artefacts[name].weight for name in names])[0] if names else ""
        )
        if not name:
            fault, name = "kill", rng.choice([*self.artefacts])
        judge = self.in_a_call if fault in CALLS else self.at_rest
        try:
            outcome, where, note = judge(name, fault, rng)
        finally:
            shutil.rmtree(self.run, ignore_errors=True)
        patterns = self.artefacts[name].files.items()
        file = next((f for f, p in patterns if fnmatch.fnmatch(where, p)), "folders and others")
        seconds = round(time.monotonic() - started, 3)
        row = {"artefact": name, "fault": fault, "file": file, "where": where}
        return {**row, "outcome": outcome, "note": note, "seconds": seconds}

    def in_a_call(self, name: str, fault: str, rng: random.Random) -> tuple[str, str, str]:
        """Returns outcome, call and note of a fault while files are written."""
        artefact, made = self.artefacts[name], self.made[name]
        shutil.copytree(made.before, self.run)
        isolated = fault == "worker" or rng.random() < 0.1
        at, fraction = rng.randint(1, made.num_calls), rng.random()
        armed: Armed = {"kind": CALLS[fault], "at": at, "fraction": fraction}
        (report,) = self.steps([artefact.write], armed=armed, isolated=isolated)
        where = self.plan.where.decode(errors="replace").replace(f"{self.run}/", "")
        first, again, last = self.steps([artefact.read, artefact.write, artefact.read])
        if not artefact.is_checked and report.status == "killed":  # a row may be incomplete
            first = Report("ok", items={})
        known = (made.items_before, made.items)
        note = f"call {at} of {made.num_calls}; {report.status} {report.text}"
        for each in (report, first, again, last):
            if each.status in ("traceback", "hang") or (
                each is not report and each.status == "killed"
            ):
                return "WRONG", where, f"{note}: {each.status}: {each.text}"
        if not is_part(first.items, *known):
            return (
                "WRONG",
                where,
                f"{note}: then other items: {difference(first.items, made.items)}",
            )
        is_silent = report.status == "ok" and not self.names_a_file(report.printed)
        if is_silent and fault == "full" and first.items != made.items:
            return (
                "WRONG",
                where,
                f"{note}: nothing was reported: {difference(first.items, made.items)}",
            )
        if report.status == "refused" and not self.names_a_file(report.text):
            return "WRONG", where, f"{note}: names no file"
        if again.status == "refused":
            good = is_part(last.items, *known) and self.names_a_file(again.text)
            return "refused" if good else "WRONG", where, f"{note}: {again.text}"
        if last.items != made.items:
            return "WRONG", where, f"{note}: not recovered: {difference(last.items, made.items)}"
        if left := self.left_behind():
            return "WRONG", where, f"{note}: left behind: {left}"
        return "unharmed" if first.items == made.items else "recovered", where, note

    def at_rest(self, name: str, fault: str, rng: random.Random) -> tuple[str, str, str]:
        """Returns outcome, file and note of damage to a file that was written."""
        artefact, made = self.artefacts[name], self.made[name]
        shutil.copytree(made.before if artefact.is_source else made.after, self.run)
        patterns = artefact.files.values()
        kinds = [
            [p for p in files_of(self.run) if fnmatch.fnmatch(str(p.relative_to(self.run)), one)]
            for one in patterns
        ]
        path = rng.choice(rng.choice([kind for kind in kinds if kind]))
        where = str(path.relative_to(self.run))
        note = damage(path, fault, rng)
        after = [artefact.write, artefact.read]
        if artefact.is_checked:
            first, again, last = self.steps([artefact.read, *after])
        else:
            again, last = self.steps(after)
            first = Report("ok", items={})
            if again.status == "refused":  # other programs read what they can
                last = again
        for each in (first, again, last):
            if each.status in ("traceback", "hang", "killed"):
                return "WRONG", where, f"{note}: {each.status}: {each.text}"
        expected, known = made.items, (made.items_before, made.items)
        if path.name.startswith("song."):  # what is left of its sound must stay
            if (first.items or {}).get("pcm") != (last.items or {}).get("pcm"):
                return "WRONG", where, f"{note}: the sound was changed"
            refused = again.status == "refused"
            return "refused" if refused else "recovered", where, f"{note}: {again.text}"
        told = [each.text for each in (first, again, last) if each.status == "refused"]
        told += [each.printed for each in (first, again, last) if each.printed]
        told = [text for text in told if self.names_a_file(text)]
        for each in (first, last):
            if each.status == "ok" and each.items != expected:
                is_missing = is_part(each.items, *known)  # what was cut off, or was refused
                if not is_missing or (each is last and not told):
                    return "WRONG", where, f"{note}: {difference(each.items, expected)} {told}"
        refusals = [each for each in (first, again, last) if each.status == "refused"]
        if any(not self.names_a_file(each.text) for each in refusals):
            return "WRONG", where, f"{note}: names no file: {refusals}"
        if last.status == "ok" and last.items == expected and again.status == "ok":
            is_same = first.items == expected or artefact.is_source or not artefact.is_checked
            return "unharmed" if is_same and not told else "recovered", where, f"{note}: {told[:1]}"
        return "refused", where, f"{note}: {told[:1]}"

    def names_a_file(self, text: str) -> bool:
        """Returns whether a text has one line, or several, that name a file of the run."""
        return f"{self.run}/" in text and "Traceback" not in text

    def left_behind(self) -> list[str]:
        """Returns the temporary files in the folder."""
        found = [path.name for path in self.run.rglob(".*")]
        return [n for n in found if n.endswith(".part") or n.startswith(".deepgenre-")]

    def steps(
        self,
        functions: list[Callable[[Path], Any]],
        *,
        armed: Armed | None = None,
        count: bool = False,
        isolated: bool = False,
    ) -> list[Report]:
        """Calls functions of the folder in a forked process; returns their reports."""
        result = self.folder / "reports"
        result.unlink(missing_ok=True)
        process_id = os.fork()
        if not process_id:
            self._child(functions, result, armed, count=count, isolated=isolated)
        left, found, status, last = TIMEOUT_SECONDS, 0, 0, time.monotonic()
        while not found and left > 0:
            found, status = os.waitpid(process_id, os.WNOHANG)
            if not found:
                time.sleep(0.001)
            now = time.monotonic()
            left, last = left - min(now - last, NAP_SECONDS), now  # less where both were stopped
        if not found:
            os.kill(process_id, signal.SIGKILL)
            os.waitpid(process_id, 0)
        faulty_calls.disarm(self.plan)
        reports = pickle.loads(result.read_bytes()) if result.exists() else []
        missing = "hang" if not found else "killed" if os.WIFSIGNALED(status) else "traceback"
        text = (self.folder / "printed").read_text(errors="replace")[-1500:]
        return reports + [Report(missing, text)] * (len(functions) - len(reports))

    def _child(
        self,
        functions: list[Callable[[Path], Any]],
        result: Path,
        armed: Armed | None,
        *,
        count: bool,
        isolated: bool,
    ) -> None:
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            printed = os.open(self.folder / "printed", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(printed, 1)
            os.dup2(printed, 2)
            if not isolated:
                from deepgenre.isolated import calls

                calls.call = lambda function, *args: function(*args)
            reports = []
            for function in functions:
                if armed:
                    faulty_calls.arm(self.plan, self.run, **armed)
                elif count and len(reports) == 1:
                    faulty_calls.arm(self.plan, self.run)
                start = os.lseek(printed, 0, os.SEEK_END)
                report = called(function, self.run)
                faulty_calls.disarm(self.plan)
                text = os.pread(printed, 4000, start).decode(errors="replace")
                reports.append(dataclasses.replace(report, printed=text))
            result.write_bytes(pickle.dumps(reports))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)


def called(function: Callable[[Path], Any], folder: Path) -> Report:
    """Returns the report of a call, of which a user would see what `main` prints."""
    from deepgenre.errors import UserError

    try:
        return Report("ok", items=function(folder))
    except UserError as error:
        return Report("refused", str(error))
    except OSError as error:
        if error.filename is None:
            return Report("traceback", traceback.format_exc()[-1500:])
        return Report("refused", f"{error.filename}: {error.strerror}")
    except BaseException:
        return Report("traceback", traceback.format_exc()[-1500:])


def files_of(folder: Path) -> list[Path]:
    """Returns the files that are not empty."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)


def damage(path: Path, fault: str, rng: random.Random) -> str:
    """Damages a file, whose times stay; returns a note."""
    status, content = path.stat(), bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    if fault == "flip":
        bit = rng.randrange(8)
        content[place] ^= 1 << bit
        note = f"bit {bit} of byte {place} of {len(content)}"
    elif rng.random() < 0.5:
        note = f"{place} of {len(content)} bytes are left"
        del content[place:]
    else:
        start = place // PAGE * PAGE
        end = rng.choice([len(content), min(start + PAGE, len(content))])
        content[start:end] = bytes(end - start)
        note = f"zeros from byte {start} to {end} of {len(content)}"
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return note


def is_part(items: dict[str, Any] | None, *known: dict[str, Any]) -> bool:
    """Returns whether each item is one of those known."""
    return all(
        any(name in each and each[name] == value for each in known)
        for name, value in (items or {}).items()
    )


def difference(items: dict[str, Any] | None, expected: dict[str, Any]) -> str:
    """Returns the items that are missing or others."""
    items = items or {}
    missing, more = sorted(expected.keys() - items.keys()), sorted(items.keys() - expected.keys())
    others = [
        f"{k}: {v!r:.200} not {expected[k]!r:.200}"
        for k, v in items.items()
        if k in expected and v != expected[k]
    ]
    return f"missing {missing[:3]}, more {more[:3]}, others {others[:2]}"


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the outcomes by kind of file and fault as a Markdown table."""
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    for row in rows:
        for key in ((row["file"], row["fault"]), ("all", row["fault"]), ("all", "all")):
            counts[key][row["outcome"]] += 1
    lines = [f"| file | fault | injected | {' | '.join(OUTCOMES)} |", "| --- " * 7 + "|"]
    for (file, fault), found in sorted(counts.items(), key=lambda one: (one[0][0] == "all", one)):
        cells = [found.total(), *(found[outcome] for outcome in OUTCOMES)]
        lines.append(f"| {file} | {fault} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ |= {"JAX_PLATFORMS": "cpu", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())

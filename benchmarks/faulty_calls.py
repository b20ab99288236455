"""Faults in system calls of a process: see `faulty_calls.c`, which a C compiler builds here."""

import ctypes
import mmap
import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
NONE, KILL, FULL, WORKER = range(4)


class Plan(ctypes.Structure):
    """Where a fault occurs; `struct plan` of `faulty_calls.c`."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("leader", ctypes.c_int),
        ("at", ctypes.c_int),
        ("count", ctypes.c_int),
        ("fraction", ctypes.c_double),
        ("folder", ctypes.c_char * 1024),
        ("where", ctypes.c_char * 1024),
    )


def environment(folder: Path) -> dict[str, str]:
    """Builds the library in a folder; returns the variables of a process whose calls can fail."""
    library, plan = folder / "faulty_calls.so", folder / "plan"
    command = ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    plan.write_bytes(bytes(ctypes.sizeof(Plan)))
    return {"LD_PRELOAD": str(library), "FAULTY_CALLS": str(plan)}


def mapped() -> Plan:
    """Returns the plan of this process, which it shares with those it starts."""
    with open(os.environ["FAULTY_CALLS"], "r+b") as stream:  # noqa: PTH123
        return Plan.from_buffer(mmap.mmap(stream.fileno(), 0))


def arm(plan: Plan, folder: Path, kind: int = NONE, at: int = 0, fraction: float = 0.0) -> None:
    """Sets the fault in the calls of this process, and those it starts, on files of a folder."""
    plan.kind, plan.at, plan.fraction = kind, at, fraction
    plan.leader, plan.count, plan.where = os.getpid(), 0, b""
    plan.folder = os.fsencode(folder)


def disarm(plan: Plan) -> None:
    """Calls are neither counted nor fail from now on."""
    plan.folder = b""

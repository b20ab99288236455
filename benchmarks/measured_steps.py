"""The rows of benchmarks that measure one step after the other."""

import resource
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def timed(step: str, run: Callable[[], T]) -> T:
    """Returns what `run` returns, and prints a row: seconds, peak memory of the process in MiB."""
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {step} | {seconds:.3f} | {peak_mb:.0f} |", flush=True)
    return result

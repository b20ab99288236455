"""Gives damaged files to every reader, and counts inputs and failures: unattended, for hours.

    python benchmarks/fuzz.py [--count=20000] [--seconds=600] [--readers=NAME,...] [--seed=0]
        [--output=FOLDER]

The readers are those of `tests/fuzz_test.py`, which accepts a result or one line. Each gets `count`
inputs, or as many as `seconds` allow. The bytes that made one fail are kept in the folder, with the
traceback beside them. Prints a table; exits with 1 if there was a failure.
"""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import fuzz_test  # noqa: E402  # pyright: ignore[reportMissingImports]
import pytest  # noqa: E402
from mutations import mutated  # noqa: E402  # pyright: ignore[reportMissingImports]


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--readers", default=",".join(fuzz_test.READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fuzz"))
    given = parser.parse_args()
    print("| reader | inputs | failures | ms per input |\n| --- | --- | --- | --- |")
    num_failures = 0
    for name in given.readers.split(","):
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            made = fuzz_test.make(name, folder)
        except (pytest.skip.Exception, ImportError) as reason:
            print(f"| {name} | 0 | {reason} | |")
            continue
        started, failures, count = time.monotonic(), 0, 0
        while count < given.count and time.monotonic() < started + given.seconds:
            content = mutated(made.contents[made.path], given.seed + count)
            count += 1
            try:
                made.check(content)
            except Exception:
                failures += 1
                given.output.mkdir(parents=True, exist_ok=True)
                kept = given.output / f"{name}-{given.seed + count - 1}"
                kept.with_name(kept.name + ".input").write_bytes(content)
                kept.with_name(kept.name + ".txt").write_text(traceback.format_exc())
        milliseconds = 1000 * (time.monotonic() - started) / max(count, 1)
        print(f"| {name} | {count} | {failures} | {milliseconds:.2f} |", flush=True)
        num_failures += failures
        shutil.rmtree(folder, ignore_errors=True)
    return int(num_failures > 0)


if __name__ == "__main__":
    sys.exit(main())

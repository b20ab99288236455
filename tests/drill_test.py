"""Long runs of the harnesses: `./launch.sh test -m drill`.

DEEPGENRE_FAULTS, DEEPGENRE_FILE_FAULTS and DEEPGENRE_FUZZ set the numbers of faults in whole
commands, of faults in single files, and of inputs per reader.
"""

import os
import shutil
import subprocess
import sys

import pytest
import tiny

pytestmark = pytest.mark.drill
NUM_FAULTS = os.environ.get("DEEPGENRE_FAULTS", "300")
NUM_FILE_FAULTS = os.environ.get("DEEPGENRE_FILE_FAULTS", "10000")
NUM_INPUTS = os.environ.get("DEEPGENRE_FUZZ", "20000")


def run(*command: str, **variables: str) -> None:
    environment = tiny.environment() | {"PYTHONPATH": str(tiny.ROOT)} | variables
    subprocess.run([sys.executable, *command], cwd=tiny.ROOT, env=environment, check=True)


def test_no_fault_gives_a_wrong_result(tmp_path):
    output = f"--output={tmp_path / 'faults.jsonl'}"
    run("benchmarks/faults.py", f"--count={NUM_FAULTS}", output)


def test_no_fault_in_a_file_gives_a_wrong_number_or_sample(tmp_path):
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    output = f"--output={tmp_path / 'file_faults.jsonl'}"
    run("benchmarks/file_faults.py", f"--count={NUM_FILE_FAULTS}", output)


def test_ten_thousand_bad_files_among_many_are_all_named(tmp_path):
    run("benchmarks/many_bad_files.py", f"--folder={tmp_path}", "--modes=predict")


def test_no_damaged_file_gives_a_traceback():
    run(
        "-m", "pytest", "tests/fuzz_test.py", "tests/data/shards_test.py", DEEPGENRE_FUZZ=NUM_INPUTS
    )

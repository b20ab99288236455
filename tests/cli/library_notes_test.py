"""What decoders print on standard error: only with --verbose, and without losing messages."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny

CHILD = """
import os, sys
from deepgenre import log, main
from deepgenre.inference import predict

def noisy(*values, **options):
    os.write(2, b"Warning: Xing stream size off\\n")  # as a C library does
    print("python message", file=sys.stderr)
    log.warning("our warning")
    raise {error}
    yield

predict.infer_files_of_each = noisy
sys.exit(main.main(main.parse_flags(sys.argv)))
"""


def run_child(trained: Path, song: Path, error: str, *flags: str) -> tuple[int, str]:
    process = subprocess.run(
        [sys.executable, "-c", CHILD.replace("{error}", error), "predict", f"--weights={trained}",
         *flags, str(song)],
        env=tiny.environment() | {"PYTHONPATH": str(tiny.ROOT)},
        text=True, capture_output=True, timeout=240, check=False,
    )  # fmt: skip
    return process.returncode, process.stderr


@pytest.mark.parametrize("verbose", [False, True])
def test_notes_are_printed_only_with_verbose(trained, tones, verbose):
    song = tones / "low" / "000.wav"
    flags = ["--verbose"] if verbose else []
    code, errors = run_child(trained, song, "main.UserError('the end')", *flags)
    assert code == 1
    assert ("Xing" in errors) == verbose
    for message in ("python message", "our warning", "deepgenre: the end"):
        assert message in errors


def test_notes_are_kept_for_an_unexpected_error(trained, tones):
    code, errors = run_child(trained, tones / "low" / "000.wav", "RuntimeError('a bug')")
    assert code == 1
    assert "Xing" in errors
    assert "RuntimeError: a bug" in errors

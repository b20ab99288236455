"""Processes on this machine that train together: `./launch.sh --processes=N train ...`."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from deepgenre import devices
from deepgenre.errors import UserError

NAP_SECONDS = 0.05
END_SECONDS = 30.0  # for the others to end when one has failed
PR_SET_PDEATHSIG = 1  # of Linux's prctl


def command(arguments: Sequence[str], port: int, count: int, index: int) -> list[str]:
    """Returns the command of one of `count` processes."""
    place = (
        f"--coordinator_address=127.0.0.1:{port}",
        f"--num_processes={count}",
        f"--process_id={index}",
    )
    return [sys.executable, "-m", "deepgenre.main", *arguments, *place]


def free_port() -> int:
    """Returns a port of this machine that no program uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> int:
    """Runs the commands at the same time; returns the first exit code that is not 0, else 0.

    Ctrl-C and SIGTERM ask all of them to save and stop, by SIGTERM; a second one kills them. When
    one fails, the others have `END_SECONDS` to end.
    """
    requests: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _: requests.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    both = zip(commands, environments, strict=True)
    running = {index: _start(one, variables) for index, (one, variables) in enumerate(both)}
    code, deadline, num_passed = 0, float("inf"), 0
    try:
        while running:
            for number in requests[num_passed:]:
                num_passed += 1
                code = code or (128 + number if number == signal.SIGINT else 0)
                for process in running.values():
                    process.terminate() if num_passed == 1 else process.kill()
            for index, process in [*running.items()]:
                if process.poll() is None:
                    continue
                del running[index]
                if process.returncode:
                    deadline = min(deadline, time.monotonic() + END_SECONDS)
                    code = code or _exit_code(process.returncode, index)
            if time.monotonic() > deadline:
                break
            time.sleep(NAP_SECONDS)
    finally:
        for process in running.values():
            process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
    return code


def _start(command: Sequence[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own: signals of the terminal reach it through this one.

    On Linux it is asked to stop when this process ends, even by SIGKILL.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return subprocess.Popen(
        command,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=libc and (lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)),
    )


def _exit_code(returncode: int, index: int) -> int:
    if returncode > 0:
        return returncode
    name = signal.Signals(-returncode).name
    print(f"deepgenre: process {index} was ended by {name}", file=sys.stderr)
    return 128 - returncode


def gpus_of_each(count: int) -> list[dict[str, str]]:
    """Returns the variables that give each of `count` processes its share of this machine's GPUs.

    Raises UserError where they cannot be divided.
    """
    gpus = devices.gpus_to_share()
    if len(gpus) % count:
        raise UserError(
            f"--processes: {len(gpus)} GPUs cannot be divided among {count} processes; name fewer "
            "in CUDA_VISIBLE_DEVICES"
        )
    each = len(gpus) // count
    shares = [gpus[index * each : (index + 1) * each] for index in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(share)} if share else {} for share in shares]


def main(arguments: Sequence[str]) -> int:
    """Runs `deepgenre ARGUMENTS` in N processes; the first argument is --processes=N."""
    text = arguments[0].partition("=")[2]
    try:
        if not text.isdecimal() or not int(text):
            raise UserError(f"--processes: must be a number, 1 or more, is {text!r}")
        count = int(text)
        environments = gpus_of_each(count)
    except UserError as error:
        print(f"deepgenre: {error}", file=sys.stderr)
        return 1
    port = free_port()
    commands = [command(arguments[1:], port, count, index) for index in range(count)]
    return run(commands, environments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

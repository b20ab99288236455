"""`python -m deepgenre.main`: the flags, the table of modes, nothing else."""

import errno
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from deepgenre import log
from deepgenre.config import Config
from deepgenre.errors import InterruptedRunError, UserError

SHIPPED = "gtzan"  # the weights that come with the program

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, e.g. configs/gtzan.py; override with --config.FIELD=VALUE."
)
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "prepare", "eval", "predict", "export", "demo"], "What to do."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the dataset, or an .npz of spectrograms; default data/<dataset>."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of one run: checkpoints, metrics, figures; default runs/<config>."
)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, f"A workdir, a file or a name; default --workdir, else {SHIPPED!r}."
)
_EVAL_SPLIT = flags.DEFINE_string(
    "eval_split", "", "Part to evaluate: train, valid, test or all; default test, else valid."
)
_FILES = flags.DEFINE_multi_string(
    "files", [], "What to hear: files, folders, globs, or a .txt list; may be repeated."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "File for predictions (.jsonl, .csv) or exported weights (.safetensors)."
)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "float16"], "How exported numbers are stored."
)
_COORDINATOR = flags.DEFINE_string("coordinator_address", None, "host:port of process 0.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", 1, "Processes that train together.")
_PROCESS_ID = flags.DEFINE_integer("process_id", 0, "Number of this process, from 0.")


# A mode takes the files on the command line and returns the exit code. Modules are imported by the
# mode that needs them: `--help` and a misspelt flag answer at once.


def _train(files: Sequence[str]) -> int:
    from deepgenre import train

    return train.run(_config(), _data_dir(_config()), _workdir())


def _prepare(files: Sequence[str]) -> int:
    from deepgenre import prepare

    return prepare.run(_config(), _data_dir(_config()))


def _eval(files: Sequence[str]) -> int:
    from deepgenre import evaluate, weights

    restored = weights.load(_weights())
    data_dir = _data_dir(ConfigDict(dict(restored.spec.config)))
    return evaluate.run(restored, data_dir, _EVAL_SPLIT.value, _workdir())


def _predict(files: Sequence[str]) -> int:
    from deepgenre import predict, weights

    return predict.run(weights.load(_weights()), files, _output())


def _export(files: Sequence[str]) -> int:
    from deepgenre import export

    return export.run(_weights(), _output(), _DTYPE.value)


def _demo(files: Sequence[str]) -> int:
    from deepgenre import demo

    return demo.run(_config(), _data_dir(_config()), _workdir())


MODES: Mapping[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "prepare": _prepare,
    "eval": _eval,
    "predict": _predict,
    "export": _export,
    "demo": _demo,
}


def _config() -> Config:
    if _CONFIG.value is None:
        raise UserError("--config: give a config file, e.g. --config=configs/gtzan.py")
    return _CONFIG.value


def _data_dir(config: Config) -> Path:
    return Path(_DATA_DIR.value or f"data/{config.dataset}")


def _workdir() -> Path:
    if _WORKDIR.value:
        return Path(_WORKDIR.value)
    named = config_flags.get_config_filename(flags.FLAGS["config"]) if _CONFIG.value else "default"
    return Path("runs") / Path(named).stem


def _weights() -> str:
    if _WEIGHTS.value or not (_WORKDIR.value or _CONFIG.value):
        return _WEIGHTS.value or SHIPPED
    return str(_workdir())


def _output() -> Path | None:
    return Path(_OUTPUT.value) if _OUTPUT.value else None


def main(argv: Sequence[str]) -> int:
    """Runs the mode; returns the exit code. A user's mistake is one line, without a traceback."""
    from deepgenre import devices

    log.quieten_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    files = [*_FILES.value, *argv[1:]]
    try:
        if files and _MODE.value != "predict":
            raise UserError(f"{files[0]!r}: only --mode=predict takes files; see --help")
        devices.set_up(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
        return MODES[_MODE.value](files)
    except InterruptedRunError as stop:
        return _fail(str(stop), code=130)
    except KeyboardInterrupt:
        return _fail("stopped", code=130)
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:  # who reads our output, `| head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:  # not about a user's file
            raise
        return _fail(f"{error.filename or 'a file of this run'}: {error.strerror}")


def _fail(message: str, code: int = 1) -> int:
    print(f"deepgenre: {message}", file=sys.stderr)
    return code


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        files = flags.FLAGS(argv)
        _check_config_file()
        return files
    except (UserError, flags.Error, AttributeError, TypeError, ValueError) as error:
        sys.exit(_fail(_one_line(error)))


def _check_config_file() -> None:
    """Raises UserError where there is none; ml_collections would say so at the first field."""
    if _CONFIG.value is not None:
        path, _, _ = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
        if not Path(path).is_file():
            raise UserError(f"--config: {path!r} is no file; give one, e.g. configs/gtzan.py")


def _one_line(error: Exception) -> str:
    """Returns the message; of ml_collections', which hold other errors and tracebacks, the core."""
    reason = error.args[0] if error.args else error
    if isinstance(reason, KeyError):
        return f"--config has no field {'; '.join(str(reason.args[0]).splitlines())}"
    lines = str(error).strip().split("\n")
    return lines[-1] if "Traceback" in str(error) else " ".join(lines)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)

"""`python -m deepgenre.main`: the flags, the table of modes, nothing else."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from deepgenre import log
from deepgenre.config import Config
from deepgenre.errors import InterruptedRunError, UserError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, e.g. configs/gtzan.py; override with --config.FIELD=VALUE."
)
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "prepare", "eval", "predict", "demo"], "What to do."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the dataset, or an .npz of spectrograms; default data/<dataset>."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of one run: checkpoints, metrics, figures; default runs/<config>."
)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "What eval and predict restore: a workdir or a checkpoint; default --workdir."
)
_EVAL_SPLIT = flags.DEFINE_string(
    "eval_split", "", "Part to evaluate: train, valid, test or all; default test, else valid."
)
_FILES = flags.DEFINE_multi_string(
    "files", [], "What to hear: files, folders, globs, or a .txt list; may be repeated."
)
_OUTPUT = flags.DEFINE_string("output", None, "File for predictions: .jsonl or .csv.")
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
    from deepgenre import checkpoint, evaluate

    restored = checkpoint.restore(_weights())
    data_dir = _data_dir(ConfigDict(dict(restored.spec.config)))
    return evaluate.run(restored, data_dir, _EVAL_SPLIT.value, _workdir())


def _predict(files: Sequence[str]) -> int:
    from deepgenre import checkpoint, predict

    output = Path(_OUTPUT.value) if _OUTPUT.value else None
    return predict.run(checkpoint.restore(_weights()), files, output)


def _demo(files: Sequence[str]) -> int:
    from deepgenre import demo

    return demo.run(_config(), _data_dir(_config()), _workdir())


MODES: Mapping[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "prepare": _prepare,
    "eval": _eval,
    "predict": _predict,
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


def _weights() -> Path:
    return Path(_WEIGHTS.value) if _WEIGHTS.value else _workdir()


def main(argv: Sequence[str]) -> int:
    """Runs the mode; returns the exit code. A user's mistake is one line, without a traceback."""
    from deepgenre import devices

    log.quieten_libraries()
    try:
        devices.set_up(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
        return MODES[_MODE.value]([*_FILES.value, *argv[1:]])
    except InterruptedRunError as stop:
        return _fail(str(stop), code=130)
    except KeyboardInterrupt:
        return _fail("stopped", code=130)
    except UserError as error:
        return _fail(str(error))
    except OSError as error:
        if error.filename is None or error.strerror is None:  # not about a user's file
            raise
        return _fail(f"{error.filename}: {error.strerror}")


def _fail(message: str, code: int = 1) -> int:
    print(f"deepgenre: {message}", file=sys.stderr)
    return code


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, TypeError, ValueError, OSError) as error:
        sys.exit(_fail(" ".join(str(error).split())))


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)

"""`python -m deepgenre.main`: the flags, the table of modes, nothing else."""

import errno
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from deepgenre import log
from deepgenre.errors import InterruptedRunError, UserError

if TYPE_CHECKING:
    from deepgenre.config import Config

HEARING = ("predict", "embed", "organize")  # modes that take files on the command line
SHIPPED = "gtzan"  # the weights that come with the program

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, e.g. configs/gtzan.py; override with --config.FIELD=VALUE."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    [
        "train",
        "prepare",
        "eval",
        "predict",
        "embed",
        "similar",
        "organize",
        "calibrate",
        "export",
        "import",
        "demo",
    ],
    "What to do.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the dataset, or an .npz of spectrograms; default data/<dataset>."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of one run: checkpoints, metrics, figures; default runs/<config>."
)
_WEIGHTS = flags.DEFINE_multi_string(
    "weights",
    [],
    f"A workdir, a file or a name; default --workdir, else {SHIPPED!r}. Repeated: their ensemble.",
)
_EVAL_SPLIT = flags.DEFINE_string(
    "eval_split", "", "Part to evaluate: train, valid, test or all; default test, else valid."
)
_FILES = flags.DEFINE_multi_string(
    "files", [], "What to hear: files, folders, globs, or a .txt list; may be repeated."
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "File for predictions (.jsonl, .csv, .parquet), similar songs (.jsonl, .csv), vectors (.npz), "
    "weights (.safetensors). Organize: folder.",
)
_RESUME = flags.DEFINE_bool(
    "resume", False, "Predict: go on with --output; hear what it lacks, what failed or changed."
)
_TAGGRAM = flags.DEFINE_string(
    "taggram", None, "Predict: folder for each song's scores over time, as .npz and .png."
)
_WINDOW_SECONDS = flags.DEFINE_float(
    "window_seconds", 0.0, "Predict: length of what the network hears at once; 0: as trained."
)
_HOP_SECONDS = flags.DEFINE_float(
    "hop_seconds", 0.0, "Predict: from one window to the next, at most; 0: as in evaluation."
)
_AGGREGATE = flags.DEFINE_enum(
    "aggregate", "mean", ["mean", "max", "attention"], "Predict: windows' scores to a song's."
)
_TOP_K = flags.DEFINE_integer(
    "top_k",
    None,
    "Predict, organize: tags a song, at most (5); files hold all scores. Similar: songs (10).",
)
_THRESHOLD = flags.DEFINE_float(
    "threshold", None, "Predict, organize: least score of a tag; default 0, to organize 0.5."
)
_UNKNOWN_BELOW = flags.DEFINE_float(
    "unknown_below", 0.0, "Predict: say 'unknown' where the best score is below this."
)
_CONSISTENT = flags.DEFINE_bool(
    "consistent", False, "Predict: of tags that contradict each other, give the stronger side only."
)
_QUERY = flags.DEFINE_multi_string(
    "query", [], "Similar: the songs to which others are to be found, as in --files."
)
_LIBRARY = flags.DEFINE_multi_string(
    "library", [], "Similar: the songs to look among, as in --files."
)
_INDEX = flags.DEFINE_string(
    "index", None, "Similar: the library's vectors (.npz), brought up to date; default data/index/."
)
_WRITE = flags.DEFINE_bool(
    "write", False, "Organize: write genre or tags into the files; else only say what would change."
)
_UNDO = flags.DEFINE_bool(
    "undo", False, "Organize: bring back what --write changed, by the journal in --output."
)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "float16"], "How exported numbers are stored."
)
_SOURCE = flags.DEFINE_string("source", "", "Whose published weights to import: musicnn.")
_WHEEL = flags.DEFINE_string("wheel", None, "The source's wheel, where it is not to be downloaded.")
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

    restored = weights.load(*_weights())
    data_dir = _data_dir(ConfigDict(dict(restored.spec.config)))
    return evaluate.run(restored, data_dir, _EVAL_SPLIT.value, _workdir())


def _predict(files: Sequence[str]) -> int:
    from deepgenre import predict, weights

    return predict.run(weights.load(*_weights()), files, _listening(threshold=0.0))


def _embed(files: Sequence[str]) -> int:
    from deepgenre import embed, weights

    return embed.run(weights.load(*_weights()), files, _output())


def _similar(files: Sequence[str]) -> int:
    from deepgenre import similar, weights

    options = similar.Options(
        library=_LIBRARY.value,
        index=Path(_INDEX.value) if _INDEX.value else None,
        top_k=10 if _TOP_K.value is None else _TOP_K.value,
        output=_output(),
    )
    return similar.run(weights.load(*_weights()), _QUERY.value, options)


def _organize(files: Sequence[str]) -> int:
    from deepgenre import organize, weights

    if _UNDO.value:
        return organize.undo(_output())
    options = _listening(threshold=organize.SURE)
    return organize.run(weights.load(*_weights()), files, options, write=_WRITE.value)


def _listening(*, threshold: float) -> Any:
    """Returns `predict.Options` of what the flags ask; `threshold`: where none is given."""
    from deepgenre import predict

    return predict.Options(
        output=_output(),
        resume=_RESUME.value,
        taggram=Path(_TAGGRAM.value) if _TAGGRAM.value else None,
        window_seconds=_WINDOW_SECONDS.value,
        hop_seconds=_HOP_SECONDS.value,
        aggregation=_AGGREGATE.value,
        choice=predict.Choice(
            5 if _TOP_K.value is None else _TOP_K.value,
            threshold if _THRESHOLD.value is None else _THRESHOLD.value,
            _UNKNOWN_BELOW.value,
            _CONSISTENT.value,
        ),
    )


def _calibrate(files: Sequence[str]) -> int:
    from deepgenre import calibrate, weights

    restored = weights.load(*_weights())
    data_dir = _data_dir(ConfigDict(dict(restored.spec.config)))
    return calibrate.run(restored, data_dir, _output(), _DTYPE.value)


def _export(files: Sequence[str]) -> int:
    from deepgenre import export, weights

    return export.run(weights.load(*_weights()), _output(), _DTYPE.value)


def _import(files: Sequence[str]) -> int:
    from deepgenre import import_weights

    return import_weights.run(_SOURCE.value, Path(_WHEEL.value) if _WHEEL.value else None)


def _demo(files: Sequence[str]) -> int:
    from deepgenre import demo

    return demo.run(_config(), _data_dir(_config()), _workdir())


MODES: Mapping[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "prepare": _prepare,
    "eval": _eval,
    "predict": _predict,
    "embed": _embed,
    "similar": _similar,
    "organize": _organize,
    "calibrate": _calibrate,
    "export": _export,
    "import": _import,
    "demo": _demo,
}


def _config() -> "Config":
    if _CONFIG.value is None:
        raise UserError("--config: give a config file, e.g. --config=configs/gtzan.py")
    return _CONFIG.value


def _data_dir(config: "Config") -> Path:
    return Path(_DATA_DIR.value or f"data/{config.dataset}")


def _workdir() -> Path:
    if _WORKDIR.value:
        return Path(_WORKDIR.value)
    named = config_flags.get_config_filename(flags.FLAGS["config"]) if _CONFIG.value else "default"
    return Path("runs") / Path(named).stem


def _weights() -> Sequence[str]:
    if _WEIGHTS.value or not (_WORKDIR.value or _CONFIG.value):
        return _WEIGHTS.value or [SHIPPED]
    return [str(_workdir())]


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
        if files and _MODE.value not in HEARING:
            raise UserError(
                f"{files[0]!r}: --mode={_MODE.value} takes no files, only {', '.join(HEARING)} do; "
                "see --help"
            )
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

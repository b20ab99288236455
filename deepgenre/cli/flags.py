"""The flags of `python -m deepgenre.main`, and what they ask for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags

from deepgenre.errors import UserError

if TYPE_CHECKING:
    from deepgenre.config import Config
    from deepgenre.inference.predict import Options

SHIPPED = "gtzan"  # the weights that come with the program

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, e.g. configs/gtzan.py; override with --config.FIELD=VALUE."
)
MODE = flags.DEFINE_enum(
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
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the dataset, or an .npz of spectrograms; default data/<dataset>."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of one run: checkpoints, metrics, figures; default runs/<config>."
)
WEIGHTS = flags.DEFINE_multi_string(
    "weights",
    [],
    f"A workdir, a file or a name; default --workdir, else {SHIPPED!r}. Repeated: their ensemble.",
)
EVAL_SPLIT = flags.DEFINE_string(
    "eval_split", "", "Part to evaluate: train, valid, test or all; default test, else valid."
)
FILES = flags.DEFINE_multi_string(
    "files", [], "What to hear: files, folders, globs, or a .txt list; may be repeated."
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "File for predictions (.jsonl, .csv, .parquet), similar songs (.jsonl, .csv), vectors (.npz), "
    "weights (.safetensors). Organize: folder.",
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Predict: go on with --output; hear what it lacks, what failed or changed."
)
TAGGRAM = flags.DEFINE_string(
    "taggram", None, "Predict: folder for each song's scores over time, as .npz and .png."
)
WINDOW_SECONDS = flags.DEFINE_float(
    "window_seconds", 0.0, "Predict: length of what the network hears at once; 0: as trained."
)
HOP_SECONDS = flags.DEFINE_float(
    "hop_seconds", 0.0, "Predict: from one window to the next, at most; 0: as in evaluation."
)
AGGREGATE = flags.DEFINE_enum(
    "aggregate", "mean", ["mean", "max", "attention"], "Predict: windows' scores to a song's."
)
TOP_K = flags.DEFINE_integer(
    "top_k",
    None,
    "Predict, organize: tags a song, at most (5); files hold all scores. Similar: songs (10).",
)
THRESHOLD = flags.DEFINE_float(
    "threshold", None, "Predict, organize: least score of a tag; default 0, to organize 0.5."
)
UNKNOWN_BELOW = flags.DEFINE_float(
    "unknown_below", 0.0, "Predict: say 'unknown' where the best score is below this."
)
CONSISTENT = flags.DEFINE_bool(
    "consistent", False, "Predict: of tags that contradict each other, give the stronger side only."
)
QUERY = flags.DEFINE_multi_string(
    "query", [], "Similar: the songs to which others are to be found, as in --files."
)
LIBRARY = flags.DEFINE_multi_string(
    "library", [], "Similar: the songs to look among, as in --files."
)
INDEX = flags.DEFINE_string(
    "index", None, "Similar: the library's vectors (.npz), brought up to date; default data/index/."
)
WRITE = flags.DEFINE_bool(
    "write", False, "Organize: write genre or tags into the files; else only say what would change."
)
UNDO = flags.DEFINE_bool(
    "undo", False, "Organize: bring back what --write changed, by the journal in --output."
)
DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "float16"], "How exported numbers are stored."
)
SOURCE = flags.DEFINE_string("source", "", "Whose published weights to import: musicnn.")
WHEEL = flags.DEFINE_string("wheel", None, "The source's wheel, where it is not to be downloaded.")
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "host:port of process 0.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", 1, "Processes that train together.")
PROCESS_ID = flags.DEFINE_integer("process_id", 0, "Number of this process, from 0.")


def config() -> "Config":
    """Returns what --config says; raises UserError where it is not given."""
    if CONFIG.value is None:
        raise UserError("--config: give a config file, e.g. --config=configs/gtzan.py")
    return CONFIG.value


def data_dir(config: "Config") -> Path:
    """Returns where the dataset lies."""
    return Path(DATA_DIR.value or f"data/{config.dataset}")


def workdir() -> Path:
    """Returns the run's folder."""
    if WORKDIR.value:
        return Path(WORKDIR.value)
    named = config_flags.get_config_filename(flags.FLAGS["config"]) if CONFIG.value else "default"
    return Path("runs") / Path(named).stem


def weights() -> Sequence[str]:
    """Returns the sources of the weights to use, at least one."""
    if WEIGHTS.value or not (WORKDIR.value or CONFIG.value):
        return WEIGHTS.value or [SHIPPED]
    return [str(workdir())]


def output() -> Path | None:
    """Returns where results go, None where it is not said."""
    return Path(OUTPUT.value) if OUTPUT.value else None


def predict_options(*, threshold: float) -> "Options":
    """Returns `predict.Options` of what the flags ask; `threshold`: where none is given."""
    from deepgenre.inference import predict

    return predict.Options(
        output=output(),
        resume=RESUME.value,
        taggram=Path(TAGGRAM.value) if TAGGRAM.value else None,
        window_seconds=WINDOW_SECONDS.value,
        hop_seconds=HOP_SECONDS.value,
        aggregation=AGGREGATE.value,
        choice=predict.Choice(
            5 if TOP_K.value is None else TOP_K.value,
            threshold if THRESHOLD.value is None else THRESHOLD.value,
            UNKNOWN_BELOW.value,
            CONSISTENT.value,
        ),
    )


def check_config_file() -> None:
    """Raises UserError where there is none; ml_collections would say so at the first field."""
    if CONFIG.value is not None:
        path, _, _ = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
        if not Path(path).is_file():
            raise UserError(f"--config: {path!r} is no file; give one, e.g. configs/gtzan.py")


def one_line(error: Exception) -> str:
    """Returns the message; of ml_collections', which hold other errors and tracebacks, the core."""
    reason = error.args[0] if error.args else error
    if isinstance(reason, KeyError):
        return f"--config has no field {'; '.join(str(reason.args[0]).splitlines())}"
    lines = str(error).strip().split("\n")
    return lines[-1] if "Traceback" in str(error) else " ".join(lines)

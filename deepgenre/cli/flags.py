"""The flags of the command line, and what they specify."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import ConfigDict, config_flags

from deepgenre.errors import UserError

if TYPE_CHECKING:
    from deepgenre.config import Config
    from deepgenre.inference.predict import Options

SHIPPED = "gtzan"  # the weights that come with the program

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config by name (gtzan) or path (mine.py); --config.FIELD=VALUE overrides a field",
)
MODE = flags.DEFINE_string("mode", None, "The mode; may be given as the first argument instead")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the dataset, or an .npz of spectrograms; default data/DATASET"
)
EVAL_SPLIT = flags.DEFINE_string(
    "eval_split", "", "Part to evaluate: train, valid, test or all; default test, else valid"
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of a run: checkpoints, metrics, figures; default runs/CONFIG"
)
WEIGHTS = flags.DEFINE_multi_string(
    "weights",
    [],
    f"Workdir, .safetensors file or name; default --workdir, else {SHIPPED}. Repeated: an ensemble",
)
FILES = flags.DEFINE_multi_string(
    "files", [], "Audio files, folders, globs or lists (.txt, .m3u8), as the arguments; repeatable"
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "File to write: predictions (.jsonl, .csv, .parquet), similar songs (.jsonl, .csv, .m3u8), "
    "embeddings (.npz), weights (.safetensors). For organize: a folder",
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Continue --output: process only files that it lacks, that failed or changed"
)
DESCRIBE = flags.DEFINE_list(
    "describe", [], "Of each song also: tempo, key, loudness, fingerprint; separated by commas"
)
TAGGRAM = flags.DEFINE_string(
    "taggram", None, "Folder for each song's scores over time, as .npz and .png"
)
AGGREGATE = flags.DEFINE_enum(
    "aggregate",
    "mean",
    ["mean", "max", "attention"],
    "How scores of windows become those of a song: mean, max or attention",
)
WINDOW_SECONDS = flags.DEFINE_float(
    "window_seconds", 0.0, "Length of the network's input; 0: as trained"
)
HOP_SECONDS = flags.DEFINE_float(
    "hop_seconds", 0.0, "Largest step between windows; 0: as in evaluation"
)
TOP_K = flags.DEFINE_integer(
    "top_k", None, "At most this many tags per song (5), or similar songs (10)"
)
THRESHOLD = flags.DEFINE_float(
    "threshold", None, "Lowest score of a tag, 0 to 1; default 0, for organize 0.5"
)
UNKNOWN_BELOW = flags.DEFINE_float(
    "unknown_below", 0.0, "The only tag is 'unknown' where the best score is below this"
)
CONSISTENT = flags.DEFINE_bool(
    "consistent", False, "Of tags that contradict each other, keep the stronger side"
)
QUERY = flags.DEFINE_multi_string(
    "query", [], "Songs to find similar ones of, as the arguments; repeatable"
)
LIBRARY = flags.DEFINE_multi_string(
    "library", [], "Songs to index and search in: files, folders, globs or lists; repeatable"
)
INDEX = flags.DEFINE_string(
    "index", None, "Embeddings of songs (.npz); --library is added to it; default in data/index/"
)
PRUNE = flags.DEFINE_bool(
    "prune", False, "Remove from the index, or --output, the songs that are not among those given"
)
COPIES = flags.DEFINE_bool(
    "copies", False, "List copies of the query too: re-encodings, the same audio with other tags"
)
WRITE = flags.DEFINE_bool(
    "write", False, "Write genre or tags into the files; without it, print what would change"
)
UNDO = flags.DEFINE_bool(
    "undo", False, "Restore the files that --write changed, from the journal in --output"
)
DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "float16"], "Stored type of exported numbers"
)
SOURCE = flags.DEFINE_string("source", "", "Publisher of the weights to import: musicnn")
WHEEL = flags.DEFINE_string("wheel", None, "The source's wheel, instead of downloading it")
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "host:port of process 0")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", 1, "Number of processes that train together")
PROCESS_ID = flags.DEFINE_integer("process_id", 0, "Index of this process, from 0")
QUIET = flags.DEFINE_bool("quiet", False, "Print results, warnings and errors only")
COMMON = ("quiet", "mode")  # of all modes


def names() -> list[str]:
    """Returns the names of all flags that are defined here."""
    return [flag.name for flag in flags.FLAGS.get_flags_for_module(__name__)]


def config() -> "Config":
    """Returns the config of --config; raises UserError where it is not given."""
    if CONFIG.value is None:
        raise UserError("--config: give a config, e.g. --config=gtzan")
    if not isinstance(CONFIG.value, ConfigDict):
        raise UserError("--config: its get_config() must return the config of deepgenre.config")
    return CONFIG.value


def data_dir(config: "Config") -> Path:
    """Returns the folder, or file, of the dataset."""
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
    """Returns the path of --output, None where it is not given."""
    return Path(OUTPUT.value) if OUTPUT.value else None


def predict_options(*, threshold: float) -> "Options":
    """Returns the options of a prediction; `threshold` where none is given."""
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
        describe=DESCRIBE.value,
    )

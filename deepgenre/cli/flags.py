"""The flags of the command line; `values` turns them into what modes take."""

import os
from typing import Any

from absl import flags
from ml_collections import config_flags

SHIPPED = "gtzan"  # the weights that come with the program


def expand(path: str) -> str:
    """Returns the path with '~' expanded, which shells leave as it is after '='."""
    return os.path.expanduser(path)  # noqa: PTH111 (Path's fails for unknown users)


class _PathParser(flags.ArgumentParser[str]):
    """Expands '~'; refuses an empty value, such as that of a variable that is not set."""

    def parse(self, argument: str) -> str:
        if not argument.strip():
            raise ValueError("is empty; give a value, or leave the flag out")
        return expand(argument)

    def flag_type(self) -> str:
        return "string"


def _define_path(name: str, help_text: str) -> Any:
    return flags.DEFINE(_PathParser(), name, None, help_text)


def _define_paths(name: str, help_text: str) -> Any:
    """Defines a flag that may be repeated; its value is a list."""
    return flags.DEFINE_multi(_PathParser(), flags.ArgumentSerializer(), name, [], help_text)


# Where ml_collections looks for overrides. `arguments.parse` fills it before flags are parsed;
# sys.argv instead would be read now, with a traceback where its --flagfile does not exist.
ARGUMENTS: list[str] = []
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config by name (gtzan), path (mine.py) or of a run (runs/x/config.json); "
    "--config.FIELD=VALUE overrides a field",
    sys_argv=ARGUMENTS,
)
MODE = flags.DEFINE_string("mode", None, "The mode; may be given as the first argument instead")
DATA_DIR = _define_path(
    "data_dir", "Folder of the dataset, or an .npz of spectrograms; default data/DATASET"
)
EVAL_SPLIT = flags.DEFINE_string(
    "eval_split",
    "",
    "Part to evaluate: train, valid, test, held_out (of a fold) or all; default held_out, "
    "else test, else valid",
)
EXCLUDE_UNKNOWN = flags.DEFINE_bool(
    "exclude_unknown",
    None,
    "Leave out, and count, clips of classes that the weights do not know; default with --config",
)
NEAR_DUPLICATES = flags.DEFINE_bool(
    "near_duplicates",
    None,
    "Compare the audio of the clips with that of the training clips; default up to 2000 clips",
)
SWEEP = flags.DEFINE_multi_string(
    "sweep",
    [],
    "FIELD:VALUE,VALUE...: a run per value of a field of the config; repeated: a grid",
)
WORKDIR = _define_path(
    "workdir", "Folder of a run: checkpoints, metrics, figures; default runs/CONFIG"
)
WEIGHTS = _define_paths(
    "weights",
    f"Workdir, .safetensors file or name; default --workdir, else {SHIPPED}. Repeated: an "
    "ensemble. For predict and eval, several with commas in between: side by side",
)
FILES = _define_paths(
    "files",
    "Audio files, folders, globs, lists (.m3u8, .pls, .xspf, .txt) or - (a list from standard "
    "input), as the arguments; repeatable",
)
OUTPUT = _define_path(
    "output",
    "File to write: predictions (.jsonl, .csv, .parquet), similar songs (.jsonl, .csv, .m3u8), "
    "copies (.jsonl), embeddings (.npz; .parquet to share), weights (.safetensors; for other "
    "programs .onnx, .stablehlo, .mlir), page (.html; default in the workdir), findings of audit "
    "(.json). For eval, organize, watch, figures, explain, style, generate and filters: a folder",
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Continue --output: process only files that it lacks, that failed or changed"
)
DESCRIBE = flags.DEFINE_list(
    "describe",
    [],
    "Of each song also: tempo, key, loudness, fingerprint, chromaprint, for embed also tags; "
    "separated by commas",
)
TAGGRAM = _define_path("taggram", "Folder for each song's scores over time, as .npz and .png")
TARGET = flags.DEFINE_string(
    "target", "", "Class by name; default the best class of the song, or of the style"
)
METHOD = flags.DEFINE_string(
    "method",
    "",
    "gradient, smoothgrad, integrated_gradients, grad_cam, lrp, occlusion or shap; default "
    "integrated_gradients, for networks without convolutions occlusion",
)
START_SECONDS = flags.DEFINE_float(
    "start_seconds",
    None,
    "Start of the window or excerpt in the song; default for explain: where the score is highest",
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
    "top_k",
    None,
    "At most this many tags per song (5, in organize and watch 6), similar songs (10), or excerpts "
    "per channel (4)",
)
THRESHOLD = flags.DEFINE_float(
    "threshold",
    None,
    "Lowest score of a tag, 0 to 1; default 0, of genres other than the best 0.1; for organize and "
    "watch a threshold per tag, of genres 0.5",
)
UNKNOWN_BELOW = flags.DEFINE_float(
    "unknown_below", 0.0, "The only tag is 'unknown' where the best score is below this"
)
UNFAMILIAR_BELOW = flags.DEFINE_float(
    "unfamiliar_below",
    None,
    "The only tag is 'unknown' where fewer than this share of the training clips, 0 to 1, are less "
    "similar to other training clips than the song is; for weights that compare, as gtzan; default "
    "0, for weights of fewshot 0.05",
)
CONSISTENT = flags.DEFINE_bool(
    "consistent",
    None,
    "Of tags that contradict each other, keep the stronger side; default for tags in organize, "
    "watch",
)
MERGE_SYNONYMS = flags.DEFINE_bool(
    "merge_synonyms",
    None,
    "One tag for classes that mean the same (woman, female voice); default for tags in organize, "
    "watch",
)
EXAMPLES = _define_paths(
    "examples",
    "Labelled songs: a folder per class in one folder, a manifest (.csv, .tsv, .jsonl), or, "
    "repeated, a playlist or folder per class",
)
ASK = flags.DEFINE_integer(
    "ask", 0, "Ask for the classes of this many songs of --library, those that help most"
)
QUERY = _define_paths("query", "Songs to find similar ones of, as the arguments; repeatable")
LIBRARY = _define_paths(
    "library", "Songs to index and search in: files, folders, globs or lists; repeatable"
)
INDEX = _define_path(
    "index",
    "Embeddings of songs (.npz, or .parquet of others); --library is added to it; default in "
    "data/index/, for embed with an --output that ends in .parquet the same name with .npz",
)
PREDICTIONS = _define_path(
    "predictions", "Predictions of songs (.jsonl, of predict or organize), whose tags are shown"
)
PRUNE = flags.DEFINE_bool(
    "prune", False, "Remove from the index, or --output, the songs that are not among those given"
)
COPIES = flags.DEFINE_bool(
    "copies", False, "List copies of the query too: re-encodings, the same audio with other tags"
)
SIMILARITY = flags.DEFINE_list(
    "similarity",
    [],
    "Weights of what makes songs similar: embedding, tags, tempo, key, loudness, each with its "
    "weight, as embedding:1,tempo:0.5; default embedding:1",
)
EXPLAIN = _define_path(
    "explain", "Another song: show what it shares with the given one, and what not"
)
PATH_TO = _define_path(
    "path_to", "Another song: list --top_k songs from the given one to it, in small steps"
)
EXCLUDE = _define_paths(
    "exclude", "Songs to leave out: files, folders, lists, or patterns with *; repeatable"
)
ARTIST_GAP = flags.DEFINE_integer(
    "artist_gap", 0, "At least this many other songs between two of one artist, by the files' tags"
)
PATHS = flags.DEFINE_enum(
    "paths",
    "none",
    ["none", "names", "full"],
    "What a .parquet tells of the files: nothing, their names, or their whole paths",
)
WRITE = flags.DEFINE_bool(
    "write", False, "Write genre or tags into the files; without it, print what would change"
)
MOODS = flags.DEFINE_bool(
    "moods", False, "Also write moods into the field mood, by the imported weights 'moods'"
)
POLICY = flags.DEFINE_enum(
    "policy",
    None,
    ["fill", "add", "replace"],
    "Where the field has values: fill keeps them, add appends, replace replaces; default fill, for "
    "--field=tags replace",
)
FIELD = flags.DEFINE_enum(
    "field",
    None,
    ["genre", "grouping", "mood", "comment", "tags"],
    "Field to write: as players name them, tags is DEEPGENRE_TAGS; default genre, for weights of "
    "many tags: tags, of moods: mood",
)
MAPPING = _define_path(
    "mapping",
    "File of lines 'class = name to write', or JSON; an empty name drops the class. For eval: "
    "'label of the data = class'",
)
UNDO = flags.DEFINE_bool(
    "undo",
    False,
    "Restore the files that --write changed (all, or those given), from the journal in --output",
)
POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds", 5.0, "Time between two looks at the folders; large folders take longer"
)
SETTLE_SECONDS = flags.DEFINE_float(
    "settle_seconds", 10.0, "A new file is processed when its size and time are this long unchanged"
)
STYLE = _define_path("style", "Song whose textures are imposed")
CHECK = _define_path("check", "Weights that take no part and score the sound before and after")
SECONDS = flags.DEFINE_float(
    "seconds", 0.0, "Length of the excerpt; 0: the network's input, at least 10 s"
)
LAYER = flags.DEFINE_string("layer", "", "Convolution by name; default the last one")
CHANNELS = flags.DEFINE_list("channels", [], "Channels by number; default six exceptional ones")
STEPS = flags.DEFINE_integer("steps", 200, "Steps of gradient descent")
SEED = flags.DEFINE_integer("seed", 0, "Of noise and random disturbances")
DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "float16"], "Stored type of exported numbers"
)
SOURCE = flags.DEFINE_string(
    "source", "", "Published weights to import: musicnn, essentia_moods, choi or yamnet"
)
WHEEL = _define_path("wheel", "musicnn's wheel, instead of downloading it")
FOLDER = _define_path("folder", "Folder of your own copy of the source's files")
MIRROR = flags.DEFINE_string(
    "mirror", "", "Address of a folder that has the dataset's files, instead of the published ones"
)
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "host:port of process 0")
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    None,
    "Number of processes that train together; of Slurm and Open MPI found by itself",
)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Index of this process, from 0; likewise")
HEARTBEAT_SECONDS = flags.DEFINE_integer(
    "heartbeat_seconds", 60, "Silence after which another process counts as ended"
)
CLUSTER = flags.DEFINE_string(
    "cluster", "", "Scheduler of a running cluster of Dask that does the work: dask://HOST:PORT"
)
HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to serve at; others than this machine's own require a token, which is printed",
)
PORT = flags.DEFINE_integer("port", 8000, "Port to serve at; 0: any free one", 0, 65535)
TOKEN = flags.DEFINE_string("token", "", "Token that clients must know; default none, or random")
UPLOAD_MB = flags.DEFINE_integer("upload_mb", 200, "Largest upload in megabytes", 1)
SONG_MINUTES = flags.DEFINE_float("song_minutes", 60.0, "Longest song to analyse", 0.01)
JOB_SECONDS = flags.DEFINE_float("job_seconds", 120.0, "Longest analysis, which then ends", 1.0)
ENGINE = flags.DEFINE_enum(
    "engine",
    "jax",
    ["jax", "onnxruntime", "openvino", "openvino_bfloat16"],
    "What computes the network: jax, or another runtime from an exported graph (docs/export.md)",
)
SUMMARY = _define_path(
    "summary",
    "File to write (.json): counts, hours of audio, rate, failures by kind, results",
)
QUIET = flags.DEFINE_bool("quiet", False, "Print results, warnings and errors only")
VERBOSE = flags.DEFINE_bool(
    "verbose", False, "Also print the notes of decoders and other libraries"
)
COMMON = ("quiet", "verbose", "mode")  # of all modes


def names() -> list[str]:
    """Returns the names of all flags that are defined here."""
    return [flag.name for flag in flags.FLAGS.get_flags_for_module(__name__)]

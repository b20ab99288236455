"""The flags of the command line, and what they specify."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from deepgenre.cli import configs
from deepgenre.errors import UserError
from deepgenre.files import check_place

if TYPE_CHECKING:
    from deepgenre.config import Config
    from deepgenre.inference.predict import Options
    from deepgenre.inference.tags import Choice
    from deepgenre.library.policies import Tagging
    from deepgenre.synthesis import experiment

SHIPPED = "gtzan"  # the weights that come with the program
# Of files that --output names; other names may be folders, see `files.check_place`.
FILE_SUFFIXES = (".csv", ".jsonl", ".parquet", ".npz", ".safetensors", ".m3u8")
CONFIG_PATHS = ("store_dir", "init_from")  # fields of a config that are paths


def _expand(path: str) -> str:
    """Returns the path with '~' expanded, which shells leave as it is after '='."""
    return os.path.expanduser(path)  # noqa: PTH111 (Path's fails for unknown users)


class _PathParser(flags.ArgumentParser[str]):
    """Expands '~'; refuses an empty value, such as that of a variable that is not set."""

    def parse(self, argument: str) -> str:
        if not argument.strip():
            raise ValueError("is empty; give a value, or leave the flag out")
        return _expand(argument)

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
    "copies (.jsonl), embeddings (.npz), weights (.safetensors), page (.html; default in the "
    "workdir). For eval, organize, watch, figures and explain: a folder",
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Continue --output: process only files that it lacks, that failed or changed"
)
DESCRIBE = flags.DEFINE_list(
    "describe", [], "Of each song also: tempo, key, loudness, fingerprint; separated by commas"
)
TAGGRAM = _define_path("taggram", "Folder for each song's scores over time, as .npz and .png")
TARGET = flags.DEFINE_string(
    "target", "", "Class by name; default the best class of the song, or of the style"
)
METHOD = flags.DEFINE_string(
    "method",
    "",
    "gradient, smoothgrad, integrated_gradients, grad_cam, lrp, occlusion or shap; default "
    "integrated_gradients",
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
    0.0,
    "The only tag is 'unknown' where fewer than this share of the training clips, 0 to 1, are less "
    "similar to other training clips than the song is; for weights that compare, as gtzan",
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
QUERY = _define_paths("query", "Songs to find similar ones of, as the arguments; repeatable")
LIBRARY = _define_paths(
    "library", "Songs to index and search in: files, folders, globs or lists; repeatable"
)
INDEX = _define_path(
    "index", "Embeddings of songs (.npz); --library is added to it; default in data/index/"
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
    "many tags: tags",
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
SOURCE = flags.DEFINE_string("source", "", "Publisher of the weights to import: musicnn")
WHEEL = _define_path("wheel", "The source's wheel, instead of downloading it")
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "host:port of process 0")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", 1, "Number of processes that train together")
PROCESS_ID = flags.DEFINE_integer("process_id", 0, "Index of this process, from 0")
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


def config() -> "Config":
    """Returns the config of --config; raises UserError where it is not given."""
    from deepgenre.config import check_fields

    if CONFIG.value is None:
        raise UserError("--config: give a config, e.g. --config=gtzan")
    if not isinstance(CONFIG.value, ConfigDict):
        raise UserError("--config: its get_config() must return the config of deepgenre.config")
    check_fields(CONFIG.value)
    for field in CONFIG_PATHS:
        CONFIG.value[field] = _expand(str(CONFIG.value[field]))
    return CONFIG.value


def data_config() -> "Config | None":
    """Returns the config of the data to evaluate on; None where --config only names the run."""
    return config() if CONFIG.value is not None and (WEIGHTS.value or WORKDIR.value) else None


def data_dir(config: "Config") -> Path:
    """Returns the folder, or file, of the dataset."""
    return Path(DATA_DIR.value or f"data/{config.dataset}")


def workdir() -> Path:
    """Returns the run's folder."""
    if WORKDIR.value:
        return Path(WORKDIR.value)
    if not CONFIG.value:
        return Path("runs/default")
    named = config_flags.get_config_filename(flags.FLAGS["config"])
    return configs.run_of(named) or Path("runs") / Path(named).stem


def weights() -> Sequence[str]:
    """Returns the sources of the weights to use, at least one; several form an ensemble.

    Raises UserError where weights are to be used side by side.
    """
    if [*weights_side_by_side()] != [""]:
        raise UserError(
            "--weights: only predict and eval use several weights side by side; give one, or "
            "repeat --weights for an ensemble"
        )
    return weights_side_by_side()[""]


def weights_side_by_side() -> dict[str, list[str]]:
    """Returns the sources of the weights to use by name; several sources form an ensemble.

    Weights that are used alone have the name '', others that of their file or workdir. Raises
    UserError where weights are both repeated and side by side, or given twice.
    """
    if not WEIGHTS.value:
        return {"": [str(workdir()) if WORKDIR.value or CONFIG.value else SHIPPED]}
    given = [
        [value] if Path(value).exists() else [*map(_expand, value.split(","))]
        for value in WEIGHTS.value
    ]
    if all(len(sources) == 1 for sources in given):
        return {"": [source for (source,) in given]}
    if len(given) > 1:
        raise UserError(
            "--weights: give either one list with commas, whose weights are used side by side, or "
            "several --weights, which form an ensemble"
        )
    (sources,) = given
    names = [Path(source).name.removesuffix(".safetensors") for source in sources]
    names = names if len({*names}) == len(names) else sources
    if len({*names}) < len(names) or "" in names:
        raise UserError(
            f"--weights: {WEIGHTS.value[0]!r} names weights twice, or has an empty name"
        )
    return {name: [source] for name, source in zip(names, sources, strict=True)}


def output() -> Path | None:
    """Returns the path of --output, None where it is not given.

    Raises UserError where nothing can be written there.
    """
    if not OUTPUT.value:
        return None
    path = Path(OUTPUT.value)
    check_place(path, "--output", folder=False if path.suffix in FILE_SUFFIXES else None)
    return path


def summary() -> Path | None:
    """Returns the path of --summary, None where it is not given."""
    return Path(SUMMARY.value) if SUMMARY.value else None


def tagging() -> "Tagging":
    """Returns how tags are written into files."""
    from deepgenre.library.policies import Tagging

    mapping = Path(MAPPING.value) if MAPPING.value else None
    return Tagging(FIELD.value or "", POLICY.value or "", mapping)


def predict_options(default: "Choice") -> "Options":
    """Returns the options of a prediction; those of `default` where a flag is not given."""
    from deepgenre.inference import predict

    return predict.Options(
        output=output(),
        resume=RESUME.value,
        taggram=_taggram(),
        window_seconds=WINDOW_SECONDS.value,
        hop_seconds=HOP_SECONDS.value,
        aggregation=AGGREGATE.value,
        choice=_choice(default),
        describe=DESCRIBE.value,
        summary=summary(),
    )


def _taggram() -> Path | None:
    if TAGGRAM.value:
        check_place(Path(TAGGRAM.value), "--taggram", folder=True)
    return Path(TAGGRAM.value) if TAGGRAM.value else None


def channels() -> list[int]:
    """Returns the channels of --channels."""
    try:
        return [int(channel) for channel in CHANNELS.value]
    except ValueError as error:
        raise UserError(f"--channels: give numbers, e.g. 3,17 ({error})") from error


def experiment_options() -> "experiment.Options":
    """Returns the options of style transfer and generation."""
    from deepgenre.synthesis import experiment
    from deepgenre.weights import loading

    check = [CHECK.value] if CHECK.value else []
    return experiment.Options(
        output=output(),
        check=[experiment.Network("second", name, loading.load(name)) for name in check],
        target=TARGET.value,
        start_seconds=START_SECONDS.value or 0.0,
        seconds=SECONDS.value,
        steps=STEPS.value,
        seed=SEED.value,
    )


def _choice(default: "Choice") -> "Choice":
    """Returns the choice of tags; one --threshold is for all tags, also for runners-up."""
    is_chosen = TOP_K.value is not None or THRESHOLD.value is not None
    given = {
        "top_k": TOP_K.value,
        "threshold": THRESHOLD.value,
        "consistent": CONSISTENT.value,
        "merge_synonyms": MERGE_SYNONYMS.value,
        "tag_thresholds": None if THRESHOLD.value is None else {},
        "runner_up_threshold": 0.0 if is_chosen else None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    unknown = {
        "unknown_below": UNKNOWN_BELOW.value,
        "unfamiliar_below": UNFAMILIAR_BELOW.value,
    }
    return dataclasses.replace(default, **unknown, **changes)

"""What the flags of the command line specify: configs, weights, places, options of modes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags as absl_flags
from ml_collections import ConfigDict, config_flags

from deepgenre.cli import configs, flags
from deepgenre.cli.flags import expand
from deepgenre.errors import UserError
from deepgenre.files import check_place

if TYPE_CHECKING:
    from deepgenre.config import Config
    from deepgenre.inference.predict import Options
    from deepgenre.inference.tags import Choice
    from deepgenre.library.policies import Tagging
    from deepgenre.server.settings import Settings
    from deepgenre.synthesis import experiment
    from deepgenre.training.grid import Value
    from deepgenre.weights.spec import Weights

# Of files that --output names; other names may be folders, see `files.check_place`.
FILE_SUFFIXES = (".csv", ".jsonl", ".parquet", ".npz", ".safetensors", ".m3u8", ".onnx")
CONFIG_PATHS = ("store_dir", "init_from")  # fields of a config that are paths


def path_of(flag: absl_flags.FlagHolder) -> Path | None:
    """Returns the path that a flag gives; None where it is not given."""
    return Path(flag.value) if flag.value else None


def config() -> "Config":
    """Returns the config of --config; raises UserError where it is not given."""
    from deepgenre.config import check_fields

    if flags.CONFIG.value is None:
        raise UserError("--config: give a config, e.g. --config=gtzan")
    if not isinstance(flags.CONFIG.value, ConfigDict):
        raise UserError("--config: its get_config() must return the config of deepgenre.config")
    check_fields(flags.CONFIG.value)
    for field in CONFIG_PATHS:
        flags.CONFIG.value[field] = expand(str(flags.CONFIG.value[field]))
    return flags.CONFIG.value


def sweep(config: "Config") -> "dict[str, Sequence[Value]]":
    """Returns the values of each --sweep by field; {} without one."""
    from deepgenre.training import grid

    axes: dict[str, Sequence[Value]] = {}
    for text in flags.SWEEP.value:
        field, values = grid.parse(text, config)
        if field in axes:
            raise UserError(f"--sweep: {field} is given twice; list all its values in one --sweep")
        axes[field] = values
    return axes


def data_config() -> "Config | None":
    """Returns the config of the data to evaluate on; None where --config only names the run."""
    return (
        config()
        if flags.CONFIG.value is not None and (flags.WEIGHTS.value or flags.WORKDIR.value)
        else None
    )


def data_dir(config: "Config") -> Path:
    """Returns the folder, or file, of the dataset."""
    return Path(flags.DATA_DIR.value or f"data/{config.dataset}")


def workdir() -> Path:
    """Returns the run's folder."""
    if flags.WORKDIR.value:
        return Path(flags.WORKDIR.value)
    if not flags.CONFIG.value:
        return Path("runs/default")
    named = config_flags.get_config_filename(absl_flags.FLAGS["config"])
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


def load(sources: Sequence[str]) -> "Weights":
    """Returns weights for prediction, with the engine of --engine."""
    from deepgenre.weights import loading

    return dataclasses.replace(loading.load(*sources), engine=flags.ENGINE.value)


def moods() -> "Weights | None":
    """Returns the weights that --moods writes moods with."""
    return load_tagger(["moods"]) if flags.MOODS.value else None


def load_tagger(sources: Sequence[str]) -> "Weights":
    """Returns weights that have classes, likewise."""
    from deepgenre.weights import loading

    return dataclasses.replace(loading.load_tagger(*sources), engine=flags.ENGINE.value)


def cluster() -> str:
    """Returns the address of --cluster; raises UserError with an engine, which workers lack."""
    if flags.CLUSTER.value and flags.ENGINE.value != "jax":
        raise UserError("--engine: workers of a --cluster use jax; leave one of the two out")
    return flags.CLUSTER.value


def weights_side_by_side() -> dict[str, list[str]]:
    """Returns the sources of the weights to use by name; several sources form an ensemble.

    Weights that are used alone have the name '', others that of their file or workdir. Raises
    UserError where weights are both repeated and side by side, or given twice.
    """
    if not flags.WEIGHTS.value:
        return {
            "": [str(workdir()) if flags.WORKDIR.value or flags.CONFIG.value else flags.SHIPPED]
        }
    given = [
        [value] if Path(value).exists() else [*map(expand, value.split(","))]
        for value in flags.WEIGHTS.value
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
            f"--weights: {flags.WEIGHTS.value[0]!r} names weights twice, or has an empty name"
        )
    return {name: [source] for name, source in zip(names, sources, strict=True)}


def output() -> Path | None:
    """Returns the path of --output, None where it is not given.

    Raises UserError where nothing can be written there.
    """
    if not flags.OUTPUT.value:
        return None
    path = Path(flags.OUTPUT.value)
    check_place(path, "--output", folder=False if path.suffix in FILE_SUFFIXES else None)
    return path


def summary() -> Path | None:
    """Returns the path of --summary, None where it is not given."""
    return path_of(flags.SUMMARY)


def tagging() -> "Tagging":
    """Returns how tags are written into files."""
    from deepgenre.library.policies import Tagging

    mapping = path_of(flags.MAPPING)
    return Tagging(flags.FIELD.value or "", flags.POLICY.value or "", mapping)


def predict_options(default: "Choice") -> "Options":
    """Returns the options of a prediction; those of `default` where a flag is not given."""
    from deepgenre.inference import predict

    return predict.Options(
        output=output(),
        resume=flags.RESUME.value,
        taggram=_taggram(),
        window_seconds=flags.WINDOW_SECONDS.value,
        hop_seconds=flags.HOP_SECONDS.value,
        aggregation=flags.AGGREGATE.value,
        choice=_choice(default),
        describe=flags.DESCRIBE.value,
        summary=summary(),
    )


def _taggram() -> Path | None:
    if flags.TAGGRAM.value:
        check_place(Path(flags.TAGGRAM.value), "--taggram", folder=True)
    return path_of(flags.TAGGRAM)


def channels() -> list[int]:
    """Returns the channels of --channels."""
    try:
        return [int(channel) for channel in flags.CHANNELS.value]
    except ValueError as error:
        raise UserError(f"--channels: give numbers, e.g. 3,17 ({error})") from error


def experiment_options() -> "experiment.Options":
    """Returns the options of style transfer and generation."""
    from deepgenre.synthesis import experiment
    from deepgenre.weights import loading

    check = [flags.CHECK.value] if flags.CHECK.value else []
    return experiment.Options(
        output=output(),
        check=[experiment.Scorer("second", name, loading.load(name)) for name in check],
        target=flags.TARGET.value,
        start_seconds=flags.START_SECONDS.value or 0.0,
        seconds=flags.SECONDS.value,
        steps=flags.STEPS.value,
        seed=flags.SEED.value,
    )


def server_settings(files: Sequence[str]) -> "Settings":
    """Returns what a server serves; files: its library."""
    from deepgenre.server.settings import MEBIBYTE, Limits, Settings

    if any(character.isspace() or not character.isprintable() for character in flags.TOKEN.value):
        raise UserError("--token: must not contain spaces or control characters")
    limits = Limits(
        upload_bytes=flags.UPLOAD_MB.value * MEBIBYTE,
        song_seconds=flags.SONG_MINUTES.value * 60,
        job_seconds=flags.JOB_SECONDS.value,
    )
    return Settings(
        weights={name or sources[0]: sources for name, sources in weights_side_by_side().items()},
        library=files,
        index=path_of(flags.INDEX),
        predictions=path_of(flags.PREDICTIONS),
        examples=flags.EXAMPLES.value,
        output=output(),
        write=flags.WRITE.value,
        tagging=tagging(),
        host=flags.HOST.value,
        port=flags.PORT.value,
        token=flags.TOKEN.value,
        limits=limits,
    )


def _choice(default: "Choice") -> "Choice":
    """Returns the choice of tags; one --threshold is for all tags, also for runners-up."""
    is_chosen = flags.TOP_K.value is not None or flags.THRESHOLD.value is not None
    given = {
        "top_k": flags.TOP_K.value,
        "threshold": flags.THRESHOLD.value,
        "consistent": flags.CONSISTENT.value,
        "merge_synonyms": flags.MERGE_SYNONYMS.value,
        "tag_thresholds": None if flags.THRESHOLD.value is None else {},
        "runner_up_threshold": 0.0 if is_chosen else None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    unknown = {
        "unknown_below": flags.UNKNOWN_BELOW.value,
        "unfamiliar_below": flags.UNFAMILIAR_BELOW.value,
    }
    return dataclasses.replace(default, **unknown, **changes)

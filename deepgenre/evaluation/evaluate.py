"""Mode `eval`: evaluates weights, or several side by side, on one part of a dataset."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepgenre import log
from deepgenre.config import Config
from deepgenre.data.settings import DataSettings
from deepgenre.errors import UserError
from deepgenre.evaluation import evaluation_files
from deepgenre.evaluation.assess import Choose, assess
from deepgenre.evaluation.clips import Clips, other_clips, own_clips
from deepgenre.evaluation.metrics import Metrics
from deepgenre.files import expand_home, strict_json, write_json
from deepgenre.weights.spec import Weights, config_of

PLACE = Path("evaluations")  # of weights that are not a run's
NOT_SPREAD = ("clips", "tags_evaluated", "untagged_clips")  # what is evaluated, not how well
MAX_NAME = 100  # letters in the name of a folder


@dataclasses.dataclass(frozen=True)
class Options:
    """What to evaluate on, and where to write."""

    data_dir: Path
    part: str = ""  # '': held_out of a fold, else test, else valid
    config: Config | None = None  # reads and splits the data; None: the weights' own config
    mapping: Mapping[str, str] | None = None  # class by label of the data; with `config` only
    exclude_unknown: bool | None = None  # None: with `config` only
    output: Path | None = None
    workdir: Path | None = None  # where given: the folder of evaluations, else the weights' run
    near_duplicates: bool | None = None  # None: where the clips are few


def run(networks: Mapping[str, tuple[Weights, Sequence[str]]], options: Options) -> int:
    """Evaluates each of the weights and prints the metrics as JSON; returns exit code 0.

    networks: weights and their sources (several: an ensemble) by name; '' for weights alone.
    Several: prints mean and spread as well.
    """
    results, folders = {}, {}
    for name, (weights, sources) in networks.items():
        results[name], folders[name] = evaluate(weights, sources, options, name)
    if len(networks) == 1:
        (only,) = results.values()
        print(strict_json(only))
        return 0
    digests = {_clips_digest(folder) for folder in folders.values()}
    if len(digests) > 1:
        log.warning(
            "these weights were evaluated on different clips, as their own splits differ: the "
            "spread is also that of the clips; --config gives one split for all"
        )
    summary = {
        "spread": spread(list(results.values())),
        "same_clips": len(digests) == 1,
        "weights": results,
    }
    path = _summary_path(folders, options)
    write_json(path, summary)
    for name, one in summary["spread"].items():
        log.info(
            "  %s  %.4f +- %.4f  (n = %d)", name.ljust(24), one["mean"], one["spread"], one["n"]
        )
    log.info("wrote %s", path)
    print(strict_json(summary))
    return 0


def evaluate(
    weights: Weights, sources: Sequence[str], options: Options, name: str = ""
) -> tuple[Metrics, Path]:
    """Returns the metrics of weights, and the folder to which all files are written.

    sources: of the weights. name: '' for weights alone. Raises UserError where the data or the
    output are unsuitable.
    """
    clips = _clips(weights, options)
    results, folder = assess(
        weights,
        clips,
        _chooser(sources, clips, options, name),
        source=" + ".join(sources),
        workdir=place_of(sources, options.workdir),
        near_duplicates=options.near_duplicates,
    )
    log.info(
        "evaluated step %d on %s (%s, split %s, part %s); wrote %s",
        *(weights.step, log.counted(len(clips.rows), "clip")),
        *(clips.dataset, clips.split, clips.part),
        folder,
    )
    return results, folder


def _clips_digest(folder: Path) -> str:
    return evaluation_files.read_details(folder / "evaluation.json")["clips_digest"]


def spread(results: Sequence[Metrics]) -> dict[str, dict[str, float]]:
    """Returns, by metric, 'mean', 'spread' and 'n' over several seeds or checkpoints.

    spread: the standard deviation with n - 1. Values that are undefined are left out and counted
    by n.
    """
    names = [
        name
        for name in results[0]
        if name not in NOT_SPREAD and not name.endswith(("_chance", "_low", "_high"))
    ]
    summary = {}
    for name in names:
        values = [one[name] for one in results if name in one and math.isfinite(one[name])]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
            summary[name] = {
                "mean": statistics.fmean(values), "spread": deviation, "n": len(values)
            }  # fmt: skip
    return summary


def data_differences(config: DataSettings, weights: Weights) -> list[str]:
    """Returns 'field: own, not given' of data settings in which a config differs from the run's."""
    own = config_of(weights.spec)
    fields = ["dataset", "subset", "seed", "top_tags", "keep_untagged"]
    if config.split != "given_or_random":  # the run's config has the split that this was
        fields.append("split")
    return [
        f"{name}: {own[name]!r}, not {getattr(config, name)!r}"
        for name in fields
        if name in own and own[name] != getattr(config, name)
    ]


def _clips(weights: Weights, options: Options) -> Clips:
    if options.config is None:
        if options.mapping is not None:
            raise UserError("--mapping: is for other data; give their config with --config")
        exclude = bool(options.exclude_unknown)
        return own_clips(weights.spec, options.data_dir, options.part, exclude_unknown=exclude)
    return other_clips(
        weights.spec,
        options.config,
        options.data_dir,
        options.part,
        mapping=options.mapping,
        exclude_unknown=options.exclude_unknown is not False,
    )


def _chooser(sources: Sequence[str], clips: Clips, options: Options, name: str) -> Choose:
    """Returns the function that chooses the folder to write, without overwriting another."""
    if options.output:
        folder = options.output / name if name else options.output

        def given(evaluation: dict[str, Any]) -> Path:
            if folder.exists() and not folder.is_dir():
                raise UserError(f"--output: {folder} is a file; give a folder")
            if other := evaluation_files.holds_other(folder, evaluation):
                raise UserError(f"--output: {folder} holds another evaluation ({other})")
            return folder

        return given
    kind = "" if options.config is None else f"{clips.dataset}-"
    wanted = _place(sources, options, name) / f"eval-{kind}{clips.part}"

    def free(evaluation: dict[str, Any]) -> Path:
        folder = evaluation_files.free_folder(wanted, evaluation)
        if folder != wanted:
            log.info("%s holds another evaluation: writing to %s", wanted, folder)
        return folder

    return free


def _place(sources: Sequence[str], options: Options, name: str) -> Path:
    """Returns the folder of evaluations: in the workdir, by name or step of the weights."""
    workdir, path = place_of(sources, options.workdir), expand_home(sources[0])
    if options.workdir:
        return workdir / name
    return workdir / f"step-{path.name}" if workdir == path.parent.parent else workdir


def place_of(sources: Sequence[str], workdir: Path | None) -> Path:
    """Returns the workdir given, the run of the weights, or a folder of PLACE."""
    if workdir:
        return workdir
    path = expand_home(sources[0])
    if len(sources) == 1 and path.is_dir():
        is_checkpoint = path.name.isdigit() and (path / "_CHECKPOINT_METADATA").exists()
        return path.parent.parent if is_checkpoint else path
    names = "+".join(expand_home(one).name.removesuffix(".safetensors") for one in sources)
    return PLACE / names[:MAX_NAME]


def _summary_path(folders: Mapping[str, Path], options: Options) -> Path:
    """Returns the file of mean and spread: one that names all weights, or in the folder given."""
    part = next(iter(folders.values())).name
    place = options.output or (options.workdir / "several" if options.workdir else None)
    if place:
        return place / "spread.json"
    return PLACE / ",".join(folders).replace("/", "-")[:MAX_NAME] / part / "spread.json"

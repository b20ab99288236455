"""Configs, preparation, training and evaluation from Python.

Errors are `deepgenre.errors.UserError`, one line each; a stop by Ctrl-C is
`errors.InterruptedRunError`, after which the same call continues.
"""

import dataclasses
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from ml_collections.config_flags import config_path

from deepgenre import log
from deepgenre.api.results import (
    CrossValidationResult,
    EvaluationResult,
    PreparedData,
    ScoredClips,
    TrainResult,
)
from deepgenre.cli import configs
from deepgenre.config import Config, check, check_fields, leaves
from deepgenre.data import prepare as preparation
from deepgenre.errors import UserError, unknown_name
from deepgenre.evaluation import evaluate as evaluation
from deepgenre.evaluation import evaluation_files, run_commands
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.files import check_place, expand_home
from deepgenre.inference.tagger import Sources, sources_of
from deepgenre.training import cross_validation, sweep_results
from deepgenre.training import sweep as sweeping
from deepgenre.training import train as training
from deepgenre.weights import loading
from deepgenre.weights.spec import LOCATIONS

StrPath = str | os.PathLike[str]
AnyConfig = Config | str  # a config, or the name of one: see `get_config`


def get_config(source: str = "gtzan", **changes: Any) -> Config:
    """Returns a config by name, path (mine.py) or of a run (runs/x/config.json), with changes.

    changes: value by field, e.g. num_epochs=3; of nested fields **{"frontend.n_mels": 96}. Raises
    errors.UserError where there is no such config or field, or a value is of another type.
    """
    config = _from_file(source)
    known = leaves(config.to_dict())
    for field, value in changes.items():
        if field not in known:
            raise unknown_name("config", field, known)
        try:
            config_path.set_value(field, config, value)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"config.{field}: {value!r} is of another type than {known[field]!r}"
            ) from error
    return config


def prepare(config: AnyConfig, data_dir: StrPath) -> PreparedData:
    """Prepares the clips of a dataset that the store lacks; returns all clips that could be read.

    Clips that cannot be read are among `failures`. Raises errors.UserError where there is none, or
    the dataset or a field of the config is wrong.
    """
    settings = _checked(config)
    check(settings)
    prepared = preparation.prepare(settings, _data_dir(data_dir), verify=True)
    return PreparedData(
        store=prepared.folder,
        dataset=prepared.dataset.name,
        frames_per_second=prepared.frontend.frames_per_second,
        rows=tuple(prepared.rows),
        failures=tuple(prepared.failures),
        dtype=prepared.frontend.stored_dtype,
    )


def train(config: AnyConfig, data_dir: StrPath, workdir: StrPath) -> TrainResult:
    """Trains one network, or what is left of an interrupted run, and evaluates its best checkpoint.

    Files are those of mode `train`. Raises errors.UserError where config, data or workdir are
    unsuitable, or training diverges.
    """
    place = _workdir(workdir)
    with run_commands.from_python():
        results = training.train(_checked(config), _data_dir(data_dir), place)
    metrics = {part: results[part] for part in training.PARTS if part in results}
    history = tuple(log.read_metrics(place))
    return TrainResult(place, results["best_step"], metrics, history)


def sweep(
    config: AnyConfig,
    data_dir: StrPath,
    workdir: StrPath,
    values: Mapping[str, Sequence[Any]] | None = None,
) -> sweep_results.SweepResult:
    """Trains a network per combination of values and per seed (`config.seeds`).

    values: by field, e.g. {"learning_rate": [1e-3, 3e-4]}. The same call continues; finished runs
    are kept. Raises errors.UserError, before data are prepared, where a value is wrong; errors of
    single runs are in the result.
    """
    with run_commands.from_python():
        return sweeping.sweep(
            _checked(config), _data_dir(data_dir), _workdir(workdir), values or {}
        )


def cross_validate(config: AnyConfig, data_dir: StrPath, workdir: StrPath) -> CrossValidationResult:
    """Trains a network per fold (`config.folds`); the same call continues.

    Raises errors.UserError where a fold fails, or the config asks for no folds.
    """
    settings, place = _checked(config), _workdir(workdir)
    if not settings.folds or settings.fold >= 0:
        raise UserError("config.folds: give the number of folds, e.g. 5, and leave config.fold -1")
    with run_commands.from_python():
        report = cross_validation.cross_validate(settings, _data_dir(data_dir), place)
    with np.load(place / "scores.npz") as arrays:
        fold = arrays["fold"]
    return CrossValidationResult(
        **_scored(evaluation_files.read_scores(place)),
        workdir=place,
        folds=tuple(report["folds"]),
        spread=report["spread"],
        pooled=report["pooled"],
        fold=fold,
    )


def evaluate(
    weights: Sources,
    data_dir: StrPath,
    *,
    part: str = "",
    config: AnyConfig | None = None,
    mapping: Mapping[str, str] | None = None,
    exclude_unknown: bool | None = None,
    output: StrPath | None = None,
) -> EvaluationResult:
    """Evaluates weights on a part of their dataset, or of another, and writes the files of `eval`.

    weights: a name, a workdir, a .safetensors file, or a list of them, an ensemble. part: default
    held_out of a fold, else test, else valid. config: of other data than the weights' own; with it,
    mapping (class by label) and exclude_unknown. Raises errors.UserError where weights, data or
    part are unsuitable.
    """
    sources = sources_of(weights)
    options = evaluation.Options(
        data_dir=_data_dir(data_dir),
        part=part,
        config=None if config is None else _checked(config),
        mapping=mapping,
        exclude_unknown=exclude_unknown,
        output=None if output is None else expand_home(output),
    )
    metrics, folder = evaluation.evaluate(loading.load(*sources), sources, options)
    about = evaluation_files.read_details(folder / "evaluation.json")
    return EvaluationResult(
        **_scored(evaluation_files.read_scores(folder)),
        folder=folder,
        part=about["part"],
        metrics=metrics,
        intervals=about["metrics"],
        about=about,
    )


def _scored(scored: Scored) -> dict[str, Any]:
    """Returns the fields of ScoredClips."""
    arrays = (scored.key, scored.scores, scored.labels, scored.group, scored.track)
    fields = [field.name for field in dataclasses.fields(ScoredClips)]
    return dict(zip(fields, (scored.classes, *arrays), strict=True))


def _from_file(source: str) -> Config:
    """Returns what the `get_config` of a config file returns."""
    if not isinstance(source, str):
        raise UserError(f"config: give a name or a config, not {type(source).__name__}")
    path, colon, argument = configs.resolve(source).partition(":")
    module_spec = importlib.util.spec_from_file_location("deepgenre_config", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"config: {path} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        config = module.get_config(argument) if colon else module.get_config()
    except UserError:
        raise
    except Exception as error:  # a config file is code of the user, which may raise anything
        raise UserError(f"config: {path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"config: {path}: get_config() must return the config of deepgenre.config")
    return config


def _checked(config: AnyConfig) -> Config:
    """Returns a copy of a config, or of one by name, with all fields and '~' expanded in paths."""
    given = config if isinstance(config, ConfigDict) else _from_file(config)
    check_fields(given)
    fields = given.to_dict()
    places = {name: str(expand_home(str(fields[name]))) for name in LOCATIONS if fields[name]}
    return ConfigDict({**fields, **places}).lock()


def _data_dir(path: StrPath) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"data_dir: give a path, not {type(path).__name__}")
    return expand_home(path)


def _workdir(path: StrPath) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"workdir: give a path, not {type(path).__name__}")
    check_place(expand_home(path), "workdir", folder=True)
    return expand_home(path)

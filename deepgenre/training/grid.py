"""The grid of a sweep: values of config fields, and the config of each run."""

import ast
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_flags import config_path

from deepgenre.config import Config, leaves
from deepgenre.errors import UserError, unknown_name

SEED = "seed"
# Fields that a sweep cannot vary, with what to do instead.
NOT_SWEPT = {
    "seeds": "give --config.seeds=N without a sweep of it",
    "folds": "give --config.folds=N for a cross-validation",
    "loggers": "give --config.loggers=NAME for all runs",
    "store_dir": "prepared data are the same for all runs",
    "select_by": "runs that are selected by different metrics cannot be compared",
}
MAX_NAME = 40  # letters of a value in the name of a folder
BOOLS = {"true": True, "1": True, "false": False, "0": False}
EXAMPLES = {
    int: "16,32",
    float: "1e-3,3e-4",
    bool: "true,false",
    str: "one,another",
    tuple: "(8,16),(16,32)",
}
Value = int | float | str | bool | tuple[Any, ...] | None
Point = Mapping[str, Value]  # value by field


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep."""

    point: Point  # what is varied, but for the seed
    seed: int
    config: Config
    folder: str  # below the workdir of the sweep


def parse(text: str, config: Config) -> tuple[str, tuple[Value, ...]]:
    """Returns the field and the values of a `--sweep`, 'FIELD:VALUE,VALUE...'.

    Values have the type of the field. Raises UserError where the field or a value is wrong.
    """
    field, colon, listed = text.partition(":")
    if not colon or not field:
        raise UserError(
            f"--sweep: {text!r} is not FIELD:VALUE,VALUE..., e.g. --sweep=learning_rate:1e-3,3e-4"
        )
    _check_field(field, config)
    values = re.split(r",(?![^(\[]*[)\]])", listed)  # commas within brackets are part of a value
    return field, tuple(_parsed(field, value.strip(), config) for value in values)


def runs(config: Config, sweep: Mapping[str, Sequence[Value]]) -> list[Run]:
    """Returns the runs of a grid, the seed varying fastest.

    Seeds are those of the field 'seed' of the sweep, else `config.seeds` of them from `config.seed`
    on. Raises UserError where a field or value is unknown, of the wrong type or given twice.
    """
    for field, values in sweep.items():
        _check_field(field, config)
        _check_values(field, values, config)
    seeds: Sequence[Any] = sweep.get(SEED, ())
    if seeds and config.seeds:
        raise UserError("--sweep: seed is given, and config.seeds as well; leave one of them out")
    seeds = seeds or range(config.seed, config.seed + max(1, config.seeds))
    axes = {field: values for field, values in sweep.items() if field != SEED}
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    return [
        Run(
            point=point,
            seed=seed,
            config=_changed(config, {**point, SEED: seed, "seeds": 0}),
            folder="/".join([*(_name(field, point[field]) for field in point), f"seed-{seed}"]),
        )
        for point in points
        for seed in seeds
    ]


def _changed(config: Config, changes: Mapping[str, Value]) -> Config:
    changed = ConfigDict(config.to_dict())
    for field, value in changes.items():
        config_path.set_value(field, changed, value)
    return changed.lock()


def _check_field(field: str, config: Config) -> None:
    known = leaves(config.to_dict())
    if field in NOT_SWEPT:
        raise UserError(f"--sweep: {field} cannot be varied; {NOT_SWEPT[field]}")
    if any(name.startswith(f"{field}.") for name in known):
        raise UserError(f"--sweep: {field} is a group of fields; give one, as {field}.NAME")
    if field not in known:
        raise unknown_name("--sweep", field, known)


def _check_values(field: str, values: Sequence[Value], config: Config) -> None:
    if isinstance(values, str) or not isinstance(values, list | tuple | range) or not values:
        raise UserError(f"--sweep: {field}: give a list of values, not {values!r}")
    kind: Any = config_path.get_type(field, config)
    for value in values:
        is_whole = type(value) is int and kind is float
        if type(value) is not kind and not is_whole:
            raise UserError(
                f"--sweep: {field}: {value!r} is {_article(type(value))}, and the field "
                f"{_article(kind)}; give values of this type"
            )
    names = [_name(field, value) for value in values]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--sweep: {name} is given twice; give each value once")


def _parsed(field: str, text: str, config: Config) -> Value:
    kind: Any = config_path.get_type(field, config)
    try:
        if not text:
            raise ValueError
        if kind is bool:
            return BOOLS[text.lower()]
        if kind is tuple:
            return tuple(ast.literal_eval(text))
        return kind(text)
    except (ValueError, KeyError, TypeError, SyntaxError) as error:
        raise UserError(
            f"--sweep: {field}: {text!r} is not {_article(kind)}; give e.g. "
            f"--sweep={field}:{EXAMPLES[kind]}"
        ) from error


def _article(kind: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(kind, f"a {kind.__name__}")


def _name(field: str, value: Value) -> str:
    """Returns 'field=value' as the name of a folder, which differs for different values."""
    shown = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else value
    text = re.sub(r"[^\w.+-]", "_", str(shown))
    if text != str(shown) or len(text) > MAX_NAME:
        digest = hashlib.sha256(repr(value).encode()).hexdigest()[:6]
        text = f"{text[:MAX_NAME]}-{digest}"
    return f"{field}={text}"

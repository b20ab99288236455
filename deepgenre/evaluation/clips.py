"""The clips of an evaluation: a part of a dataset, with labels as classes of the weights.

Without a config, the data are those that the weights were trained on, as their own config reads and
splits them. With one, they are any dataset: the config reads and splits it, and labels are matched
with the classes of the weights.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from deepgenre import log
from deepgenre.config import Config
from deepgenre.data import store
from deepgenre.data.datasets import read_dataset
from deepgenre.data.parts import (
    Split,
    choose_classes,
    division,
    parts_for_evaluation,
    split_rows,
)
from deepgenre.data.prepare import Prepared, is_current, prepare, store_folder
from deepgenre.data.splits import part_name
from deepgenre.data.store import Row
from deepgenre.errors import UserError, look_up
from deepgenre.evaluation import class_matching, ledger
from deepgenre.evaluation.class_matching import Matching
from deepgenre.weights.spec import Spec, config_of

ALL = "all"  # the part that is every clip
VALID = "valid"
DEFAULT_PARTS = ("held_out", "test")  # the first that exists; else VALID


@dataclasses.dataclass(frozen=True)
class Clips:
    """What is evaluated, and the clips that belong to it."""

    store: Path
    dataset: str
    split: str
    part: str
    rows: list[Row]  # their labels are among the classes
    classes: tuple[str, ...]  # of the weights, all or, for tags of other data, those that matched
    untagged_counted: bool  # whether clips without any of the tags are kept
    tuning: list[Row] = dataclasses.field(default_factory=list)  # thresholds are tuned on these
    train: list[Row] | None = None  # clips that the weights were trained on; None: not known
    excluded: dict[str, int] = dataclasses.field(default_factory=dict)  # clips left out, by reason
    matching: dict[str, str] = dataclasses.field(default_factory=dict)  # class by label; '': none
    test_of: str = ""  # `ledger.data_name` of the split that has some of the rows in its test part


def own_clips(spec: Spec, data_dir: Path, part: str, *, exclude_unknown: bool) -> Clips:
    """Returns a part of the data that the weights were trained on, or of new data like them.

    Raises UserError where clips have labels that the weights do not know and these are not to be
    excluded, or the part is unknown or empty.
    """
    config = _with_own_store(_own_config(spec, data_dir), data_dir)
    prepared = prepare(config, data_dir)
    return of_rows(spec, prepared.folder, prepared.rows, part, exclude_unknown=exclude_unknown)


def of_rows(
    spec: Spec, folder: Path, rows: Sequence[Row], part: str, *, exclude_unknown: bool
) -> Clips:
    """Returns the clips of a part of rows, as the weights' own config splits them; see own_clips.

    folder: the store, or that of the data where they are not prepared.
    """
    rows, excluded = _known(rows, spec, exclude_unknown)
    parts = _parts(config_of(spec), rows, spec.classes, spec.multi_label, part)
    clips = of_parts(spec, folder, parts, part, rows=rows, excluded=excluded)
    return clips if _same_division(spec, rows) else dataclasses.replace(clips, train=None)


def of_parts(
    spec: Spec,
    folder: Path,
    parts: Split,
    part: str,
    *,
    rows: Sequence[Row] = (),
    excluded: Mapping[str, int] | None = None,
) -> Clips:
    """Returns the clips of a part, of the parts that the weights' own config makes."""
    name = _name_of(parts, part)
    chosen = list(rows) if name == ALL else look_up(parts, name, "--eval_split")
    return Clips(
        store=folder,
        dataset=spec.config["dataset"],
        split=spec.config["split"],
        part=name,
        rows=chosen,
        classes=spec.classes,
        untagged_counted=bool(spec.config.get("keep_untagged", False)) or name == ALL,
        tuning=_tuning(parts, chosen),
        train=parts.get("train"),
        excluded=dict(excluded or {}),
        test_of=_test_of(config_of(spec), parts, chosen),
    )


def other_clips(
    spec: Spec,
    config: Config,
    data_dir: Path,
    part: str,
    *,
    mapping: Mapping[str, str] | None,
    exclude_unknown: bool,
) -> Clips:
    """Returns a part of any dataset, as `config` reads and splits it, with labels as classes.

    The front end is that of the weights. Clips that then have no class, or for genres several, are
    left out and counted. Raises UserError where no label matches a class, labels do not match and
    are not to be excluded, or the part is unknown or empty.
    """
    config = _with_frontend_of(spec, config)
    prepared = prepare(config, data_dir)
    _check_spectrograms(prepared, spec)
    multi_label = prepared.dataset.multi_label
    names = choose_classes(config, prepared.rows, multi_label)
    parts = _parts(config, prepared.rows, names, multi_label, part)
    name = _name_of(parts, part)
    rows = prepared.rows if name == ALL else look_up(parts, name, "--eval_split")
    matching = class_matching.match(rows, spec.classes, mapping)
    whole = class_matching.match(prepared.rows, spec.classes, mapping)
    class_matching.log_table(matching, spec.classes)
    _check_matched(matching, spec, exclude_unknown)
    keep_untagged = spec.multi_label and config.keep_untagged
    kept, excluded = _usable(class_matching.apply(rows, matching), spec, keep_untagged)
    return Clips(
        store=prepared.folder,
        dataset=config.dataset,
        split=config.split,
        part=name,
        rows=kept,
        classes=_evaluated_classes(matching, spec),
        untagged_counted=keep_untagged,
        tuning=_usable(
            class_matching.apply(_tuning(parts, rows), whole),
            spec,
            keep_untagged,
        )[0],
        train=_trained_on(spec, config, prepared.rows),
        excluded=excluded,
        matching=matching.class_of,
        test_of=_test_of(config, parts, kept),
    )


def num_trained_on(clips: Clips) -> int:
    """Returns the number of clips that the weights were trained on, as far as this is known."""
    trained = {row.key for row in clips.train or ()}
    return sum(row.key in trained for row in clips.rows)


def _with_frontend_of(spec: Spec, config: Config) -> Config:
    """Returns the config with the front end of the weights."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.frontend = ConfigDict(dataclasses.asdict(spec.frontend))
    return config


def _own_config(spec: Spec, data_dir: Path) -> Config:
    """Returns the run's config, of audio with the front end of the weights.

    A run on spectrograms has a config that need not state their hop: the plan derives it from their
    length. Its weights evaluated on audio require frames of that hop.
    """
    own = config_of(spec)
    with_front_end = _with_frontend_of(spec, own)
    if with_front_end.frontend.to_dict() == own.frontend.to_dict():
        return own
    return own if read_dataset(own, data_dir).precomputed else with_front_end


def _with_own_store(config: Config, data_dir: Path) -> Config:
    """Returns the config without the run's store where that holds other data than `data_dir`.

    Data of another folder are prepared in a store of their own, not inside the run's.
    """
    folder = store_folder(config, data_dir)
    if not config.store_dir or not folder.is_dir():
        return config
    dataset = read_dataset(config, data_dir)
    for prepared in filter(Path.is_dir, folder.iterdir()):
        measured = store.read_measured(prepared)
        if any(c.key in measured and is_current(c, measured[c.key]) for c in dataset.clips):
            return config
    other = config.copy_and_resolve_references()
    with other.unlocked():
        other.store_dir = ""
    log.info("%s holds other clips; preparing these in %s", folder, store_folder(other, data_dir))
    return other


def _parts(
    config: Config, rows: Sequence[Row], names: Sequence[str], multi_label: bool, part: str
) -> Split:
    """Returns the parts of the rows; {} where they cannot be made and all clips are evaluated."""
    try:
        return parts_for_evaluation(config, rows, names, multi_label)
    except UserError as error:
        if not part:
            raise UserError(f"{error}; or evaluate every clip: --eval_split={ALL}") from error
        if part != ALL:
            raise
        log.warning("which of these clips the weights were trained on is unknown: %s", error)
        return {}


def _name_of(parts: Split, part: str) -> str:
    """Returns the name of a part, given as such or by a synonym; of '' the default."""
    if part:
        return part if part in parts else part_name(part)
    return next((name for name in DEFAULT_PARTS if name in parts), VALID)


def _test_of(config: Config, parts: Split, rows: Sequence[Row]) -> str:
    test = {row.key for row in parts.get("test", [])}
    return ledger.data_name(config) if any(row.key in test for row in rows) else ""


def _tuning(parts: Split, rows: Sequence[Row]) -> list[Row]:
    """Returns the validation clips; none where some of them are evaluated."""
    tuning = parts.get(VALID, [])
    return [] if {row.key for row in tuning} & {row.key for row in rows} else tuning


def _known(
    rows: Sequence[Row], spec: Spec, exclude_unknown: bool
) -> tuple[list[Row], dict[str, int]]:
    """Returns the rows of genres that the weights know, and the number of the others."""
    if spec.multi_label:
        return list(rows), {}
    unknown = Counter(row.labels[0] for row in rows if not {*row.labels} <= {*spec.classes})
    if unknown and not exclude_unknown:
        first = next(row for row in rows if row.labels[0] in unknown)
        raise UserError(
            f"{first.key}: label {first.labels[0]!r} is not among the classes of these weights: "
            f"{', '.join(spec.classes)}; eval --exclude_unknown leaves out "
            f"such clips ({unknown.total()} of {len(rows)})"
        )
    known = [row for row in rows if row.labels[0] not in unknown]
    for label, clips in sorted(unknown.items()):
        log.info(
            "left out: %s of %r, which the weights do not know", log.counted(clips, "clip"), label
        )
    return known, {"unknown_class": unknown.total()} if unknown else {}


def _check_matched(matching: Matching, spec: Spec, exclude_unknown: bool) -> None:
    if len(matching.unmatched) == len(matching.class_of):
        raise UserError(
            f"--config: none of the labels ({', '.join(matching.class_of) or 'none'}) is a class "
            f"of these weights ({', '.join(spec.classes)}); give --mapping=FILE with lines "
            "'label = class'"
        )
    if matching.unmatched and not exclude_unknown:
        raise UserError(
            f"--noexclude_unknown: no class of these weights matches "
            f"{', '.join(matching.unmatched)}; give --mapping=FILE with lines 'label = class'"
        )


def _usable(
    rows: Sequence[Row], spec: Spec, keep_untagged: bool
) -> tuple[list[Row], dict[str, int]]:
    """Returns the rows with as many classes as the weights require, and the number of others."""
    if spec.multi_label:
        kept = [row for row in rows if row.labels or keep_untagged]
        several = 0
    else:
        kept = [row for row in rows if len(row.labels) == 1]
        several = sum(len(row.labels) > 1 for row in rows)
    reasons = {"no_class": len(rows) - len(kept) - several, "several_classes": several}
    return kept, {reason: clips for reason, clips in reasons.items() if clips}


def _evaluated_classes(matching: Matching, spec: Spec) -> tuple[str, ...]:
    """Returns the tags that some label matches; of genres all, as each may be predicted."""
    if not spec.multi_label:
        return spec.classes
    return tuple(name for name in spec.classes if name in matching.class_of.values())


def _trained_on(spec: Spec, config: Config, rows: Sequence[Row]) -> list[Row] | None:
    """Returns the rows that the weights were trained on, by their own config; None: not known.

    Folders of one's own music are different data under one name.
    """
    own = config_of(spec)
    if own.dataset != config.dataset or own.dataset == "folder":
        return None
    known = rows if spec.multi_label else [r for r in rows if {*r.labels} <= {*spec.classes}]
    if not _same_division(spec, known):
        return None
    return split_rows(own, known, spec.classes, spec.multi_label).get("train")


def _same_division(spec: Spec, rows: Sequence[Row]) -> bool:
    """Returns whether the run's random split divided these clips; a warning tells where not."""
    config = config_of(spec)
    divided = division(config, rows, spec.classes, spec.multi_label)
    if not spec.division or divided == spec.division:
        return True
    log.warning(
        "config.split %r divides clips at random, and these %d are not those of the run (or have "
        "other labels or groups): which of them the weights were trained on is unknown",
        config.split,
        len(rows),
    )
    return False


def _check_spectrograms(prepared: Prepared, spec: Spec) -> None:
    """Raises UserError where precomputed spectrograms are not as the weights' front end makes."""
    bands = prepared.rows[0].measured.bands
    if prepared.dataset.precomputed and bands != spec.frontend.stored_bands:
        raise UserError(
            f"--data_dir: the spectrograms have {bands} bands, these weights require "
            f"{spec.frontend.stored_bands}; give the audio, or other weights"
        )

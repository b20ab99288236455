"""Mode `report`: one self-contained HTML page about a run."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from deepgenre import config as defaults
from deepgenre import log
from deepgenre.data.clip import Clip
from deepgenre.errors import UserError
from deepgenre.evaluation import run_commands
from deepgenre.evaluation.evaluation_files import Scored
from deepgenre.evaluation.figures import confusion, curves, network, reliability, style, tags
from deepgenre.evaluation.report import clips, evaluations, media, pages
from deepgenre.evaluation.report.evaluations import Evaluation
from deepgenre.models.layer_table import layers
from deepgenre.weights import run_record
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec

TOP_SCORES = 4  # shown of a clip
COUNTS = ("clips", "tags_evaluated", "untagged_clips")  # of evaluation, not how good
OWN = ("num_tracks", "num_groups")  # equal to the clips where each is one of its own
PARTS = {"train": 0, "valid": 1, "test": 2}  # in this order, others after them


def run(workdir: Path, data_dir: Path | None, output: Path | None) -> int:
    """Writes the report of a workdir; returns exit code 0.

    data_dir: of the dataset, for spectrograms and audio; default the one that the run recorded.
    """
    found = [evaluations.read(folder) for folder in evaluations.folders(workdir)]
    path = output or workdir / "report.html"
    spec, commands = run_record.read(workdir), run_commands.read(workdir)
    notes: list[str] = []
    if data_dir is None and commands:
        data_dir = Path(commands[-1]["data_dir"])
    sources = _sources(spec, data_dir, notes)
    parts = []
    with log.progress(found, total=len(found), unit="part", title="report") as bar:
        for number, evaluation in enumerate(bar):
            parts.append(_part(f"part{number}", evaluation, spec, sources, notes))
    values = {
        "summary": _summary(workdir, spec, commands, found),
        "parts": parts,
        **_training(workdir, spec),
        "network": _network(spec) if spec else "",
        **_reproduction(spec, commands),
    }
    sections = [("summary", "Summary"), *([("training", "Training")] if values["curves"] else [])]
    sections += [(part["anchor"], f"Evaluation: {part['name']}") for part in parts]
    sections += [("network", "Network")] if values["network"] else []
    pages.write(
        "report.html.j2",
        path,
        title=_title(workdir, spec),
        subtitle=f"Run {workdir}",
        sections=[*sections, ("reproduction", "Reproduction")],
        notes=list(dict.fromkeys(notes)),
        **values,
    )
    log.info("wrote %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return 0


def _title(workdir: Path, spec: Spec | None) -> str:
    return f"{spec.model} on {spec.config['dataset']}" if spec else workdir.absolute().name


def _sources(spec: Spec | None, data_dir: Path | None, notes: list[str]) -> dict[str, Clip]:
    """Returns the clips of the dataset by key; {} with a note where it is not available."""
    if spec is None:
        notes.append("Spectrograms and audio are left out: the workdir has no config.json.")
        return {}
    try:
        clips = media.clips_by_key(spec, data_dir or Path(f"data/{spec.config['dataset']}"))
        if any(clip.precomputed for clip in clips.values()):
            notes.append("The dataset contains spectrograms only: clips cannot be played.")
        return clips
    except UserError as error:
        notes.append(f"Spectrograms and audio are left out; --data_dir finds the dataset: {error}")
        log.warning("without spectrograms and audio: %s", error)
        return {}


def _summary(
    workdir: Path,
    spec: Spec | None,
    commands: Sequence[Mapping[str, Any]],
    found: Sequence[Evaluation],
) -> list[tuple[str, str]]:
    facts = []
    if spec:
        frontend, seconds = spec.frontend, spec.window_frames / spec.frontend.frames_per_second
        facts += [
            ("dataset", f"{spec.config['dataset']}, split {spec.config['split']}"),
            ("classes", f"{len(spec.classes)} {'tags' if spec.multi_label else 'genres'}"),
            ("network", spec.model),
            (
                "input",
                f"{seconds:.1f} s: {spec.window_frames} frames × {frontend.num_bands} bands "
                f"({frontend.kind}, {frontend.sample_rate_hz:,} Hz, hop {frontend.hop_length})",
            ),
            ("training", f"{spec.config['num_epochs']} epochs, batches of "
             f"{spec.config['batch_size']}, {spec.config['optimizer']}, seed "
             f"{spec.config['seed']}"),
        ]  # fmt: skip
    if commands:
        sizes = commands[-1]["clips"]
        in_order = sorted(sizes, key=lambda part: (PARTS.get(part, len(PARTS)), part))
        facts.append(("clips", ", ".join(f"{part} {sizes[part]:,}" for part in in_order)))
    for evaluation in found:
        for name in ("accuracy", "roc_auc", "average_precision"):
            if name in evaluation.values:
                facts.append((f"{name.replace('_', ' ')}, {evaluation.name}",
                              with_interval(evaluation.values[name])))  # fmt: skip
    return facts


def with_interval(metric: Mapping[str, Any]) -> str:
    """Returns '0.736 (0.670 to 0.793; chance 0.147)', with what is known of it."""
    more = []
    if metric.get("low") is not None:
        more.append(pages.interval(metric))
    if metric.get("chance") is not None:
        more.append(f"chance {pages.number(metric['chance'])}")
    value = pages.number(metric["value"])
    return f"{value} ({'; '.join(more)})" if more else value


def _training(workdir: Path, spec: Spec | None) -> dict[str, Any]:
    """Returns the figure of the training curves, '' where nothing was logged."""
    if spec is None or not (workdir / "metrics.jsonl").exists():
        return {"curves": "", "merit": ""}
    merit = specs.merit_name(spec)
    lines = log.read_metrics(workdir)
    figure = curves.training_curves(lines, merit)
    return {"curves": Markup(style.svg_element(figure, "curves")), "merit": merit}


def _part(
    anchor: str,
    evaluation: Evaluation,
    spec: Spec | None,
    sources: Mapping[str, Clip],
    notes: list[str],
) -> dict[str, Any]:
    """Returns the values of an evaluation's section."""
    scored, details, confused = evaluation.scored, evaluation.details, evaluation.confusion
    if confused is None:
        figure = tags.average_precision(scored.scores, scored.labels, scored.classes)
        caption = "Average precision of each tag, and its chance level (the share of clips)."
    else:
        figure = confusion.confusion_matrix(confused, scored.classes)
        caption = "Confusion matrix: clips by true and predicted class."
    calibration = reliability.reliability_diagram(
        scored.scores, scored.labels, multi_label=scored.multi_label
    )
    lists, with_audio = [], set()
    for place, chosen in enumerate(clips.clip_lists(scored)):
        cards = [
            _card(f"{anchor}-{place}-{rank}", shown, scored, spec, sources, notes, with_audio)
            for rank, shown in enumerate(chosen.clips)
        ]
        lists.append({"title": chosen.title, "explanation": chosen.explanation, "cards": cards})
    by_group = details.get("metrics_by_group_bootstrap") or {}
    return {
        "anchor": anchor,
        "name": evaluation.name,
        "facts": _part_facts(evaluation),
        "metrics": {name: m for name, m in evaluation.values.items() if name not in COUNTS},
        "by_group": by_group,
        "tracks": details.get("tracks") or {},
        "num_tracks": details.get("num_tracks"),
        "figure": Markup(style.svg_element(figure, anchor)),
        "caption": caption,
        "calibration": Markup(style.svg_element(calibration, f"{anchor}-calibration")),
        "columns": columns_of(evaluation.per_class),
        "per_class": evaluation.per_class,
        "lists": lists,
        "leakage": _flat(details.get("leakage") or {}),
    }


def _part_facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Returns what makes the scores comparable."""
    details = evaluation.details
    facts = [("clips", f"{len(evaluation.scored.key):,}")]
    of_tags = evaluation.scored.multi_label  # genres have no untagged clips and no thresholds
    names = ("dataset", "split", "part", "num_tracks", "num_groups")
    for name in (*names, "untagged_clips") if of_tags else names:
        told = name not in OWN or details.get(name) != details.get("clips")
        if told and details.get(name) not in (None, ""):
            facts.append((name.replace("_", " ").removeprefix("num "), str(details[name])))
    for name in ("excluded_clips", *(("f1_thresholds",) if of_tags else ()), "weights"):
        facts += _flat(details.get(name) or {}, f"{name.replace('_', ' ')}, ")
    return facts


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the columns of a table of classes: 'class' first, without those not plain numbers."""
    plain = (str, int, float, type(None))
    names = dict.fromkeys(name for row in rows for name in row)
    return ["class", *(name for name in names if name != "class"
                       and all(isinstance(row.get(name), plain) for row in rows))]  # fmt: skip


def _flat(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns the leaves of nested fields, as pairs of a name in words and a value."""
    pairs = []
    for name, value in fields.items():
        shown = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{shown}, ")
        elif isinstance(value, list):
            pairs.append((shown, f"{len(value):,} listed in evaluation.json" if value else "none"))
        else:
            pairs.append((shown, pages.number(value)))
    return pairs


def _card(
    prefix: str,
    shown: clips.Shown,
    scored: Scored,
    spec: Spec | None,
    sources: Mapping[str, Clip],
    notes: list[str],
    with_audio: set[int],
) -> dict[str, Any]:
    """Returns the values of a clip's card; its audio only in the first list that shows it."""
    index, key = shown.index, str(scored.key[shown.index])
    labels, scores = scored.labels[index], scored.scores[index]
    true = [scored.classes[i] for i in (labels.nonzero()[0] if labels.ndim else [labels])]
    order = (-scores).argsort(kind="stable")[:TOP_SCORES]
    card: dict[str, Any] = {
        "key": key,
        "true": true,
        "predicted": shown.predicted,
        "value": shown.value,
        "top": [(scored.classes[i], float(scores[i])) for i in order],
        "spectrogram": "",
        "audio": None,
        "shown_above": index in with_audio,
    }
    if spec is None or key not in sources:
        return card
    try:
        card["spectrogram"] = Markup(media.spectrogram(sources[key], spec, prefix))
        if index not in with_audio:
            card["audio"] = media.audio(sources[key])
            with_audio.update({index} if card["audio"] else ())
    except UserError as error:
        notes.append(f"Without spectrogram or audio: {error}")
        log.warning("without spectrogram or audio: %s", error)
    return card


def _network(spec: Spec) -> Markup:
    module, bands = specs.build(spec), spec.frontend.num_bands
    rows = layers(module, spec.window_frames, bands)
    figure = network.network(spec.model, rows, spec.window_frames, bands)
    return Markup(style.svg_element(figure, "network"))


def _reproduction(spec: Spec | None, commands: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    used = dict(specs.without_paths(spec).config) if spec else {}
    shown = ("started", "data_dir", "deepgenre", "git", "python", "packages", "platform", "cores",
             "devices")  # fmt: skip
    return {
        "commands": [shlex.join(one["command"]) for one in commands],
        "environment": _flat({n: commands[0].get(n) or "unknown" for n in shown})
        if commands
        else [],
        "changes": specs.differences(defaults.get_config().to_dict(), used) if spec else [],
        "config": json.dumps(used, indent=2) if spec else "",
    }

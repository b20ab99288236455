"""The table of modes: a row per name, with what it runs, its flags and examples.

A mode takes the files of the command line and returns the exit code. Modules are imported by the
mode that needs them, so that `--help` and errors of flags take no time.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepgenre.cli import flags
from deepgenre.errors import UserError


@dataclasses.dataclass(frozen=True)
class Mode:
    """One mode of the command line."""

    run: Callable[[Sequence[str]], int]
    summary: str  # one line
    flags: tuple[str, ...]  # names, in the order of the help
    examples: tuple[str, ...]  # without the program's name
    files: bool = False  # takes files as arguments
    arguments: str = "FILES"  # what they are called in the help
    default_config: str = ""  # config where none is given

    @property
    def is_batch(self) -> bool:
        """Returns whether the mode reads many audio files."""
        return self.files or "summary" in self.flags


def _train(files: Sequence[str]) -> int:
    from deepgenre.training import cross_validation, train

    config = flags.config()
    run = cross_validation.run if config.folds and config.fold < 0 else train.run
    return run(config, flags.data_dir(config), flags.workdir())


def _prepare(files: Sequence[str]) -> int:
    from deepgenre import config
    from deepgenre.data import prepare

    config.check(flags.config())
    return prepare.run(flags.config(), flags.data_dir(flags.config()), flags.summary())


def _eval(files: Sequence[str]) -> int:
    from deepgenre import log
    from deepgenre.evaluation import evaluate
    from deepgenre.library import mapping
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    sources = flags.weights_side_by_side()
    networks = {name: (loading.load(*each), each) for name, each in sources.items()}
    first = next(iter(networks.values()))[0]
    config = flags.data_config()
    if config is None and flags.CONFIG.value is not None:
        for difference in evaluate.data_differences(flags.config(), first):
            log.warning(
                "--config without --weights names the run, whose own data settings are used (%s); "
                "give --weights as well to use those of --config",
                difference,
            )
    path = Path(flags.MAPPING.value) if flags.MAPPING.value else None
    options = evaluate.Options(
        data_dir=flags.data_dir(config_of(first.spec) if config is None else config),
        part=flags.EVAL_SPLIT.value,
        config=config,
        mapping=mapping.read_pairs(path) if path else None,
        exclude_unknown=flags.EXCLUDE_UNKNOWN.value,
        output=flags.output(),
        workdir=Path(flags.WORKDIR.value) if flags.WORKDIR.value else None,
        near_duplicates=flags.NEAR_DUPLICATES.value,
    )
    return evaluate.run(networks, options)


def _audit(files: Sequence[str]) -> int:
    from deepgenre.evaluation.audit import run as audits

    data = None
    if flags.WEIGHTS.value or flags.WORKDIR.value:
        from deepgenre.weights import loading
        from deepgenre.weights.spec import config_of

        config = config_of(loading.load(*flags.weights()).spec)
        workdir = Path(flags.WORKDIR.value or flags.WEIGHTS.value[0])
        data = audits.Data(config, flags.data_dir(config), workdir)
    elif flags.CONFIG.value:
        data = audits.Data(flags.config(), flags.data_dir(flags.config()))
    return audits.run([*map(Path, files)], data, flags.output())


def _robustness(files: Sequence[str]) -> int:
    from deepgenre.evaluation import robustness
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    weights = loading.load(*flags.weights())
    data_dir = flags.data_dir(config_of(weights.spec))
    return robustness.run(weights, data_dir, flags.EVAL_SPLIT.value, flags.workdir())


def _predict(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.inference import predict
    from deepgenre.weights import loading

    networks = {
        name: loading.load(*sources) for name, sources in flags.weights_side_by_side().items()
    }
    options = flags.predict_options(predict.Options().choice)
    return predict.run_side_by_side(networks, expand(files), options)


def _embed(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.inference import embed
    from deepgenre.weights import loading

    weights = loading.load(*flags.weights())
    return embed.run(
        weights, expand(files), flags.output(), flags.summary(), prune=flags.PRUNE.value
    )


def _similar(files: Sequence[str]) -> int:
    from deepgenre.library import similar
    from deepgenre.weights import loading

    options = similar.Options(
        library=flags.LIBRARY.value,
        index=Path(flags.INDEX.value) if flags.INDEX.value else None,
        top_k=10 if flags.TOP_K.value is None else flags.TOP_K.value,
        output=flags.output(),
        summary=flags.summary(),
        copies=flags.COPIES.value,
        prune=flags.PRUNE.value,
    )
    return similar.run(loading.load(*flags.weights()), [*flags.QUERY.value, *files], options)


def _explain(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.explain import run
    from deepgenre.explain.explanation import DEFAULT_METHOD
    from deepgenre.weights import loading

    options = run.Options(
        output=flags.output(),
        target=flags.TARGET.value,
        method=flags.METHOD.value or DEFAULT_METHOD,
        start_seconds=flags.START_SECONDS.value,
        window_seconds=flags.WINDOW_SECONDS.value,
        hop_seconds=flags.HOP_SECONDS.value,
        summary=flags.summary(),
    )
    return run.run(loading.load(*flags.weights()), expand(files), options)


def _organize(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.inference import thresholds
    from deepgenre.library import organize
    from deepgenre.weights import loading

    if flags.UNDO.value:
        return organize.undo(flags.output(), files)
    weights = loading.load(*flags.weights())
    options = flags.predict_options(thresholds.library_choice(weights.spec))
    return organize.run(
        weights, expand(files), options, write=flags.WRITE.value, tagging=flags.tagging()
    )


def _watch(files: Sequence[str]) -> int:
    from deepgenre.inference import thresholds
    from deepgenre.library import watch
    from deepgenre.weights import loading

    weights = loading.load(*flags.weights())
    options = watch.Options(
        predict=flags.predict_options(thresholds.library_choice(weights.spec)),
        tagging=flags.tagging(),
        write=flags.WRITE.value,
        poll_seconds=flags.POLL_SECONDS.value,
        settle_seconds=flags.SETTLE_SECONDS.value,
    )
    return watch.run(weights, files, options)


def _duplicates(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.library import duplicates

    return duplicates.run(expand(files), flags.output(), flags.summary())


def _report(files: Sequence[str]) -> int:
    from deepgenre.evaluation.report import report

    data_dir = Path(flags.DATA_DIR.value) if flags.DATA_DIR.value else None
    return report.run(flags.workdir(), data_dir, flags.output())


def _compare(files: Sequence[str]) -> int:
    from deepgenre.evaluation.report import compare

    return compare.run([*map(Path, files)], flags.EVAL_SPLIT.value, flags.output())


def _figures(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.evaluation.report import paper_figures

    config = flags.config() if flags.CONFIG.value else None
    workdir = flags.workdir() if flags.WORKDIR.value or not config else None
    data_dir = Path(flags.DATA_DIR.value) if flags.DATA_DIR.value else None
    return paper_figures.run(config, workdir, data_dir, expand(files), flags.output())


def _style(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import style
    from deepgenre.weights import loading

    if not flags.STYLE.value:
        raise UserError("--style: give the song whose textures are imposed")
    sources, options = flags.weights(), flags.experiment_options()
    weights, songs = loading.load(*sources), expand(files).files
    return style.run(weights, " + ".join(sources), songs, Path(flags.STYLE.value), options)


def _generate(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import generate
    from deepgenre.weights import loading

    sources, options = flags.weights(), flags.experiment_options()
    weights, songs = loading.load(*sources), expand(files).files
    return generate.run(weights, " + ".join(sources), songs, options)


def _filters(files: Sequence[str]) -> int:
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import filters
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    options = filters.Options(
        output=flags.output(),
        layer=flags.LAYER.value,
        channels=flags.channels(),
        num_excerpts=4 if flags.TOP_K.value is None else flags.TOP_K.value,
        summary=flags.summary(),
    )
    weights = loading.load(*flags.weights())
    if files or not flags.DATA_DIR.value:
        return filters.run_on_files(weights, expand(files), options)
    data_dir = flags.data_dir(config_of(weights.spec))
    return filters.run_on_dataset(weights, data_dir, flags.EVAL_SPLIT.value, options)


def _calibrate(files: Sequence[str]) -> int:
    from deepgenre.evaluation import calibrate
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    weights = loading.load(*flags.weights())
    data_dir = flags.data_dir(config_of(weights.spec))
    return calibrate.run(weights, data_dir, flags.output(), flags.DTYPE.value)


def _export(files: Sequence[str]) -> int:
    from deepgenre.weights import export, loading

    return export.run(loading.load(*flags.weights()), flags.output(), flags.DTYPE.value)


def _import(files: Sequence[str]) -> int:
    from deepgenre.weights import import_published

    wheel = Path(flags.WHEEL.value) if flags.WHEEL.value else None
    return import_published.run(flags.SOURCE.value, wheel)


def _demo(files: Sequence[str]) -> int:
    from deepgenre.cli import demo

    return demo.run(flags.config(), flags.data_dir(flags.config()), flags.workdir())


_WEIGHTS = ("weights", "workdir", "config")  # a run's weights are found by its workdir or config
_PROCESSES = ("coordinator_address", "num_processes", "process_id")
_WINDOWS = ("aggregate", "window_seconds", "hop_seconds")
_TAGGING = ("write", "field", "policy", "mapping")
_EXPERIMENT = ("target", "check", "start_seconds", "seconds", "steps", "seed")
_TAGS = ("top_k", "threshold", "unknown_below", "consistent", "merge_synonyms")

MODES: Mapping[str, Mode] = {
    "predict": Mode(
        _predict,
        "Predicts genres or tags of audio files of any length.",
        (
            *("files", "output", "resume", "describe", "taggram", "unfamiliar_below"),
            *(*_TAGS, *_WINDOWS, *_WEIGHTS, "summary"),
        ),
        (
            "predict song.mp3",
            "predict songs/ --weights=mtt_musicnn --output=tags.csv --resume",
            "predict songs/ --weights=gtzan,mtt_musicnn --output=both.csv --summary=summary.json",
            "predict songs/ --output=songs.csv --describe=tempo,key,loudness",
        ),
        files=True,
    ),
    "similar": Mode(
        _similar,
        "Finds the songs of a library that are most similar to given songs.",
        ("query", "library", "index", "prune", "copies", "top_k", "output", *_WEIGHTS, "summary"),
        (
            "similar song.mp3 --library=songs/",
            "similar song.mp3 --index=songs.npz --top_k=20 --output=s.m3u8",
        ),
        files=True,
    ),
    "organize": Mode(
        _organize,
        "Writes playlists, a report and, with --write, tags into the files of a library.",
        (
            *("files", "output", *_TAGGING, "describe", "undo"),
            *(*_TAGS, *_WINDOWS, *_WEIGHTS, "summary"),
        ),
        (
            "organize songs/ --output=organized/",
            "organize songs/ --output=organized/ --write --describe=tempo,key,loudness",
            "organize --undo --output=organized/",
        ),
        files=True,
    ),
    "watch": Mode(
        _watch,
        "Organizes what is added to folders, until stopped; continues after a restart.",
        (
            *("files", "output", *_TAGGING, "poll_seconds", "settle_seconds"),
            *(*_TAGS, *_WINDOWS, *_WEIGHTS),
        ),
        (
            "watch music/ --output=organized/",
            "watch music/ --output=organized/ --weights=mtt_musicnn --write",
        ),
        files=True,
    ),
    "duplicates": Mode(
        _duplicates,
        "Finds files that hold the same recording, also in other formats, levels and lengths.",
        ("files", "output", "summary"),
        ("duplicates songs/", "duplicates songs/ --output=copies.jsonl"),
        files=True,
    ),
    "explain": Mode(
        _explain,
        "Shows, and lets hear, which parts of a song the score of a class rests on.",
        (
            *("files", "output", "target", "method", "start_seconds"),
            *("window_seconds", "hop_seconds", *_WEIGHTS, "summary"),
        ),
        (
            "explain song.mp3 --target=jazz --output=explained/",
            "explain songs/ --weights=mtt_musicnn --method=lrp --output=explained/",
        ),
        files=True,
    ),
    "embed": Mode(
        _embed,
        "Writes an embedding per audio file.",
        ("files", "output", "prune", *_WEIGHTS, "summary"),
        ("embed songs/ --output=songs.npz", "embed a.mp3 b.flac --weights=msd_vgg --output=v.npz"),
        files=True,
    ),
    "style": Mode(
        _style,
        "Imposes the textures of one song on another, as sound: an experiment.",
        ("files", "style", "output", *_EXPERIMENT, *_WEIGHTS),
        (
            "style song.mp3 --style=other.mp3 --output=FOLDER",
            "style song.mp3 --style=other.mp3 --output=FOLDER --check=msd_musicnn --steps=400",
        ),
        files=True,
    ),
    "generate": Mode(
        _generate,
        "Changes a song, or noise, towards a class, as sound: an experiment.",
        ("files", "output", *_EXPERIMENT, *_WEIGHTS),
        (
            "generate --target=jazz --output=FOLDER --check=msd_musicnn",
            "generate song.mp3 --target=metal --output=FOLDER",
        ),
        files=True,
    ),
    "filters": Mode(
        _filters,
        "Shows and plays what the channels of a convolution respond to.",
        (
            *("files", "data_dir", "eval_split", "output", "layer", "channels", "top_k"),
            *(*_WEIGHTS, "summary"),
        ),
        (
            "filters songs/ --output=FOLDER",
            "filters songs/ --weights=mtt_musicnn --layer=front_0 --channels=3,17 --output=FOLDER",
        ),
        files=True,
    ),
    "train": Mode(
        _train,
        "Prepares what is missing, trains, and evaluates the best checkpoint.",
        ("config", "data_dir", "workdir", *_PROCESSES),
        (
            "train --config=gtzan --data_dir=FOLDER",
            "train --config=folder --data_dir=FOLDER --config.num_epochs=60 --workdir=runs/longer",
            "train --config=folder --data_dir=FOLDER --config.folds=5",
        ),
    ),
    "eval": Mode(
        _eval,
        "Evaluates weights on a part of their dataset, or of another.",
        (
            *("data_dir", "eval_split", "output", "mapping", "exclude_unknown"),
            *("near_duplicates", *_WEIGHTS),
        ),
        (
            "eval --weights=runs/gtzan --data_dir=FOLDER",
            "eval --data_dir=FILE --eval_split=valid",
            "eval --weights=gtzan --config=folder --data_dir=FOLDER --eval_split=all",
            "eval --weights=runs/seed0,runs/seed1,runs/seed2 --data_dir=FOLDER",
        ),
    ),
    "report": Mode(
        _report,
        "Writes one HTML page about a run: scores, figures, clips with audio, reproduction.",
        ("workdir", "config", "data_dir", "output"),
        ("report --workdir=runs/gtzan", "report --workdir=runs/gtzan --output=gtzan.html"),
    ),
    "compare": Mode(
        _compare,
        "Compares runs on the same clips, with paired differences; writes one HTML page.",
        ("eval_split", "output"),
        ("compare runs/a runs/b", "compare runs/a runs/b --eval_split=valid --output=ab.html"),
        files=True,
        arguments="RUN RUN...",
    ),
    "figures": Mode(
        _figures,
        "Draws a dataset's classes, spectrograms, a network and a run, as .png and .svg.",
        ("config", "data_dir", "workdir", "output"),
        (
            "figures --config=mtat --data_dir=FOLDER --output=figures",
            "figures --workdir=runs/gtzan --data_dir=FOLDER",
            "figures --config=gtzan song.mp3 --output=figures",
        ),
        files=True,
    ),
    "robustness": Mode(
        _robustness,
        "Evaluates weights on noise, other pitch, tempo, loudness, bandwidth and bitrate.",
        ("data_dir", "eval_split", *_WEIGHTS),
        (
            "robustness --weights=gtzan --data_dir=FOLDER --eval_split=valid",
            "robustness --weights=mtt_musicnn --data_dir=FOLDER --eval_split=all",
        ),
    ),
    "audit": Mode(
        _audit,
        "Looks for what makes scores false: copies, shared artists, effects of order, ...",
        ("config", "data_dir", "workdir", "weights", "files", "output"),
        (
            "audit --config=gtzan --data_dir=FOLDER",
            "audit --workdir=runs/gtzan --data_dir=FOLDER --output=audit.json",
            "audit features.npz others.csv",
        ),
        files=True,
    ),
    "prepare": Mode(
        _prepare,
        "Turns the clips of a dataset into stored spectrograms, once.",
        ("config", "data_dir", "summary"),
        (
            "prepare --config=mtat --data_dir=FOLDER",
            "prepare --config=gtzan --data_dir=FOLDER --config.prepare_workers=4",
        ),
    ),
    "calibrate": Mode(
        _calibrate,
        "Fits a temperature on the validation part and writes the calibrated weights.",
        ("data_dir", "output", "dtype", *_WEIGHTS),
        (
            "calibrate --weights=runs/gtzan --data_dir=FOLDER --output=mine.safetensors",
            "calibrate --weights=a --weights=b --data_dir=FOLDER --output=ensemble.safetensors",
        ),
    ),
    "export": Mode(
        _export,
        "Writes the weights of a run as one .safetensors file.",
        ("output", "dtype", *_WEIGHTS),
        (
            "export --weights=runs/gtzan --output=mine.safetensors",
            "export --workdir=runs/gtzan --output=small.safetensors --dtype=float16",
        ),
    ),
    "import": Mode(
        _import,
        "Imports weights that others published.",
        ("source", "wheel"),
        (
            "import --source=musicnn",
            "import --source=musicnn --wheel=musicnn-0.1.0-py3-none-any.whl",
        ),
    ),
    "demo": Mode(
        _demo,
        "Composes synthetic music, trains on it and predicts held-out pieces.",
        ("config", "data_dir", "workdir"),
        ("demo", "demo --config.num_epochs=10 --workdir=runs/demo"),
        default_config="synthetic",
    ),
}

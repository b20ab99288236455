"""The table of modes: a row per name, with what it runs, its flags and examples.

A mode takes the files of the command line and returns the exit code. Modules are imported by the
mode that needs them, so that `--help` and errors of flags take no time.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepgenre.cli import flags


@dataclasses.dataclass(frozen=True)
class Mode:
    """One mode of the command line."""

    run: Callable[[Sequence[str]], int]
    summary: str  # one line
    flags: tuple[str, ...]  # names, in the order of the help
    examples: tuple[str, ...]  # without the program's name
    files: bool = False  # takes files as arguments
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
    from deepgenre.data import prepare

    return prepare.run(flags.config(), flags.data_dir(flags.config()), flags.summary())


def _eval(files: Sequence[str]) -> int:
    from deepgenre.evaluation import evaluate
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    weights = loading.load(*flags.weights())
    data_dir = flags.data_dir(config_of(weights.spec))
    return evaluate.run(weights, data_dir, flags.EVAL_SPLIT.value, flags.workdir())


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
_TAGS = ("top_k", "threshold", "unknown_below", "consistent", "merge_synonyms")

MODES: Mapping[str, Mode] = {
    "predict": Mode(
        _predict,
        "Predicts genres or tags of audio files of any length.",
        (
            *("files", "output", "resume", "describe", "taggram"),
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
        ("files", "output", *_TAGGING, "undo", *_TAGS, *_WINDOWS, *_WEIGHTS, "summary"),
        ("organize songs/ --output=organized/", "organize --undo --output=organized/"),
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
    "embed": Mode(
        _embed,
        "Writes an embedding per audio file.",
        ("files", "output", "prune", *_WEIGHTS, "summary"),
        ("embed songs/ --output=songs.npz", "embed a.mp3 b.flac --weights=msd_vgg --output=v.npz"),
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
        "Evaluates weights on a part of their dataset.",
        ("data_dir", "eval_split", *_WEIGHTS),
        ("eval --weights=runs/gtzan --data_dir=FOLDER", "eval --data_dir=FILE --eval_split=valid"),
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

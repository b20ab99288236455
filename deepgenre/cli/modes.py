"""The modes of `python -m deepgenre.main`, by name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepgenre.cli import flags

FILE_MODES = ("predict", "embed", "organize")  # modes that take files on the command line

# A mode takes the files on the command line and returns the exit code. Modules are imported by the
# mode that needs them: `--help` and a misspelt flag answer at once.


def _train(files: Sequence[str]) -> int:
    from deepgenre.training import train

    return train.run(flags.config(), flags.data_dir(flags.config()), flags.workdir())


def _prepare(files: Sequence[str]) -> int:
    from deepgenre.data import prepare

    return prepare.run(flags.config(), flags.data_dir(flags.config()))


def _eval(files: Sequence[str]) -> int:
    from deepgenre.evaluation import evaluate
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    weights = loading.load(*flags.weights())
    data_dir = flags.data_dir(config_of(weights.spec))
    return evaluate.run(weights, data_dir, flags.EVAL_SPLIT.value, flags.workdir())


def _predict(files: Sequence[str]) -> int:
    from deepgenre.inference import predict
    from deepgenre.weights import loading

    return predict.run(loading.load(*flags.weights()), files, flags.predict_options(threshold=0.0))


def _embed(files: Sequence[str]) -> int:
    from deepgenre.inference import embed
    from deepgenre.weights import loading

    return embed.run(loading.load(*flags.weights()), files, flags.output())


def _similar(files: Sequence[str]) -> int:
    from deepgenre.library import similar
    from deepgenre.weights import loading

    options = similar.Options(
        library=flags.LIBRARY.value,
        index=Path(flags.INDEX.value) if flags.INDEX.value else None,
        top_k=10 if flags.TOP_K.value is None else flags.TOP_K.value,
        output=flags.output(),
    )
    return similar.run(loading.load(*flags.weights()), flags.QUERY.value, options)


def _organize(files: Sequence[str]) -> int:
    from deepgenre.library import organize
    from deepgenre.weights import loading

    if flags.UNDO.value:
        return organize.undo(flags.output())
    options = flags.predict_options(threshold=organize.DEFAULT_THRESHOLD)
    return organize.run(loading.load(*flags.weights()), files, options, write=flags.WRITE.value)


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


MODES: Mapping[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "prepare": _prepare,
    "eval": _eval,
    "predict": _predict,
    "embed": _embed,
    "similar": _similar,
    "organize": _organize,
    "calibrate": _calibrate,
    "export": _export,
    "import": _import,
    "demo": _demo,
}

"""The modes of `python -m deepgenre.main`, by name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from deepgenre import command

HEARING = ("predict", "embed", "organize")  # modes that take files on the command line

# A mode takes the files on the command line and returns the exit code. Modules are imported by the
# mode that needs them: `--help` and a misspelt flag answer at once.


def _train(files: Sequence[str]) -> int:
    from deepgenre import train

    return train.run(command.config(), command.data_dir(command.config()), command.workdir())


def _prepare(files: Sequence[str]) -> int:
    from deepgenre import prepare

    return prepare.run(command.config(), command.data_dir(command.config()))


def _eval(files: Sequence[str]) -> int:
    from deepgenre import evaluate, weights

    restored = weights.load(*command.weights())
    data_dir = command.data_dir(ConfigDict(dict(restored.spec.config)))
    return evaluate.run(restored, data_dir, command.EVAL_SPLIT.value, command.workdir())


def _predict(files: Sequence[str]) -> int:
    from deepgenre import predict, weights

    return predict.run(weights.load(*command.weights()), files, command.listening(threshold=0.0))


def _embed(files: Sequence[str]) -> int:
    from deepgenre import embed, weights

    return embed.run(weights.load(*command.weights()), files, command.output())


def _similar(files: Sequence[str]) -> int:
    from deepgenre import similar, weights

    options = similar.Options(
        library=command.LIBRARY.value,
        index=Path(command.INDEX.value) if command.INDEX.value else None,
        top_k=10 if command.TOP_K.value is None else command.TOP_K.value,
        output=command.output(),
    )
    return similar.run(weights.load(*command.weights()), command.QUERY.value, options)


def _organize(files: Sequence[str]) -> int:
    from deepgenre import organize, weights

    if command.UNDO.value:
        return organize.undo(command.output())
    options = command.listening(threshold=organize.SURE)
    return organize.run(weights.load(*command.weights()), files, options, write=command.WRITE.value)


def _calibrate(files: Sequence[str]) -> int:
    from deepgenre import calibrate, weights

    restored = weights.load(*command.weights())
    data_dir = command.data_dir(ConfigDict(dict(restored.spec.config)))
    return calibrate.run(restored, data_dir, command.output(), command.DTYPE.value)


def _export(files: Sequence[str]) -> int:
    from deepgenre import export, weights

    return export.run(weights.load(*command.weights()), command.output(), command.DTYPE.value)


def _import(files: Sequence[str]) -> int:
    from deepgenre import import_weights

    wheel = Path(command.WHEEL.value) if command.WHEEL.value else None
    return import_weights.run(command.SOURCE.value, wheel)


def _demo(files: Sequence[str]) -> int:
    from deepgenre import demo

    return demo.run(command.config(), command.data_dir(command.config()), command.workdir())


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

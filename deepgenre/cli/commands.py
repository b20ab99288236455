"""What each mode runs: a function of the files of the command line that returns the exit code.

Modules are imported by the mode that needs them, so that `--help` and errors of flags take no time.
"""

from collections.abc import Sequence
from pathlib import Path

from deepgenre.cli import flags, values
from deepgenre.errors import UserError


def train(files: Sequence[str]) -> int:
    """Runs mode `train`; returns the exit code."""
    from deepgenre.training import cross_validation, train

    config = values.config()
    run = cross_validation.run if config.folds and config.fold < 0 else train.run
    return run(config, values.data_dir(config), values.workdir())


def prepare(files: Sequence[str]) -> int:
    """Runs mode `prepare`; returns the exit code."""
    from deepgenre import config
    from deepgenre.data import prepare

    config.check(values.config())
    return prepare.run(values.config(), values.data_dir(values.config()), values.summary())


def evaluate_weights(files: Sequence[str]) -> int:
    """Runs mode `eval`; returns the exit code."""
    from deepgenre import log
    from deepgenre.evaluation import evaluate
    from deepgenre.library import mapping
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    sources = values.weights_side_by_side()
    networks = {name: (loading.load(*each), each) for name, each in sources.items()}
    first = next(iter(networks.values()))[0]
    config = values.data_config()
    if config is None and flags.CONFIG.value is not None:
        for difference in evaluate.data_differences(values.config(), first):
            log.warning(
                "--config without --weights names the run, whose own data settings are used (%s); "
                "give --weights as well to use those of --config",
                difference,
            )
    path = Path(flags.MAPPING.value) if flags.MAPPING.value else None
    options = evaluate.Options(
        data_dir=values.data_dir(config_of(first.spec) if config is None else config),
        part=flags.EVAL_SPLIT.value,
        config=config,
        mapping=mapping.read_pairs(path) if path else None,
        exclude_unknown=flags.EXCLUDE_UNKNOWN.value,
        output=values.output(),
        workdir=Path(flags.WORKDIR.value) if flags.WORKDIR.value else None,
        near_duplicates=flags.NEAR_DUPLICATES.value,
    )
    return evaluate.run(networks, options)


def audit(files: Sequence[str]) -> int:
    """Runs mode `audit`; returns the exit code."""
    from deepgenre.evaluation import evaluate
    from deepgenre.evaluation.audit import run as audits

    data = None
    if flags.WEIGHTS.value or flags.WORKDIR.value:
        from deepgenre.weights import loading
        from deepgenre.weights.spec import config_of

        config = config_of(loading.load(*values.weights()).spec)
        given = Path(flags.WORKDIR.value) if flags.WORKDIR.value else None
        workdir = evaluate.place_of(values.weights(), given)
        data = audits.Data(config, values.data_dir(config), workdir)
    elif flags.CONFIG.value:
        data = audits.Data(values.config(), values.data_dir(values.config()))
    return audits.run([*map(Path, files)], data, values.output())


def robustness(files: Sequence[str]) -> int:
    """Runs mode `robustness`; returns the exit code."""
    from deepgenre.evaluation import evaluate, robustness
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    sources = values.weights()
    weights = loading.load(*sources)
    data_dir = values.data_dir(config_of(weights.spec))
    given = Path(flags.WORKDIR.value) if flags.WORKDIR.value else None
    place = evaluate.place_of(sources, given)
    return robustness.run(weights, data_dir, flags.EVAL_SPLIT.value, place)


def predict(files: Sequence[str]) -> int:
    """Runs mode `predict`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.inference import predict

    networks = {
        name: values.load(sources) for name, sources in values.weights_side_by_side().items()
    }
    options = values.predict_options(predict.Options().choice)
    return predict.run_side_by_side(networks, expand(files), options)


def embed(files: Sequence[str]) -> int:
    """Runs mode `embed`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.inference import embed

    weights = values.load(values.weights())
    return embed.run(
        weights, expand(files), values.output(), values.summary(), prune=flags.PRUNE.value
    )


def similar(files: Sequence[str]) -> int:
    """Runs mode `similar`; returns the exit code."""
    from deepgenre.library import similar

    options = similar.Options(
        library=flags.LIBRARY.value,
        index=Path(flags.INDEX.value) if flags.INDEX.value else None,
        top_k=10 if flags.TOP_K.value is None else flags.TOP_K.value,
        output=values.output(),
        summary=values.summary(),
        copies=flags.COPIES.value,
        prune=flags.PRUNE.value,
    )
    return similar.run(values.load(values.weights()), [*flags.QUERY.value, *files], options)


def explain(files: Sequence[str]) -> int:
    """Runs mode `explain`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.explain import run
    from deepgenre.weights import loading

    options = run.Options(
        output=values.output(),
        target=flags.TARGET.value,
        method=flags.METHOD.value,
        start_seconds=flags.START_SECONDS.value,
        window_seconds=flags.WINDOW_SECONDS.value,
        hop_seconds=flags.HOP_SECONDS.value,
        summary=values.summary(),
    )
    return run.run(loading.load(*values.weights()), expand(files), options)


def organize(files: Sequence[str]) -> int:
    """Runs mode `organize`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.inference import thresholds
    from deepgenre.library import organize

    if flags.UNDO.value:
        return organize.undo(values.output(), files)
    weights = values.load(values.weights())
    options = values.predict_options(thresholds.library_choice(weights.spec))
    return organize.run(
        weights, expand(files), options, write=flags.WRITE.value, tagging=values.tagging()
    )


def watch(files: Sequence[str]) -> int:
    """Runs mode `watch`; returns the exit code."""
    from deepgenre.inference import thresholds
    from deepgenre.library import watch

    weights = values.load(values.weights())
    options = watch.Options(
        predict=values.predict_options(thresholds.library_choice(weights.spec)),
        tagging=values.tagging(),
        write=flags.WRITE.value,
        poll_seconds=flags.POLL_SECONDS.value,
        settle_seconds=flags.SETTLE_SECONDS.value,
    )
    return watch.run(weights, files, options)


def duplicates(files: Sequence[str]) -> int:
    """Runs mode `duplicates`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.library import duplicates

    return duplicates.run(expand(files), values.output(), values.summary())


def report(files: Sequence[str]) -> int:
    """Runs mode `report`; returns the exit code."""
    from deepgenre.evaluation.report import report

    data_dir = Path(flags.DATA_DIR.value) if flags.DATA_DIR.value else None
    return report.run(values.workdir(), data_dir, values.output())


def compare(files: Sequence[str]) -> int:
    """Runs mode `compare`; returns the exit code."""
    from deepgenre.evaluation.report import compare

    return compare.run([*map(Path, files)], flags.EVAL_SPLIT.value, values.output())


def figures(files: Sequence[str]) -> int:
    """Runs mode `figures`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.evaluation.report import paper_figures

    config = values.config() if flags.CONFIG.value else None
    workdir = values.workdir() if flags.WORKDIR.value or not config else None
    data_dir = Path(flags.DATA_DIR.value) if flags.DATA_DIR.value else None
    return paper_figures.run(config, workdir, data_dir, expand(files), values.output())


def style(files: Sequence[str]) -> int:
    """Runs mode `style`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import style
    from deepgenre.weights import loading

    if not flags.STYLE.value:
        raise UserError("--style: give the song whose textures are imposed")
    sources, options = values.weights(), values.experiment_options()
    weights, songs = loading.load(*sources), expand(files).files
    return style.run(weights, " + ".join(sources), songs, Path(flags.STYLE.value), options)


def generate(files: Sequence[str]) -> int:
    """Runs mode `generate`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import generate
    from deepgenre.weights import loading

    sources, options = values.weights(), values.experiment_options()
    weights, songs = loading.load(*sources), expand(files).files
    return generate.run(weights, " + ".join(sources), songs, options)


def filters(files: Sequence[str]) -> int:
    """Runs mode `filters`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import filters
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    options = filters.Options(
        output=values.output(),
        layer=flags.LAYER.value,
        channels=values.channels(),
        num_excerpts=4 if flags.TOP_K.value is None else flags.TOP_K.value,
        summary=values.summary(),
    )
    weights = loading.load(*values.weights())
    if files or not flags.DATA_DIR.value:
        return filters.run_on_files(weights, expand(files), options)
    data_dir = values.data_dir(config_of(weights.spec))
    return filters.run_on_dataset(weights, data_dir, flags.EVAL_SPLIT.value, options)


def calibrate(files: Sequence[str]) -> int:
    """Runs mode `calibrate`; returns the exit code."""
    from deepgenre.evaluation import calibrate
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    weights = loading.load(*values.weights())
    data_dir = values.data_dir(config_of(weights.spec))
    return calibrate.run(weights, data_dir, values.output(), flags.DTYPE.value)


def export(files: Sequence[str]) -> int:
    """Runs mode `export`; returns the exit code."""
    from deepgenre.inference import export_graph
    from deepgenre.weights import export, loading

    weights, output = loading.load(*values.weights()), values.output()
    if output is not None and output.suffix in export_graph.WRITERS:
        return export_graph.run(weights, output)
    return export.run(weights, output, flags.DTYPE.value)


def import_weights(files: Sequence[str]) -> int:
    """Runs mode `import`; returns the exit code."""
    from deepgenre.weights import import_published

    wheel = Path(flags.WHEEL.value) if flags.WHEEL.value else None
    return import_published.run(flags.SOURCE.value, wheel)


def demo(files: Sequence[str]) -> int:
    """Runs mode `demo`; returns the exit code."""
    from deepgenre.cli import demo

    return demo.run(values.config(), values.data_dir(values.config()), values.workdir())

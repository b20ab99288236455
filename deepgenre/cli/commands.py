"""What each mode runs: a function of the files of the command line that returns the exit code.

Modules are imported by the mode that needs them, so that `--help` and errors of flags take no time.
"""

from collections.abc import Sequence
from pathlib import Path

from deepgenre.cli import flags, values
from deepgenre.errors import UserError


def train(files: Sequence[str]) -> int:
    """Runs mode `train`; returns the exit code."""
    from deepgenre.training import cross_validation, sweep, train

    config = values.config()
    if config.seeds or flags.SWEEP.value:
        axes = values.sweep(config)
        return sweep.run(config, values.data_dir(config), values.workdir(), axes)
    run = cross_validation.run if config.folds and config.fold < 0 else train.run
    return run(config, values.data_dir(config), values.workdir())


def prepare(files: Sequence[str]) -> int:
    """Runs mode `prepare`; returns the exit code."""
    from deepgenre import config
    from deepgenre.data import prepare

    config.check(values.config())
    data_dir = values.data_dir(values.config())
    return prepare.run(values.config(), data_dir, values.summary(), cluster=flags.CLUSTER.value)


def download(files: Sequence[str]) -> int:
    """Runs mode `download`; returns the exit code."""
    from deepgenre.data.downloads import fetch

    data_dir = values.path_of(flags.DATA_DIR)
    return fetch.run(files, fetch.Options(data_dir, flags.MIRROR.value))


def evaluate_weights(files: Sequence[str]) -> int:
    """Runs mode `eval`; returns the exit code."""
    from deepgenre import log
    from deepgenre.evaluation import evaluate
    from deepgenre.library import mapping
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    sources = values.weights_side_by_side()
    networks = {name: (loading.load_tagger(*each), each) for name, each in sources.items()}
    first = next(iter(networks.values()))[0]
    config = values.data_config()
    if config is None and flags.CONFIG.value is not None:
        for difference in evaluate.data_differences(values.config(), first):
            log.warning(
                "--config without --weights names the run, whose own data settings are used (%s); "
                "give --weights as well to use those of --config",
                difference,
            )
    pairs = values.path_of(flags.MAPPING)
    options = evaluate.Options(
        data_dir=values.data_dir(config_of(first.spec) if config is None else config),
        part=flags.EVAL_SPLIT.value,
        config=config,
        mapping=mapping.read_pairs(pairs) if pairs else None,
        exclude_unknown=flags.EXCLUDE_UNKNOWN.value,
        output=values.output(),
        workdir=values.path_of(flags.WORKDIR),
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

        config = config_of(loading.load_tagger(*values.weights()).spec)
        given = values.path_of(flags.WORKDIR)
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
    weights = loading.load_tagger(*sources)
    data_dir = values.data_dir(config_of(weights.spec))
    given = values.path_of(flags.WORKDIR)
    place, source = evaluate.place_of(sources, given), " + ".join(sources)
    return robustness.run(weights, source, data_dir, flags.EVAL_SPLIT.value, place)


def predict(files: Sequence[str]) -> int:
    """Runs mode `predict`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.inference import predict

    by_name = values.weights_side_by_side()
    networks = {name: values.load_tagger(sources) for name, sources in by_name.items()}
    options = values.predict_options(predict.Options().choice)
    elsewhere = None
    if address := values.cluster():
        from deepgenre.inference import on_cluster

        elsewhere = on_cluster.predictor(address, by_name)
    return predict.run_side_by_side(networks, expand(files), options, elsewhere)


def embed(files: Sequence[str]) -> int:
    """Runs mode `embed`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.inference import embed

    sources = values.weights()
    weights = values.load(sources)
    options = embed.Options(
        output=values.output(),
        index=values.path_of(flags.INDEX),
        describe=flags.DESCRIBE.value,
        paths=flags.PATHS.value,
        summary=values.summary(),
        prune=flags.PRUNE.value,
    )
    elsewhere = None
    if address := values.cluster():
        from deepgenre.inference import on_cluster

        elsewhere = on_cluster.embedder(address, sources)
    return embed.run(weights, expand(files), options, elsewhere)


def similar(files: Sequence[str]) -> int:
    """Runs mode `similar`; returns the exit code."""
    from deepgenre.library import similar
    from deepgenre.library.similar_options import Options

    options = Options(
        library=flags.LIBRARY.value,
        index=values.path_of(flags.INDEX),
        top_k=10 if flags.TOP_K.value is None else flags.TOP_K.value,
        output=values.output(),
        summary=values.summary(),
        copies=flags.COPIES.value,
        prune=flags.PRUNE.value,
        similarity=flags.SIMILARITY.value,
        exclude=flags.EXCLUDE.value,
        artist_gap=flags.ARTIST_GAP.value,
        path_to=values.path_of(flags.PATH_TO),
        explain=values.path_of(flags.EXPLAIN),
    )
    return similar.run(values.load(values.weights()), [*flags.QUERY.value, *files], options)


def overlap(files: Sequence[str]) -> int:
    """Runs mode `overlap`; returns the exit code."""
    from deepgenre.library import overlap

    top_k = 10 if flags.TOP_K.value is None else flags.TOP_K.value
    return overlap.run([*map(Path, files)], values.output(), flags.PATHS.value, top_k)


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
        resume=flags.RESUME.value,
        summary=values.summary(),
    )
    return run.run(loading.load_tagger(*values.weights()), expand(files), options)


def organize(files: Sequence[str]) -> int:
    """Runs mode `organize`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.inference import thresholds
    from deepgenre.library import organize

    if flags.UNDO.value:
        return organize.undo(values.output(), files)
    weights = values.load_tagger(values.weights())
    options = values.predict_options(thresholds.library_choice(weights.spec))
    return organize.run(
        weights,
        expand(files),
        options,
        write=flags.WRITE.value,
        tagging=values.tagging(),
        moods=values.moods(),
    )


def watch(files: Sequence[str]) -> int:
    """Runs mode `watch`; returns the exit code."""
    from deepgenre.inference import thresholds
    from deepgenre.library import watch

    weights = values.load_tagger(values.weights())
    options = watch.Options(
        predict=values.predict_options(thresholds.library_choice(weights.spec)),
        tagging=values.tagging(),
        write=flags.WRITE.value,
        poll_seconds=flags.POLL_SECONDS.value,
        settle_seconds=flags.SETTLE_SECONDS.value,
    )
    return watch.run(weights, files, options, values.moods())


def fewshot(files: Sequence[str]) -> int:
    """Runs mode `fewshot`; returns the exit code."""
    from deepgenre.fewshot import run
    from deepgenre.weights import loading

    source, *others = values.weights()
    if others:
        raise UserError("--weights: give one; of several, write their ensemble with export first")
    options = run.Options(
        examples=[*flags.EXAMPLES.value, *files],
        output=values.output(),
        library=flags.LIBRARY.value,
        ask=flags.ASK.value,
        index=values.path_of(flags.INDEX),
        summary=values.summary(),
    )
    return run.run(loading.load(source), source, options)


def serve(files: Sequence[str]) -> int:
    """Runs mode `serve`; returns the exit code."""
    from deepgenre.server import run

    return run.run(values.server_settings(files))


def duplicates(files: Sequence[str]) -> int:
    """Runs mode `duplicates`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.library import duplicates

    return duplicates.run(expand(files), values.output(), values.summary())


def report(files: Sequence[str]) -> int:
    """Runs mode `report`; returns the exit code."""
    from deepgenre.evaluation.report import report

    data_dir = values.path_of(flags.DATA_DIR)
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
    data_dir = values.path_of(flags.DATA_DIR)
    return paper_figures.run(config, workdir, data_dir, expand(files), values.output())


def style(files: Sequence[str]) -> int:
    """Runs mode `style`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import style
    from deepgenre.weights import loading

    if not flags.STYLE.value:
        raise UserError("--style: give the song whose textures are imposed")
    sources, options = values.weights(), values.experiment_options()
    weights, songs = loading.load_tagger(*sources), expand(files).files
    return style.run(weights, " + ".join(sources), songs, Path(flags.STYLE.value), options)


def generate(files: Sequence[str]) -> int:
    """Runs mode `generate`; returns the exit code."""
    from deepgenre.audio.discover import expand
    from deepgenre.synthesis import generate
    from deepgenre.weights import loading

    sources, options = values.weights(), values.experiment_options()
    weights, songs = loading.load_tagger(*sources), expand(files).files
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
    weights = loading.load_tagger(*values.weights())
    if files or not flags.DATA_DIR.value:
        return filters.run_on_files(weights, expand(files), options)
    data_dir = values.data_dir(config_of(weights.spec))
    return filters.run_on_dataset(weights, data_dir, flags.EVAL_SPLIT.value, options)


def calibrate(files: Sequence[str]) -> int:
    """Runs mode `calibrate`; returns the exit code."""
    from deepgenre.evaluation import calibrate
    from deepgenre.weights import loading
    from deepgenre.weights.spec import config_of

    weights = loading.load_tagger(*values.weights())
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

    given = {"wheel": flags.WHEEL.value, "folder": flags.FOLDER.value}
    copies = {flag: Path(path) if path else None for flag, path in given.items()}
    return import_published.run(flags.SOURCE.value, copies)


def demo(files: Sequence[str]) -> int:
    """Runs mode `demo`; returns the exit code."""
    from deepgenre.cli import demo

    return demo.run(values.config(), values.data_dir(values.config()), values.workdir())


def doctor(files: Sequence[str]) -> int:
    """Runs mode `doctor`; returns the exit code."""
    from deepgenre.doctor import examine

    given = flags.WEIGHTS.value or []
    sources = [source for value in given for source in map(flags.expand, value.split(","))]
    config = values.config() if flags.CONFIG.value is not None else None
    workdir = values.path_of(flags.WORKDIR)
    if config is None and flags.DATA_DIR.value:
        raise UserError("--data_dir: give --config as well, which says how the dataset is read")
    data_dir = values.data_dir(config) if config is not None else None
    return examine.run(sources, workdir, config, data_dir)

"""Predictions and embeddings by the workers of a cluster, in shards of files, in their order."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from deepgenre import executors
from deepgenre.errors import UserError
from deepgenre.files import Fingerprint
from deepgenre.inference import embed, predict
from deepgenre.inference.embed import Embedded, EmbedFiles
from deepgenre.inference.infer import InferBatch, compile_infer_batch, with_windows
from deepgenre.inference.predict import Options, Predict
from deepgenre.inference.prediction_files.rows import Prediction
from deepgenre.weights import loading
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Weights

FILES_PER_SHARD = 32  # what a worker that dies loses
SHARDS_AHEAD = 512  # in the hands of the scheduler: more than clusters have workers
Source = tuple[str, ...]  # of weights; several form an ensemble


def predictor(address: str, sources: Mapping[str, Sequence[str]]) -> Predict:
    """Returns `predict.predictions` by the workers of a cluster, see `executors.cluster`.

    sources: of each network, which workers load themselves. Raises UserError when used with
    taggrams, whose names depend on all files, and where workers find other weights.
    """

    def predictions(
        networks: Mapping[str, Weights],
        files: Sequence[Path],
        fingerprints: Mapping[Path, Fingerprint | None],
        failures: Mapping[Path, str],
        options: Options,
        infer: Sequence[InferBatch] = (),
    ) -> Generator[tuple[float, Prediction]]:
        del infer  # of this process
        if options.taggram:
            raise UserError("--taggram: is not possible with --cluster; leave one of them out")
        wanted = {
            name: (_everywhere(sources[name]), model_digest(weights))
            for name, weights in networks.items()
        }
        sent = dataclasses.replace(options, output=None, summary=None)
        tasks = (
            (wanted, [(path.absolute(), fingerprints[path]) for path in shard],
             _absolute(failures, shard), sent)
            for shard in _shards(files)
        )  # fmt: skip
        with executors.cluster(address, _places(files)) as pool:
            given = iter(files)
            for results in in_order(pool, _predict_shard, tasks):
                for seconds, prediction in results:
                    yield seconds, _renamed(prediction, next(given))

    return predictions


def embedder(address: str, sources: Sequence[str]) -> EmbedFiles:
    """Returns `embed.embed_files` by the workers of a cluster, see `executors.cluster`.

    sources: of the weights. Raises UserError, when used, where workers find other weights.
    """

    def embed_files(
        weights: Weights,
        files: Sequence[Path],
        failures: Mapping[Path, str],
        names: Collection[str],
    ) -> Generator[Embedded]:
        wanted = _everywhere(sources), model_digest(weights)
        tasks = ((*wanted, shard, _absolute(failures, shard), names) for shard in _shards(files))
        with executors.cluster(address, _places(files)) as pool:
            for results in in_order(pool, _embed_shard, tasks):
                yield from results

    return embed_files


def in_order(
    pool: Executor, function: Callable[..., Any], tasks: Iterable[Sequence[Any]]
) -> Generator[Any]:
    """Yields the result of each task, in their order; submits SHARDS_AHEAD of them ahead."""
    left = iter(tasks)
    waiting: collections.deque[Future[Any]] = collections.deque()
    while True:
        for task in itertools.islice(left, SHARDS_AHEAD - len(waiting)):
            waiting.append(pool.submit(function, *task))
        if not waiting:
            return
        yield waiting.popleft().result()


def _shards(files: Sequence[Path]) -> Iterable[list[Path]]:
    starts = range(0, len(files), FILES_PER_SHARD)
    return (list(files[start : start + FILES_PER_SHARD]) for start in starts)


def _everywhere(source: Sequence[str]) -> Source:
    """Returns sources of weights with paths as they are from any folder; names stay."""
    return tuple(str(Path(one).absolute()) if Path(one).exists() else one for one in source)


def _absolute(failures: Mapping[Path, str], shard: Sequence[Path]) -> dict[Path, str]:
    return {path.absolute(): failures[path] for path in shard if path in failures}


def _places(files: Sequence[Path]) -> list[Path]:
    """Returns a file that exists, which all workers must see."""
    return [*itertools.islice((path for path in files if path.exists()), 1)]


def _renamed(prediction: Prediction, path: Path) -> Prediction:
    error = prediction.error.replace(str(prediction.path), str(path))
    return dataclasses.replace(prediction, path=path, error=error)


def _predict_shard(
    wanted: Mapping[str, tuple[Source, str]],
    files: Sequence[tuple[Path, Fingerprint | None]],
    failures: Mapping[Path, str],
    options: Options,
) -> list[tuple[float, Prediction]]:
    """Returns `predict.predictions` of the files, in a worker."""
    loaded = [
        _loaded(source, digest, options.window_seconds, options.hop_seconds)
        for source, digest in wanted.values()
    ]
    networks = dict(zip(wanted, (weights for weights, _ in loaded), strict=True))
    paths = [path for path, _ in files]
    infer = [batch for _, batch in loaded]
    return [*predict.predictions(networks, paths, dict(files), failures, options, infer)]


def _embed_shard(
    source: Source,
    digest: str,
    files: Sequence[Path],
    failures: Mapping[Path, str],
    names: Collection[str],
) -> list[Embedded]:
    """Returns `embed.embed_files` of the files, in a worker."""
    weights, infer_batch = _loaded(source, digest, 0.0, 0.0)
    return [*embed.embed_files(weights, files, failures, names, infer_batch)]


@functools.lru_cache(maxsize=8)
def _loaded(
    source: Source, digest: str, window_seconds: float, hop_seconds: float
) -> tuple[Weights, InferBatch]:
    """Returns weights, and what scores windows with them, once per worker."""
    weights = with_windows(loading.load(*source), window_seconds, hop_seconds)
    if model_digest(weights) != digest:
        raise UserError(f"--cluster: workers find other weights at {source[0]}; copy them there")
    return weights, compile_infer_batch(weights)

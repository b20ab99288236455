"""The worker process: decodes and analyses one song at a time, apart from the server.

A job that takes too long, or that crashes what it calls, ends this process and not the server.
"""

import dataclasses
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from deepgenre import devices, interrupt, log
from deepgenre.errors import UserError
from deepgenre.inference.infer import BATCH_WINDOWS
from deepgenre.library import policies
from deepgenre.server import explaining, library_tags, own_genres, retagging
from deepgenre.server.analysis import Json, Network, Watch, analyse
from deepgenre.server.job import Job
from deepgenre.server.settings import Settings
from deepgenre.weights import loading
from deepgenre.weights.digest import model_digest


class Worker(NamedTuple):
    """What jobs need."""

    settings: Settings
    networks: Mapping[str, Network]
    watch: Watch


def run(connection: Connection, cancelled: Any, settings: Settings) -> None:
    """Runs the worker until the server ends.

    Sends ('ready', what `describe` returns) or ('failed', message), then per job, as (kind, value):
    'progress', and last 'result', 'error' (a sentence) or 'bug' (a traceback).
    cancelled: an event that is set to end the job in progress.
    """
    os.setpgid(0, 0)  # killed together with the programs that it starts
    interrupt.end_with_parent()
    devices.set_up()
    log.quieten_libraries()
    log.set_quiet(True)
    try:
        loaded = {name: loading.load(*each) for name, each in settings.weights.items()}
        networks = {name: Network.of(weights) for name, weights in loaded.items()}
    except UserError as error:
        connection.send(("failed", str(error)))
        return
    for network in networks.values():
        _warm_up(network)
    connection.send(("ready", {name: describe(one, settings) for name, one in networks.items()}))

    def report(value: Json) -> None:
        connection.send(("progress", value))

    with log.without_library_notes():
        while True:
            job = connection.recv()
            watch = Watch(report, cancelled.is_set, settings.limits.song_seconds)
            connection.send(_outcome(Worker(settings, networks, watch), job))


def describe(network: Network, settings: Settings) -> Json:
    """Returns what the server has to know of weights."""
    spec = network.weights.spec
    tagging = policies.resolve(settings.tagging, multi_label=spec.multi_label)
    return {
        "network": spec.model,
        "classes": list(spec.classes),
        "many_tags": spec.multi_label,
        "window_seconds": round(spec.window_frames / spec.frontend.frames_per_second, 3),
        "field": tagging.field,
        "digest": model_digest(network.weights),
    }


def _warm_up(network: Network) -> None:
    """Compiles the network for every size of a batch, so that the first song is not slow."""
    spec = network.weights.spec
    shape = (spec.window_frames, spec.frontend.stored_bands)
    levels = np.zeros(shape, spec.frontend.stored_dtype)
    count = BATCH_WINDOWS
    while count:
        np.asarray(network.infer_batch(np.stack([levels] * count))["scores"])
        count //= 2


def _outcome(worker: Worker, job: Job) -> tuple[str, Any]:
    try:
        return "result", JOBS[job.kind](worker, job)
    except UserError as error:
        return "error", str(error).removeprefix(f"{job.path}: ").replace(str(job.path), "the file")
    except OSError as error:
        return "error", f"the file cannot be read ({error.strerror})"
    except Exception:
        print(traceback.format_exc(), file=sys.stderr)
        return "bug", traceback.format_exc()


def _analyse(worker: Worker, job: Job) -> Json:
    return analyse(worker.networks[job.weights], job.path, worker.watch)


def _explain(worker: Worker, job: Job) -> Json:
    return explaining.explain_window(worker.networks[job.weights], job.path, **job.options)


def _window_embeddings(worker: Worker, job: Job) -> Json:
    return own_genres.window_embeddings(worker.networks[job.weights], job.path, worker.watch)


def _learn(worker: Worker, job: Job) -> Json:
    body = worker.networks[job.weights].weights
    return own_genres.learn(body, worker.settings.weights[job.weights], **job.options)


def _predicted(worker: Worker, job: Job) -> Json:
    return library_tags.predicted(job.path, [*worker.networks.values()])


def _change_tags(worker: Worker, job: Job) -> Json:
    assert worker.settings.output
    spec = worker.networks[job.weights].weights.spec
    given = worker.settings.tagging
    tagging = policies.resolve(given, multi_label=spec.multi_label)
    if not given.policy:  # a person chose these tags: they take the place of the others
        tagging = dataclasses.replace(tagging, policy="replace")
    return retagging.change(worker.settings.output, job.path, tagging=tagging, **job.options)


def _take_back(worker: Worker, job: Job) -> Json:
    assert worker.settings.output
    return retagging.take_back(worker.settings.output, job.path)


JOBS: Mapping[str, Callable[[Worker, Job], Json]] = {
    "analyse": _analyse,
    "explain": _explain,
    "window_embeddings": _window_embeddings,
    "learn": _learn,
    "predicted": _predicted,
    "change_tags": _change_tags,
    "take_back": _take_back,
}

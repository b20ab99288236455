"""What a channel of a convolution responds to: excerpts of songs, and a maximised spectrogram."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.audio import frontend as front_end
from deepgenre.audio import sounds
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data.sampling import window
from deepgenre.synthesis import differentiable, inversion, responses
from deepgenre.synthesis.optimisation import Prior, compile_descent
from deepgenre.synthesis.responses import Item, Top
from deepgenre.weights.spec import Spec, Weights

PRIOR = Prior(distance=1e-2, smoothness=1.0)
STEPS = 100
STEP_DB = 1.0
NOISE_DB = 6.0
SHORTEST_SECONDS = 1.0  # of an excerpt as sound: shorter responses get what is around them


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A part of a window, and what a channel responds to in it."""

    name: str  # of the song
    path: Path | None  # of its audio; None for clips of a store, and what was maximised
    response: float
    start_seconds: float  # in the song
    decibels: np.ndarray  # float32 (frames, n_mels): mel power
    used: tuple[int, int, int, int]  # frames and bands of it that the response depends on


@dataclasses.dataclass(frozen=True)
class Maximised:
    """A spectrogram found by activation maximisation, and as sound."""

    excerpt: Excerpt
    waveform: np.ndarray  # float32 (samples,)
    sound_response: float  # the largest to the sound


@dataclasses.dataclass(frozen=True)
class Channel:
    """A channel, what it responds to, and what was maximised."""

    index: int
    mean: float
    deviation: float
    maximised: Maximised
    excerpts: list[Excerpt]


def examine(weights: Weights, layer: str, top: Top, channels: Sequence[int]) -> list[Channel]:
    """Returns what the channels respond to."""
    frontend = weights.spec.frontend
    span = responses.compile_span(weights.spec, layer)
    maximise = _compile_maximisation(weights, layer, top)

    def excerpt(channel: int, response: float, item: Item) -> Excerpt:
        used = span(weights.variables, item.levels, channel)
        return _excerpt(item, front_end.stored_db(item.levels, frontend), response, used, frontend)

    return [
        Channel(
            channel,
            float(top.mean()[channel]),
            float(top.deviation()[channel]),
            maximise(channel),
            [excerpt(channel, response, item) for response, item in top.best[channel]],
        )
        for channel in channels
    ]


def _excerpt(
    item: Item, decibels: np.ndarray, response: float, span: np.ndarray, frontend: FrontEnd
) -> Excerpt:
    """Returns the part of a window that a response depends on, of at least SHORTEST_SECONDS.

    decibels: of the window.
    """
    first, last, low, high = span.tolist()
    rate = frontend.frames_per_second
    begin, end = _widened(first, last, round(SHORTEST_SECONDS * rate), len(decibels))
    start_seconds = item.start_seconds + begin / rate
    used = (first - begin, last - begin, low, high)
    return Excerpt(item.name, item.path, response, start_seconds, decibels[begin:end], used)


def _widened(first: int, last: int, least: int, length: int) -> tuple[int, int]:
    """Returns a span of at least `least` within 0..length that contains first..last."""
    missing = max(0, least - (last - first))
    begin = max(0, min(first - missing // 2, length - least))
    return begin, min(length, max(last, begin + least))


def _compile_maximisation(weights: Weights, layer: str, top: Top) -> Callable[[int], Maximised]:
    """Returns the function of a channel to the spectrogram that maximises its response.

    It begins with the mean levels of the windows of `top`, of which it changes what the middle of
    the map depends on.
    """
    spec, respond = weights.spec, jax.jit(responses.of_layer(weights.spec, layer))
    mean_db = front_end.stored_db(top.level_sum / top.count, spec.frontend)
    start_db = np.tile(mean_db, (spec.window_frames, 1))
    loudest_db = (
        0.0 if spec.frontend.kind != "musicnn" else differentiable.loudest(start_db, spec.frontend)
    )
    middle = _middle(spec, layer, loudest_db)
    span = responses.span_of(_dependence(middle, weights.variables, start_db))
    begin, end = span[0], span[1]

    def loss(key: jax.Array, variables: Any, part_db: jax.Array) -> jax.Array:
        del key
        of_network, channel, deviation = variables
        decibels = jnp.asarray(start_db).at[begin:end].set(part_db)
        return -middle(of_network, decibels)[channel] / deviation

    part = start_db[begin:end]
    descend = compile_descent(loss, PRIOR, part.shape, steps=STEPS, step_db=STEP_DB)
    evaluate = jax.jit(lambda variables, part_db: loss(jax.random.key(0), variables, part_db))

    def maximise(channel: int) -> Maximised:
        deviation = max(float(top.deviation()[channel]), 1e-9)
        variables = (weights.variables, channel, deviation)
        part_db = np.minimum(descend(part, variables, 0, f"channel {channel}")[0], loudest_db)
        response = -float(evaluate(variables, part_db)) * deviation
        whole_db = start_db.copy()
        whole_db[begin:end] = part_db
        item = Item("maximised", None, 0.0, whole_db)
        excerpt = _excerpt(item, whole_db, response, span, spec.frontend)
        power = 10 ** (excerpt.decibels / 10)
        waveform = sounds.at_peak(inversion.from_mel_power(power, spec.frontend))
        levels = window(front_end.levels(waveform, spec.frontend), 0, spec.window_frames)
        response = float(np.asarray(respond(weights.variables, levels[None]))[0, channel])
        return Maximised(excerpt, waveform, response)

    return maximise


def _middle(spec: Spec, layer: str, loudest_db: float) -> Callable[[Any, jax.Array], jax.Array]:
    """Returns the function of variables and decibels to the responses in the middle, (channels,).

    Over time; over bands the largest.
    """
    network = differentiable.network_of(spec, loudest_db)

    def middle(variables: Any, decibels: jax.Array) -> jax.Array:
        map_ = network(variables, decibels).maps[layer]
        at_middle = map_[map_.shape[0] // 2, map_.shape[1] // 2]
        return at_middle.reshape(-1, at_middle.shape[-1]).max(axis=0)

    return middle


def _dependence(
    middle: Callable[[Any, jax.Array], jax.Array], variables: Any, start_db: np.ndarray
) -> np.ndarray:
    """Returns the gradient of all channels of the middle, with noise that activates them."""
    noise = np.random.default_rng(0).normal(0, NOISE_DB, start_db.shape).astype(np.float32)

    @jax.jit
    def gradient(variables: Any, decibels: jax.Array) -> jax.Array:
        return jax.grad(lambda decibels: middle(variables, decibels).sum())(decibels)

    return np.asarray(gradient(variables, start_db + noise))

"""Features that no parameter changes, computed once per training window instead of in each step."""

import dataclasses
from typing import Any

import jax
import numpy as np

from deepgenre import log, models
from deepgenre.config import Config
from deepgenre.data.augmentation import Augmentation
from deepgenre.data.pipeline import Element, ReadWindows
from deepgenre.data.store import Records
from deepgenre.training.plan import Plan
from deepgenre.weights import spec as specs
from deepgenre.weights.state import State

COMPUTED_TOGETHER = 8  # windows
WINDOWS_PER_CLIP = 2  # on average, at most: lengths of whole clips differ by a few frames


@dataclasses.dataclass(frozen=True, eq=False)
class ReadFeatures:
    """Looks up {'features': (clips, features)} of the windows that begin at given frames."""

    features: np.ndarray  # float32 (windows, features): of clip 0 from frames 0, 1 ..., of clip 1
    first: np.ndarray  # int64 (clips,): row of each clip's window from frame 0

    def __call__(self, clips: np.ndarray, starts: np.ndarray) -> Element:
        """Returns the features of the windows that begin at frames `starts` of `clips`."""
        return {"features": self.features[self.first[clips] + starts]}


def read_features(
    state: State, plan: Plan, config: Config, records: Records
) -> ReadFeatures | None:
    """Returns the features of every window that training can draw from the training clips.

    None where features depend on parameters, are augmented, or windows are too many: these are
    computed in each step.
    """
    window_frames = plan.spec.window_frames
    counts = np.maximum(records.frames - window_frames, 0) + 1  # windows of each clip
    if (
        not models.network(config.model).fixed_features
        or Augmentation(**config.augment) != Augmentation()
        or plan.input_frames != window_frames  # the device draws the window
        or counts.sum() > WINDOWS_PER_CLIP * len(records)
    ):
        return None
    first = np.cumsum(counts) - counts
    clips = np.repeat(np.arange(len(records)), counts)
    starts = np.arange(len(clips)) - first[clips]
    return ReadFeatures(
        _compute(state, plan, ReadWindows(records, window_frames), clips, starts), first
    )


def _compute(
    state: State, plan: Plan, read: ReadWindows, clips: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    module = specs.build(plan.spec)
    variables = {"params": state.params, "batch_stats": state.batch_stats}

    @jax.jit
    def features_of(levels: jax.Array) -> jax.Array:
        x = specs.features_of(levels, plan.spec)
        sown: Any = module.apply(variables, x, train=False, mutable=["intermediates"])[1]
        (features,) = sown["intermediates"]["features"]
        return features

    computed: list[Any] = []
    with log.progress(None, total=len(clips), unit="clip", title="features") as bar:
        for start in range(0, len(clips), COMPUTED_TOGETHER):
            # The last batch repeats its last window: one shape, so one compilation.
            batch = np.arange(start, start + COMPUTED_TOGETHER).clip(max=len(clips) - 1)
            computed.append(jax.device_get(features_of(**read(clips[batch], starts[batch]))))
            bar.update(min(COMPUTED_TOGETHER, len(clips) - start))
    return np.concatenate(computed)[: len(clips)]

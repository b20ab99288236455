r"""Measures the methods of explanation: deletion, insertion, completeness, a planted cue, speed.

    python benchmarks/explanations.py --weights=mtt_musicnn --data_dir=FOLDER/mp3 --clips=50
    python benchmarks/explanations.py --weights=gtzan --data_dir=gtzan_mel_dev.npz --clips=50
    python benchmarks/explanations.py --weights=mtt_musicnn --data_dir=FOLDER/mp3 --clips=2 \
        --methods=integrated_gradients --fixed_steps    # the time of 64 steps
    python benchmarks/explanations.py --planted --data_dir=gtzan_mel_dev.npz --clips=50

data_dir: a folder of audio files, of which evenly spaced ones are taken, a window from the middle
of each; or an .npz of spectrograms, of which evenly spaced clips of the part 'valid' are taken.
Explained is the class with the highest score.

deletion, insertion: mean areas under the curves of `explain.curves`, and of random orders of the
same segments; p: of Wilcoxon's signed-rank test over clips, one-sided, that the map's is better.
completeness: the largest relative error. seconds: the median per window, after compilation, without
the curves.

--planted: trains a small network, on the clips of the part 'train', to tell whether a cue was
planted in a window (a rising tone, CUE_FRAMES x CUE_BANDS), and plants it in windows of 'valid'.
found: share of the windows where the map's maximum is within the cue, or TOLERANCE of the plane's
sides from it (the pointing game; J. Zhang et al., ECCV 2016). chance: the mean share of the plane
that counts as found.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import optax
import scipy.stats
from absl import app, flags

from deepgenre import config as defaults
from deepgenre.audio import frontend, waveforms
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.explain import explanation, gradients
from deepgenre.explain.explanation import METHODS, Explanation
from deepgenre.explain.sound import smoothed
from deepgenre.training.step import Recipe, compile_train_step
from deepgenre.weights import loading
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights
from deepgenre.weights.state import inference_variables, initial_state

_WEIGHTS = flags.DEFINE_string("weights", "gtzan", "Weights to explain.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Audio files, or .npz.", required=True)
_CLIPS = flags.DEFINE_integer("clips", 50, "Number of windows.")
_METHODS = flags.DEFINE_list("methods", list(METHODS), "Methods to measure.")
_PLANTED = flags.DEFINE_bool("planted", False, "Measure on a planted cue instead.")
_FIXED = flags.DEFINE_bool("fixed_steps", False, "Integrate in 64 steps only, to measure speed.")
_STEPS = flags.DEFINE_integer("steps", 200, "Training steps of the network of --planted.")

CUE_FRAMES, CUE_BANDS = 16, 24
WINDOW_FRAMES = 96
TOLERANCE = 0.07  # of each side, as in the paper: 15 of 224 pixels
BATCH = 32


def main(argv: Sequence[str]) -> None:
    """Prints a table."""
    del argv
    if _FIXED.value:
        gradients.DOUBLINGS, gradients.MAX_STEPS = 0, gradients.STEPS
    if _PLANTED.value:
        weights = trained_on_cue(clips_of("train"))
        windows, boxes = planted(clips_of("valid")[: _CLIPS.value], np.random.default_rng(1))
        merits(weights, windows, boxes, "cue")
    else:
        weights = loading.load(_WEIGHTS.value)
        merits(weights, windows_of(weights.spec), [], "")


def merits(
    weights: Weights, windows: Sequence[np.ndarray], boxes: Sequence[tuple[int, int]], target: str
) -> None:
    """Prints a row per method, after every ten windows and the last."""
    print(f"{weights.spec.model}, {len(windows)} windows", flush=True)
    methods, times = [], {}
    for method in _METHODS.value:
        try:
            explanation.attribute(weights, windows[0], target, method)  # compiles
        except UserError as error:
            print(f"{method:<21} {error}", flush=True)
            continue
        methods.append(method)
        times[method] = [seconds_of(weights, one, target, method) for one in windows[:5]]
    found = []
    for number, window in enumerate(windows):
        found.append(explanation.explain_by_each(weights, window, target, methods))
        if number % 10 == 9 or number == len(windows) - 1:
            for index, method in enumerate(methods):
                print(number + 1, row(method, [one[index] for one in found], times[method], boxes))
            print(flush=True)


def row(
    method: str,
    found: Sequence[Explanation],
    times: Sequence[float],
    boxes: Sequence[tuple[int, int]],
) -> str:
    """Returns the figures of a method."""
    merit = {name: np.array([one.merit[name] for one in found]) for name in found[0].merit}
    text = [f"{method:<21}"]
    for name, better in (("deletion", "less"), ("insertion", "greater")):
        by_map, random = merit[name], merit[f"random_{name}"]
        _, p = scipy.stats.wilcoxon(by_map, random, alternative=better)
        text.append(f"{name} {by_map.mean():.3f} (random {random.mean():.3f}, p {p:.1e})")
    error = max(one.completeness_error for one in found)
    text.append(f"completeness {'-' if np.isnan(error) else f'{error:.1e}'}")
    if boxes:
        hits = [is_found(one, box) for one, box in zip(found, boxes, strict=False)]
        text.append(f"found {np.mean(hits):.2f} (chance {chance(found[0], boxes):.2f})")
    return "  ".join([*text, f"{np.median(times):.2f} s"])


def seconds_of(weights: Weights, window: np.ndarray, target: str, method: str) -> float:
    """Returns the time of a map, without its curves."""
    start = time.perf_counter()
    explanation.attribute(weights, window, target, method)
    return time.perf_counter() - start


def is_found(one: Explanation, box: tuple[int, int]) -> bool:
    """Returns whether the map's maximum is at the cue whose first frame and band are given."""
    values = smoothed(one.map, one.seconds_per_frame)
    peak = np.unravel_index(np.argmax(values), values.shape)
    return bool(near(one, box)[peak])


def near(one: Explanation, box: tuple[int, int]) -> np.ndarray:
    """Returns which cells of the plane count as found."""
    frames, bands = np.indices(one.map.shape)
    reach = TOLERANCE * np.array(one.map.shape)
    in_time = (frames >= box[0] - reach[0]) & (frames < box[0] + CUE_FRAMES + reach[0])
    return in_time & (bands >= box[1] - reach[1]) & (bands < box[1] + CUE_BANDS + reach[1])


def chance(one: Explanation, boxes: Sequence[tuple[int, int]]) -> float:
    """Returns the mean share of the plane that counts as found."""
    return float(np.mean([near(one, box).mean() for box in boxes]))


def windows_of(spec: Spec) -> list[np.ndarray]:
    """Returns the levels of the windows to explain."""
    if _DATA_DIR.value.endswith(".npz"):
        clips = clips_of("valid")
        chosen = [
            clips[index] for index in np.linspace(0, len(clips) - 1, _CLIPS.value).astype(int)
        ]
        return [clip[: spec.window_frames] for clip in chosen]
    files = sorted(path for path in Path(_DATA_DIR.value).rglob("*") if path.is_file())
    windows = []
    for index in np.linspace(0, len(files) - 1, _CLIPS.value).astype(int):
        levels = frontend.levels(
            waveforms.load(files[index], spec.frontend.sample_rate_hz), spec.frontend
        )
        first = (len(levels) - spec.window_frames) // 2
        windows.append(levels[first : first + spec.window_frames])
    return windows


def clips_of(part: str) -> np.ndarray:
    """Returns the levels of a part of the .npz, (clips, frames, bands), in a fixed random order."""
    with np.load(_DATA_DIR.value) as stored:
        clips = stored["mel"][stored["split"] == part].swapaxes(1, 2)
    return clips[np.random.default_rng(0).permutation(len(clips))]


def planted(
    clips: np.ndarray, generator: np.random.Generator
) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Returns a window of each clip with a cue, and the cue's first frame and band."""
    windows, boxes = [], []
    for window in _windows(clips, generator):
        frame = int(generator.integers(WINDOW_FRAMES - CUE_FRAMES))
        band = int(generator.integers(window.shape[1] - CUE_BANDS))
        for step in range(CUE_FRAMES):
            line = band + step * (CUE_BANDS - 2) // (CUE_FRAMES - 1)
            window[frame + step, line : line + 2] = 255
        windows.append(window)
        boxes.append((frame, band))
    return windows, boxes


def _windows(clips: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    starts = generator.integers(clips.shape[1] - WINDOW_FRAMES + 1, size=len(clips))
    return [
        clip[start : start + WINDOW_FRAMES].copy()
        for clip, start in zip(clips, starts, strict=True)
    ]


def trained_on_cue(clips: np.ndarray) -> Weights:
    """Returns a small network that tells windows with a cue from others; prints its accuracy."""
    spec = Spec(
        model="short_chunk",
        network={"width": 0.0625, "dropout": 0.2},
        classes=("cue", "none"),
        multi_label=False,
        frontend=FrontEnd(hop_length=1712),
        mean=float(clips.mean()),
        deviation=float(clips.std()),
        window_frames=WINDOW_FRAMES,
        hop_frames=WINDOW_FRAMES,
        clip_seconds=30.0,
        config=defaults.get_config().to_dict(),
    )
    module, tx = specs.build(spec), optax.adam(optax.cosine_decay_schedule(3e-3, _STEPS.value))
    state = initial_state(module, tx, (1, WINDOW_FRAMES, clips.shape[2]), seed=0)
    step = compile_train_step(spec, tx, Recipe(), num_devices=1)
    generator = np.random.default_rng(0)
    for number in range(_STEPS.value):
        state, scalars = step(state, _batch(clips, generator))
        if number % 20 == 0:
            print(f"step {number}: loss {float(scalars['loss']):.3f}", flush=True)
    variables = jax.device_get(inference_variables(state))
    held_out = [_batch(clips_of("valid"), generator) for _ in range(4)]
    apply = jax.jit(
        lambda levels: module.apply(variables, specs.features_of(levels, spec), train=False)
    )
    correct = [np.argmax(apply(b["levels"]), axis=1) == b["labels"] for b in held_out]
    print(f"accuracy on {4 * BATCH} windows of 'valid': {np.mean(correct):.3f}", flush=True)
    return Weights(spec, variables, _STEPS.value, {})


def _batch(clips: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns a batch; every second window has a cue."""
    chosen = clips[generator.integers(len(clips), size=BATCH)]
    with_cue, _ = planted(chosen[::2], generator)
    without = _windows(chosen[1::2], generator)
    labels = np.array([0] * len(with_cue) + [1] * len(without), np.int32)
    return {"levels": np.stack(with_cue + without), "labels": labels}


if __name__ == "__main__":
    app.run(main)

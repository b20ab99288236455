"""Measures the imported taggers on the 50 GTZAN clips: genres without training, moods, speed.

    .venv/bin/python benchmarks/taggers.py DATA [--speed]

DATA: the folder with `gtzan_audio/genres` and `weights`. Prints the accuracy of YAMNet's ten genres
with its 95 % interval and confusions, agreement with ai-edge-litert where that is installed, mean
scores of moods and energy by genre, and of Choi's taggers the mean and deviation of levels and the
statistics of norms. --speed: seconds
of audio per second of each network, on one file list, after a first pass that compiles.
"""

import argparse
import collections
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binomtest

from deepgenre.audio import decoding, frontend, waveforms
from deepgenre.audio.describe import Describer
from deepgenre.inference import energy
from deepgenre.inference.infer import compile_infer_batch, infer_files
from deepgenre.weights import choi, loading
from deepgenre.weights.spec import Weights, build, features_of

GENRES = {  # of GTZAN -> class of YAMNet
    "blues": "Blues",
    "classical": "Classical music",
    "country": "Country",
    "disco": "Disco",
    "hiphop": "Hip hop music",
    "jazz": "Jazz",
    "metal": "Heavy metal",
    "pop": "Pop music",
    "reggae": "Reggae",
    "rock": "Rock music",
}
NAMES = ("yamnet", "choi_cnn", "choi_crnn", "choi_compact", "moods", "msd_musicnn")


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    clips = sorted((arguments.data / "gtzan_audio/genres").glob("*/*.wav"))
    if arguments.speed:
        for name in NAMES:
            speed(loading.load(name), name, clips[::5])
        return
    zero_shot(loading.load("yamnet"), clips)
    moods(loading.load("moods"), clips)
    levels_of_choi(clips[::2])
    for name in ("choi_cnn", "choi_crnn"):
        norms_of_choi(loading.load(name), name, clips[::5])
    litert(loading.load("yamnet"), arguments.data / "weights/yamnet/yamnet.tflite", clips)


def song_scores(weights: Weights, clips: list[Path]) -> np.ndarray:
    """Returns the mean scores over the windows of each clip, float (clips, classes)."""
    return np.stack([outputs.scores.mean(axis=0) for outputs in infer_files(weights, clips)])


def zero_shot(weights: Weights, clips: list[Path]) -> None:
    """Prints the accuracy of the most probable of the ten classes, with Wilson's interval."""
    columns = [weights.spec.classes.index(name) for name in GENRES.values()]
    scores = song_scores(weights, clips)[:, columns]
    names, truth = [*GENRES], [clip.parent.name for clip in clips]
    predicted = [names[index] for index in scores.argmax(axis=1)]
    correct = sum(map(str.__eq__, truth, predicted))
    interval = binomtest(correct, len(clips)).proportion_ci(0.95, "wilson")
    print(
        f"yamnet, ten genres: {correct} of {len(clips)} correct, {correct / len(clips):.2f} "
        f"[{interval.low:.2f}, {interval.high:.2f}]"
    )
    for genre in names:
        found = collections.Counter(p for t, p in zip(truth, predicted, strict=True) if t == genre)
        print(f"  {genre}: {', '.join(f'{n} {p}' for p, n in found.most_common())}")


def moods(weights: Weights, clips: list[Path]) -> None:
    """Prints the mean scores of moods, and the energy, of each genre."""
    scores, by_genre = song_scores(weights, clips), collections.defaultdict(list)
    for clip, row in zip(clips, scores, strict=True):
        describer = Describer(["loudness"])
        for _ in decoding.blocks(clip, observe=describer.observe):
            pass
        value = energy.of_song(row, weights.spec.classes, describer.values())
        by_genre[clip.parent.name].append([*row, value])
    print(f"genre: {', '.join(weights.spec.classes)}, energy")
    for genre, rows in by_genre.items():
        print(f"  {genre}: {', '.join(f'{mean:.2f}' for mean in np.mean(rows, axis=0))}")


def levels_of_choi(clips: list[Path]) -> None:
    """Prints mean and deviation of the levels of all clips."""
    front_end = choi._front_end(choi.DYNAMIC_RANGE_DB)
    levels = [
        frontend.levels(waveforms.load(clip, front_end.sample_rate_hz), front_end).ravel()
        for clip in clips
    ]
    joined = np.concatenate(levels).astype(np.float64)
    print(f"choi: levels of mean {joined.mean():.1f}, deviation {joined.std():.1f}")


def norms_of_choi(weights: Weights, name: str, clips: list[Path]) -> None:
    """Prints, per layer, how far activations on real music differ from the file's batch norms.

    The median over channels of observed by recorded deviation: 1 where kernels, norms and input are
    read as in training. Beside it, two other readings of the file.
    """
    spec, module = weights.spec, build(weights.spec)

    @jax.jit
    def convolved(variables: Any, levels: jax.Array) -> dict[str, Any]:
        captured: Any = module.apply(
            variables,
            features_of(levels, spec),
            train=False,
            capture_intermediates=lambda layer, _: layer.name == "Conv_0",
            mutable=["intermediates"],
        )[1]["intermediates"]
        blocks = {block: each for block, each in captured.items() if "Conv_0" in each}
        axes = (0, 1, 2)
        outputs = {block: each["Conv_0"]["__call__"][0] for block, each in blocks.items()}
        return {b: (x.mean(axis=axes), jnp.square(x).mean(axis=axes)) for b, x in outputs.items()}

    levels = []
    for clip in clips:
        waveform = waveforms.load(clip, spec.frontend.sample_rate_hz)
        levels.append(frontend.levels(waveform, spec.frontend)[: spec.window_frames])
    flipped, as_variance = (jax.tree.map(np.array, weights.variables) for _ in range(2))
    for block in [block for block in flipped["params"] if block.startswith("ConvBlock")]:
        layer = flipped["params"][block]["Conv_0"]
        layer["kernel"] = layer["kernel"][::-1, ::-1]
        norm = as_variance["batch_stats"][block]["BatchNorm_0"]
        norm["var"] = np.sqrt(norm["var"])
    readings = {"": weights.variables, " flipped": flipped, " as variance": as_variance}
    for reading, variables in readings.items():
        moments = [convolved(variables, one[None]) for one in levels if len(one) == 1366]
        mean = jax.tree.map(lambda *each: np.mean(each, axis=0), *moments)
        ratios = []
        for block, (first, second) in sorted(mean.items()):
            recorded = variables["batch_stats"][block]["BatchNorm_0"]["var"]
            ratios.append(np.median(np.sqrt((second - first**2) / recorded)))
        print(f"{name}{reading}: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def litert(weights: Weights, model: Path, clips: list[Path]) -> None:
    """Prints the differences between YAMNet's scores here and by ai-edge-litert, per window."""
    try:
        from ai_edge_litert.interpreter import Interpreter  # pyright: ignore
    except ImportError:
        print("yamnet: ai-edge-litert is not installed")
        return
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    output = interpreter.get_output_details()[0]["index"]
    score = jax.jit(lambda x: build(weights.spec).apply(weights.variables, x, train=False))
    differences, same = [], []
    for clip in clips:
        samples = waveforms.load(clip, 16_000)[80_000 : 80_000 + weights.spec.window_frames]
        interpreter.set_tensor(0, samples[None])
        interpreter.invoke()
        expected = interpreter.get_tensor(output)[0]
        ours = np.asarray(jax.nn.sigmoid(score(samples[None, :, None])))[0]
        differences.append(np.abs(ours - expected).max())
        same.append(ours.argmax() == expected.argmax())
    print(
        f"yamnet and ai-edge-litert, {len(clips)} windows: same best class in {sum(same)}; largest "
        f"difference of a score: median {np.median(differences):.3f}, most {max(differences):.3f}"
    )


def speed(weights: Weights, name: str, clips: list[Path]) -> None:
    """Prints seconds of audio per second of wall time, decoding included."""
    infer_batch = compile_infer_batch(weights)
    elapsed = seconds = 0.0
    for _ in range(2):
        start, seconds = time.perf_counter(), 0.0
        for outputs in infer_files(weights, clips, infer_batch=infer_batch):
            seconds += outputs.seconds
        elapsed = time.perf_counter() - start
    print(f"{name}: {seconds / elapsed:.0f} x real time ({seconds:.0f} s of audio)")


if __name__ == "__main__":
    main()

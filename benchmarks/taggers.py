"""Measures the imported taggers on the 50 GTZAN clips: genres without training, moods, speed.

    .venv/bin/python benchmarks/taggers.py DATA [--speed]

DATA: the folder with `gtzan_audio/genres` and `weights`. Prints the accuracy of YAMNet's ten genres
with its 95 % interval and confusions, agreement with ai-edge-litert where that is installed, mean
scores of moods and energy by genre, and the mean and deviation of Choi's levels. --speed: seconds
of audio per second of each network, on one file list, after a first pass that compiles.
"""

import argparse
import collections
import time
from pathlib import Path

import jax
import numpy as np
from scipy.stats import binomtest

from deepgenre.audio import decoding, frontend, waveforms
from deepgenre.audio.describe import Describer
from deepgenre.inference import energy
from deepgenre.inference.infer import compile_infer_batch, infer_files
from deepgenre.weights import choi, loading
from deepgenre.weights.spec import Weights, build

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
    levels_of_choi(clips)
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
    for _ in range(2):
        start, seconds = time.perf_counter(), 0.0
        for outputs in infer_files(weights, clips, infer_batch=infer_batch):
            seconds += outputs.seconds
        elapsed = time.perf_counter() - start
    print(f"{name}: {seconds / elapsed:.0f} x real time ({seconds:.0f} s of audio)")


if __name__ == "__main__":
    main()

"""Audio against stored spectrograms, and which clips are unlike the training clips, out of fold.

    python benchmarks/unfamiliar.py --data_dir=FOLDER/gtzan_mel_dev.npz --cache=FOLDER \\
        --audio_dir=GTZAN --unlabelled_dir=FOLDER_OF_MAGNATAGATUNE

The kernel machine of the large feature set is fitted to the training folds of
benchmarks/kernel_folds.py. Clips of the held-out fold are scored from their stored spectrogram and,
where --audio_dir has them, from their audio, by the same machine: how often the top class is the
same, and how far the scores are apart.

A clip is refused if the mean of its largest kernel values with reference clips is below that of
95 % of the held-out clips. The references are the training clips; or these and the same without
the bands above CUT_HZ; or both sides are compared without these bands. Printed is the share refused
of the audio, of the audio resampled to 16 kHz, of the same as mp3 of 32 kbit/s, and of
MagnaTagATune, which has that format. Mean over the seeds of the folds.
"""

import dataclasses
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import kernel_folds
import librosa
import numpy as np
import pretraining
import scipy.special
from absl import app, flags

from deepgenre.audio import frontend, waveforms
from deepgenre.data import pipeline, sampling
from deepgenre.data.folds import assign_folds
from deepgenre.models.feature_groups import CLIP, FEATURE_SETS
from deepgenre.models.kernel_ridge import NEAREST
from deepgenre.training import kernel
from deepgenre.training.plan import Plan
from deepgenre.training.pretrain import describe_clips
from deepgenre.weights.spec import features_of

_AUDIO_DIR = flags.DEFINE_string("audio_dir", None, "GTZAN's audio, or a part.", required=True)

CUT_HZ = 7500
REFUSED = 0.05  # share of the held-out clips
FORMATS = {  # options of ffmpeg, and the file's suffix
    "audio": ((), ".wav"),
    "16 kHz": (("-ar", "16000"), ".wav"),
    "mp3 32k": (("-ar", "16000", "-ac", "1", "-b:a", "32k"), ".mp3"),
}


def audio_levels(
    plan: Plan, paths: Sequence[Path], options: Sequence[str], suffix: str
) -> np.ndarray:
    """Returns stored levels of files after ffmpeg, uint8 (files, frames, bands)."""
    spec, found = plan.spec, []
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"copy{suffix}"
            command = ["ffmpeg", "-loglevel", "error", "-i", str(path), *options, str(copy)]
            subprocess.run(command, check=True)
            waveform = waveforms.load(copy, spec.frontend.sample_rate_hz)
        levels = frontend.levels(waveform, spec.frontend)
        found.append(sampling.window(levels, 0, spec.window_frames))
    return np.stack(found)


def without_high_bands(levels: np.ndarray, plan: Plan) -> np.ndarray:
    """Returns levels with the bands above CUT_HZ at the floor."""
    highest = plan.spec.frontend.sample_rate_hz / 2
    centres = librosa.mel_frequencies(levels.shape[-1] + 2, fmin=0, fmax=highest)[1:-1]
    return np.where(centres > CUT_HZ, 0, levels).astype(np.uint8)


def with_references(machine: kernel.KernelMachine, others: kernel.Groups) -> kernel.KernelMachine:
    """Returns the machine with more clips to compare with; only its kernel is of use."""
    clips, squares = {}, {}
    for name, values in others.items():
        rows = np.clip((values - machine.means[name]) / machine.deviations[name], -CLIP, CLIP)
        clips[name] = np.concatenate([machine.clips[name], rows])
        squares[name] = np.concatenate([machine.squares[name], np.square(rows).sum(axis=1)])
    return dataclasses.replace(machine, clips=clips, squares=squares)


def nearest(machine: kernel.KernelMachine, features: kernel.Groups) -> np.ndarray:
    """Returns the mean of the largest kernel values of each clip."""
    return np.sort(machine.kernel(features), axis=1)[:, -NEAREST:].mean(axis=1)


def of(features: kernel.Groups, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the groups of the large set of some clips."""
    return {name: features[name][chosen] for name in FEATURE_SETS["large"]}


def one_seed(
    folds: np.ndarray, labels: np.ndarray, sets: Mapping[str, kernel.Groups], rows: np.ndarray
) -> dict[str, float]:
    """Returns the figures for one assignment of clips to folds.

    sets: features of the clips, of others, and of the audio of `rows` of the clips, also with the
    prefix 'low ' without high bands.
    """
    similar: dict[tuple[str, str], list[np.ndarray]] = {}
    same, apart, hits = [], [], {name: [] for name in ("stored", *FORMATS)}
    for fold in range(kernel_folds.NUM_FOLDS):
        kept, held_out, audio = folds != fold, folds == fold, folds[rows] == fold
        targets = np.eye(10)[labels[kept]]
        machine = kernel.fit(of(sets["clips"], kept), targets)
        low = kernel.fit(of(sets["low clips"], kept), targets)
        both = with_references(machine, of(sets["low clips"], kept))
        references = {"training clips": (machine, ""), "and without high bands": (both, "")}
        references |= {"both sides without high bands": (low, "low ")}
        for reference, (compared, prefix) in references.items():
            for name in ("clips", "others", *FORMATS):
                given = sets[prefix + name]
                chosen = {"clips": held_out, "others": np.ones(len(given["chroma"]), bool)}
                values = nearest(compared, of(given, chosen.get(name, audio)))
                similar.setdefault((reference, name), []).append(values)
        scaled = machine.scaled(4.5)
        scores = {
            "stored": scaled.logits(of(sets["clips"], rows[audio])),
            **{name: scaled.logits(of(sets[name], audio)) for name in FORMATS},
        }
        for name, logits in scores.items():
            hits[name] += list(logits.argmax(axis=1) == labels[rows[audio]])
        same += list(scores["stored"].argmax(axis=1) == scores["audio"].argmax(axis=1))
        probabilities = [scipy.special.softmax(scores[n], axis=1) for n in ("stored", "audio")]
        apart.append(np.abs(probabilities[0] - probabilities[1]).mean(axis=1))
    results = {"clips of audio": len(same), "same class": sum(same)}
    results |= {"mean difference of scores": float(np.concatenate(apart).mean())}
    results |= {f"accuracy, {name}": float(np.mean(values)) for name, values in hits.items()}
    for (reference, name), values in similar.items():
        threshold = np.quantile(np.concatenate(similar[reference, "clips"]), REFUSED)
        refused = float((np.concatenate(values) < threshold).mean())
        results[f"refused by {reference}, {name}"] = refused
    return results


def main(_: list[str]) -> None:
    """Prints the mean and the values of each seed."""
    plan, prepared = pretraining.plan_of_clips()
    clips = plan.parts["train"]
    labels = pipeline.encode_labels(clips, plan.spec.classes, multi_label=False)
    others = pretraining.unlabelled(flags.FLAGS.store_dir)
    features, of_others = pretraining.described(plan, others)
    index = {row.key.rsplit("/", 1)[-1]: number for number, row in enumerate(clips)}
    paths = sorted(Path(_AUDIO_DIR.value).rglob("*.wav"))
    paths = [path for path in paths if path.stem in index]
    rows = np.array([index[path.stem] for path in paths])
    banks = pretraining.cached("banks", dict)

    def described(levels: np.ndarray) -> dict[str, np.ndarray]:
        return describe_clips(features_of(jnp.asarray(levels), plan.spec), banks, "large")

    sets: dict[str, kernel.Groups] = {"clips": features, "others": of_others}
    levels = {"clips": pretraining.levels_of(prepared, clips, plan.spec.window_frames)}
    levels["others"] = others
    for name, (options, suffix) in FORMATS.items():
        levels[name] = audio_levels(plan, paths, options, suffix)
        sets[name] = pretraining.cached(name, lambda n=name: described(levels[n]))
    for name, values in levels.items():
        low = without_high_bands(values, plan)
        sets[f"low {name}"] = pretraining.cached(f"low {name}", lambda v=low: described(v))
    per_seed = []
    for seed in flags.FLAGS.seeds:
        fold_of = assign_folds(clips, kernel_folds.NUM_FOLDS, int(seed))
        folds = np.array([fold_of[row.key] for row in clips])
        per_seed.append(one_seed(folds, labels, sets, rows))
    for name in per_seed[0]:
        values = [results[name] for results in per_seed]
        print(f"{name:55s} {np.mean(values):.4f} ({' '.join(f'{v:.4g}' for v in values)})")


if __name__ == "__main__":
    app.run(main)

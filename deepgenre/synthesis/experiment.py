"""What style transfer and generation share: excerpt, optimisation, sound, scores, files."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepgenre import log
from deepgenre.audio import sounds
from deepgenre.audio.mel import power_to_db
from deepgenre.errors import UserError, unknown_name
from deepgenre.files import write_json
from deepgenre.inference import aggregation
from deepgenre.inference.infer import infer_files
from deepgenre.synthesis import differentiable, inversion
from deepgenre.synthesis.optimisation import Loss, Prior, compile_descent
from deepgenre.weights.spec import Spec, Weights

MIN_SECONDS = 1.0
MAX_SECONDS = 60.0
LEAST_SECONDS_CHOSEN = 10.0
MAX_STEPS = 100_000
STEP_DB = 1.0


class Scorer(NamedTuple):
    """Weights that score sound before and after."""

    role: str  # 'optimised', or 'second' for the one that takes no part
    name: str  # of its weights
    weights: Weights


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of style transfer and generation; `cli.flags` describes each."""

    output: Path | None
    check: Sequence[Scorer] = ()  # networks that take no part
    target: str = ""
    start_seconds: float = 0.0
    seconds: float = 0.0  # 0: see `length_seconds`
    steps: int = 200
    seed: int = 0

    def length_seconds(self, spec: Spec) -> float:
        """Returns the length of the excerpt: by default a window, but at least 10 s."""
        window_seconds = spec.window_frames / spec.frontend.frames_per_second
        return self.seconds or max(LEAST_SECONDS_CHOSEN, window_seconds)


@dataclasses.dataclass(frozen=True)
class Result:
    """A spectrogram that was optimised, as sound."""

    waveform: np.ndarray  # float32 (samples,)
    before_db: np.ndarray  # float32 (frames, n_mels): mel power
    wanted_db: np.ndarray  # likewise, as optimised
    after_db: np.ndarray  # likewise, of the waveform
    losses: list[float]


def check_options(options: Options, networks: Sequence[Scorer]) -> Path:
    """Returns the folder of the results; raises UserError where an option is out of range."""
    if options.seconds and not MIN_SECONDS <= options.seconds <= MAX_SECONDS:
        raise UserError(
            f"--seconds: must be {MIN_SECONDS:g} to {MAX_SECONDS:g}, is {options.seconds:g}"
        )
    if not 0 <= options.start_seconds < float("inf"):
        raise UserError(f"--start_seconds: must be 0 or more, is {options.start_seconds:g}")
    if not 1 <= options.steps <= MAX_STEPS:
        raise UserError(f"--steps: must be 1 to {MAX_STEPS}, is {options.steps}")
    for network in networks:
        if options.target and options.target not in network.weights.spec.classes:
            what = f"--target: of {network.name}"
            raise unknown_name(what, options.target, network.weights.spec.classes)
    return new_folder(options.output)


def new_folder(folder: Path | None) -> Path:
    """Returns the folder for results; raises UserError unless it is new or empty."""
    if folder is None:
        raise UserError("--output: give a folder for sounds, figure and numbers")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--output: {folder} exists; give a new or an empty folder")
    return folder


def decibels(waveform: np.ndarray, spec: Spec) -> np.ndarray:
    """Returns mel power in dB, float32 (frames, n_mels), of a waveform at the spec's rate."""
    return power_to_db(inversion.mel_power(waveform, spec.frontend))


def resynthesise(
    waveform: np.ndarray, weights: Weights, loss: Loss, prior: Prior, options: Options, title: str
) -> Result:
    """Returns a waveform, changed so that its spectrogram lowers the loss."""
    spec, before_db = weights.spec, decibels(waveform, weights.spec)
    descend = compile_descent(loss, prior, before_db.shape, steps=options.steps, step_db=STEP_DB)
    wanted_db, losses = descend(before_db, weights.variables, options.seed, title)
    wanted_db = np.minimum(wanted_db, differentiable.loudest(before_db, spec.frontend))
    changed = inversion.changed(waveform, 10 ** (wanted_db / 10), spec.frontend)
    changed = sounds.limited(changed)
    return Result(changed, before_db, wanted_db, decibels(changed, spec), losses)


def network_at(waveform: np.ndarray, spec: Spec) -> differentiable.Forward:
    """Returns the network as a function of spectrograms with the levels of a waveform."""
    loudest_db = differentiable.loudest(decibels(waveform, spec), spec.frontend)
    return differentiable.network_of(spec, loudest_db)


def scores(weights: Weights, paths: Sequence[Path]) -> np.ndarray:
    """Returns the scores of files, float32 (files, classes), as mode predict gives them."""
    rows = []
    for outputs in infer_files(weights, paths):
        if outputs.error:
            raise UserError(outputs.error)
        rows.append(aggregation.song_scores(outputs, weights.spec, "mean"))
    return np.stack(rows)


def publish(
    folder: Path,
    mode: str,
    result: Result,
    waveforms: Mapping[str, np.ndarray],
    networks: Sequence[Scorer],
    choose: Callable[[Spec, np.ndarray], int],
    fields: Mapping[str, Any],
) -> None:
    """Writes sounds and numbers, and prints those that tell whether it worked.

    waveforms: by name, 'before' and 'after' among them. choose: from scores (sounds, classes) to
    the class whose scores are reported; every network that has it reports that of the first.
    """
    rate_hz = networks[0].weights.spec.frontend.sample_rate_hz
    for name, waveform in waveforms.items():
        sounds.write(folder / f"{name}.wav", waveform, rate_hz)
    paths = [folder / f"{name}.wav" for name in waveforms]
    scored, reported = [], ""
    for network in networks:
        rows, spec = scores(network.weights, paths), network.weights.spec
        known = reported in spec.classes
        index = spec.classes.index(reported) if known else choose(spec, rows)
        reported = reported or spec.classes[index]
        of_class = dict(zip(waveforms, map(float, rows[:, index]), strict=True))
        scored.append(
            {
                "role": network.role,
                "weights": network.name,
                "class": spec.classes[index],
                "scores": of_class,
            }
        )
        values = "  ".join(f"{name} {score:.3f}" for name, score in of_class.items())
        print(f"{network.role:<9}  {network.name}: {spec.classes[index]}  {values}")
    if len(networks) == 1:
        log.warning(
            "--check: is not given, so that only the network that is optimised scores the sound; "
            "whether another one agrees is not measured"
        )
    wanted = 10 ** (result.wanted_db / 10)
    frontend = networks[0].weights.spec.frontend
    numbers = {
        **fields,
        "networks": scored,
        "sounds": {name: sounds.measure(each, rate_hz) for name, each in waveforms.items()},
        "change_db": float(np.sqrt(np.square(result.wanted_db - result.before_db).mean())),
        "spectral_convergence": inversion.spectral_convergence(result.waveform, wanted, frontend),
        "loss": result.losses,
    }
    write_json(folder / f"{mode}.json", numbers)
    for name, measured in numbers["sounds"].items():
        values = "  ".join(f"{key} {value}" for key, value in measured.items())
        log.info("%s.wav: %s", name, values)
    log.info("wrote %s", folder)

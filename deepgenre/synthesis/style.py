"""Mode `style`: the textures of one song imposed on the spectrogram of another. An experiment.

Textures are statistics of a network's feature maps (`objectives.textures`). The song's spectrogram
is changed by gradient descent until its textures are closer to those of the other song. The change
is kept small and smooth and is applied to the song as gains, so that it remains recognisable.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepgenre.errors import UserError
from deepgenre.synthesis import clips, differentiable, experiment, objectives
from deepgenre.synthesis.experiment import Options, Scorer
from deepgenre.synthesis.optimisation import Prior
from deepgenre.weights.spec import Spec, Weights

PRIOR = Prior(distance=1e-4, smoothness=1.0)


def run(weights: Weights, name: str, files: Sequence[Path], style: Path, options: Options) -> int:
    """Writes the song before and after, the style, a figure and numbers; returns exit code 0.

    name: of the weights.
    """
    networks = [Scorer("optimised", name, weights), *options.check]
    folder = experiment.check_options(options, networks)
    if len(files) != 1:
        raise UserError(f"style: give one song to change, not {len(files)}")
    spec, seconds = weights.spec, options.length_seconds(weights.spec)
    rate_hz = spec.frontend.sample_rate_hz
    song = clips.excerpt(files[0], rate_hz, options.start_seconds, seconds)
    model = clips.excerpt(style, rate_hz, options.start_seconds, seconds)
    loss = objectives.style_loss(experiment.network_at(song, spec), _textures(weights, model))
    result = experiment.resynthesise(song, weights, loss, PRIOR, options, "style")
    experiment.publish(
        folder,
        "style",
        result,
        {"before": song, "after": result.waveform, "style": model},
        networks,
        lambda spec, scores: _target(spec, scores, options.target),
        {"song": str(files[0]), "style": str(style), "seconds": seconds, "steps": options.steps},
    )
    _draw(folder, result, spec, files[0], style)
    return 0


def _textures(weights: Weights, waveform: np.ndarray) -> objectives.Textures:
    """Returns the textures of a waveform; raises UserError where the network has no convolution."""
    differentiable.layer_shapes(weights)
    network = experiment.network_at(waveform, weights.spec)

    @jax.jit
    def textures(variables: Any, decibels: jax.Array) -> objectives.Textures:
        return objectives.textures(network, variables, decibels)

    return textures(weights.variables, experiment.decibels(waveform, weights.spec))


def _target(spec: Spec, scores: np.ndarray, name: str) -> int:
    """Returns the class by name, or that by which the style exceeds the song the most.

    scores: of the song before, after, and of the style.
    """
    return spec.classes.index(name) if name else int(np.argmax(scores[2] - scores[0]))


def _draw(folder: Path, result: experiment.Result, spec: Spec, song: Path, style: Path) -> None:
    from deepgenre.evaluation.figures import style as figure_style  # matplotlib: slow to import
    from deepgenre.synthesis import figures

    figure = figures.change(result, spec, f"{song.name} with textures of {style.name}")
    figure_style.write(figure, folder / "style.png")

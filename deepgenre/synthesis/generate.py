"""Mode `generate`: sound that a network assigns to a class, from a song or from noise.

Activation maximisation on the spectrogram, with a prior: a small and smooth change of what it
begins with, and robustness to small disturbances (`objectives.class_loss`). An experiment: what
raises the score of one network need not raise another's, nor sound like the class.
"""

from collections.abc import Sequence
from pathlib import Path

from deepgenre.errors import UserError
from deepgenre.synthesis import clips, experiment, objectives
from deepgenre.synthesis.experiment import Options, Scorer
from deepgenre.synthesis.optimisation import Prior
from deepgenre.weights.spec import Weights

PRIOR = Prior(distance=1e-3, smoothness=1.0)


def run(weights: Weights, name: str, files: Sequence[Path], options: Options) -> int:
    """Writes sound before and after, a figure and numbers; returns exit code 0.

    files: the song to begin with; none: pink noise. name: of the weights.
    """
    from deepgenre.evaluation.figures import style as figure_style  # matplotlib: slow to import
    from deepgenre.synthesis import figures

    networks = [Scorer("optimised", name, weights), *options.check]
    if not options.target:
        raise UserError(f"--target: give a class: {', '.join(weights.spec.classes)}")
    folder = experiment.check_options(options, networks)
    if len(files) > 1:
        raise UserError(f"generate: give one song to begin with, or none, not {len(files)}")
    spec, seconds = weights.spec, options.length_seconds(weights.spec)
    rate_hz = spec.frontend.sample_rate_hz
    if files:
        start = clips.excerpt(files[0], rate_hz, options.start_seconds, seconds)
    else:
        start = clips.pink_noise(rate_hz, seconds, options.seed)
    network, index = experiment.network_at(start, spec), spec.classes.index(options.target)
    loss = objectives.class_loss(network, index, multi_label=spec.multi_label)
    result = experiment.resynthesise(start, weights, loss, PRIOR, options, "generate")
    experiment.publish(
        folder,
        "generate",
        result,
        {"before": start, "after": result.waveform},
        networks,
        lambda spec, scores: spec.classes.index(options.target),
        {
            "start": str(files[0]) if files else "pink noise",
            "seconds": seconds,
            "steps": options.steps,
            "seed": options.seed,
        },
    )
    source = files[0].name if files else "pink noise"
    figure = figures.change(result, spec, f"{source} towards {options.target}")
    figure_style.write(figure, folder / "generate.png")
    return 0

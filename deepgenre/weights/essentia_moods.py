"""MTG's five classifiers of moods on musicnn, as published for TensorFlow.js; no TensorFlow needed.

Essentia models *-musicnn-msd-2 (Music Technology Group, Universitat Pompeu Fabra, 2020;
https://essentia.upf.edu/models.html). Each is a graph in `model.json` and one shard of numbers. The
graphs are equal; the numbers of all layers differ: each classifier was trained as a whole from
musicnn's weights. Batch norm is folded into a factor and an offset.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepgenre.weights import musicnn, published
from deepgenre.weights.spec import Weights

SOURCE = "essentia_moods"
NAME = "moods"
MODEL, SHARD = "model.json", "group1-shard1of1.bin"
LICENCE = (
    "Models of moods: copyright Universitat Pompeu Fabra 2019-2020, Creative Commons "
    "Attribution-NonCommercial-NoDerivatives 4.0 "
    "(https://creativecommons.org/licenses/by-nc-nd/4.0/): not for commercial use, and this "
    "converted file must not be passed on. Derived from musicnn (ISC licence)."
)
# Class -> folder, index of the class among the two outputs, SHA-256 of graph and shard. The order
# of the outputs is that of the models' metadata, which is not the same for all.
MOODS = {
    "happy": (
        "mood_happy-musicnn-msd-2",
        0,
        "1f362f337bd441163f2dec7a2133ed0084239e8158cf984e716df70dae8ba877",
        "78f2bd60fe191e44bd26fe102253ea31ce2575ffe63b9e594d4ed786d8ac6d78",
    ),
    "sad": (
        "mood_sad-musicnn-msd-2",
        1,
        "a756b47983300e153c09eb55fd73c4fad78a116ae37cda4106165c324d669287",
        "f0964e240c98b22dcb630107729edc90bd0ce4b803d5bd996441428ee124a6aa",
    ),
    "relaxed": (
        "mood_relaxed-musicnn-msd-2",
        1,
        "dbc5ea28316fbfeb4befc754387d55f2a8138692ccbce16364439d1ffa7dc482",
        "9eb449802249f22d8f234fbb43637dbcc0a1c55421e1c86bb141cc2ff9dd2207",
    ),
    "aggressive": (
        "mood_aggressive-musicnn-msd-2",
        0,
        "23dcaa93989fde4b5916398298431fb85ec74d55bfe415d890c25268d9a1b913",
        "3c148997eaa27d7d597663a67280c31c4fdafcfce453fe9192e92c6da0acf44a",
    ),
    "danceable": (
        "danceability-musicnn-msd-2",
        0,
        "cc24afcbf05197bd90d1e274bdbd24db4ce106f7d49475e92573f97ef85db62d",
        "48b1789ede235c1e05599f24846185bba068dc30efd96894b6e7bbd31b674966",
    ),
}
NORM_EPSILON = 1e-3  # of `models.musicnn`
# Norms by number in the graph; 0 to 8 are fused, 9 and 10 are not.
NORMS = {
    0: ("input_norm",),
    **{n + 1: (f"front_{n}", "norm") for n in range(5)},
    **{n + 6: (f"mid_{n}_norm",) for n in range(3)},
    9: ("pool_norm",),
    10: ("dense_norm",),
}


def import_networks(folder: Path | None) -> dict[str, Weights]:
    """Returns the five classifiers as one network of five classes, by the name 'moods'.

    Raises UserError where a file is missing or is not the published one.
    """
    folder = published.check_folder(folder, SOURCE, "the five models of moods of MTG")
    moods = []
    for name, output, *sha256 in MOODS.values():
        graph = published.read(folder / name / MODEL, sha256[0], SOURCE)
        shard = published.read(folder / name / SHARD, sha256[1], SOURCE)
        moods.append(_variables(tensors(graph, shard), output))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *moods)
    variables = {collection: {"moods": tree} for collection, tree in stacked.items()}
    spec = published.spec(
        "musicnn_moods",
        [*MOODS],
        musicnn.FRONT_END,
        window_frames=musicnn.WINDOW_FRAMES,
        hop_frames=musicnn.WINDOW_FRAMES,
        clip_seconds=30.0,
    )
    return {NAME: Weights(spec, variables, step=0, metrics={}, licence=LICENCE)}


def tensors(graph: bytes, shard: bytes) -> dict[str, np.ndarray]:
    """Returns the constants of a graph by name: the shard holds them one after another."""
    constants, offset = {}, 0
    for entry in json.loads(graph)["weightsManifest"][0]["weights"]:
        dtype, shape = np.dtype(entry["dtype"]).newbyteorder("<"), entry["shape"]
        count = int(np.prod(shape))
        constants[entry["name"]] = np.frombuffer(shard, dtype, count, offset).reshape(shape)
        offset += count * dtype.itemsize
    return constants


def _variables(constants: dict[str, np.ndarray], output: int) -> dict[str, Any]:
    """Returns 'params' and 'batch_stats' of one class of `models.musicnn.MusiCNNMoods`."""
    layers = {
        name: constants[name]
        for name in constants
        if name.split("/")[0] in musicnn.MUSICNN_LAYERS and not name.startswith("dense_1/")
    }
    variables = musicnn.to_flax(layers, musicnn.MUSICNN_LAYERS)
    params, stats = variables["params"], variables["batch_stats"]
    for number, path in NORMS.items():
        factor, offset = _norm(constants, number)
        _set(params, path, {"scale": factor, "bias": offset})
        one = np.full(factor.shape, 1.0 - NORM_EPSILON, np.float32)  # the factor is folded
        _set(stats, path, {"mean": np.zeros_like(factor), "var": one})
    params["hidden"] = {leaf: constants[f"dense_1/{leaf}"] for leaf in ("kernel", "bias")}
    params["logits"] = {
        leaf: constants[f"dense_2/{leaf}"][..., output : output + 1] for leaf in ("kernel", "bias")
    }
    return variables


def _norm(constants: dict[str, np.ndarray], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns factor and offset of a batch norm."""
    layer = f"model/batch_normalization_{number}" if number else "model/batch_normalization"
    names = ("batchnorm/mul", "batchnorm/sub")
    if number < 9:
        names = ("FusedBatchNormV3/Scaled", "FusedBatchNormV3/Offset")
    return constants[f"{layer}/{names[0]}"], constants[f"{layer}/{names[1]}"]


def _set(tree: dict[str, Any], path: tuple[str, ...], leaves: dict[str, np.ndarray]) -> None:
    for part in path:
        tree = tree.setdefault(part, {})
    tree.update(leaves)

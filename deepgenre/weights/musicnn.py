"""The pretrained networks of the musicnn 0.1.0 package; no TensorFlow needed.

The package (Pons and Serra, 2019, ISC licence) is a wheel: a zip with TensorFlow checkpoints, tag
lists and licence. Nothing in it is installed or executed.
"""

import ast
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.weights import published
from deepgenre.weights.spec import Spec, Weights
from deepgenre.weights.tf_checkpoint import read_checkpoint

WHEEL = "musicnn-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
LICENCE = "musicnn-0.1.0.dist-info/LICENSE.md"
FRONT_END = FrontEnd(kind="musicnn", sample_rate_hz=16_000, n_fft=512, hop_length=256, n_mels=96)
WINDOW_FRAMES = 187  # 3 s, without overlap
NETWORKS = {  # our name -> folder in the package, name in deepgenre/models
    "mtt_musicnn": ("MTT_musicnn", "musicnn"),
    "mtt_vgg": ("MTT_vgg", "musicnn_vgg"),
    "msd_musicnn": ("MSD_musicnn", "musicnn"),
    "msd_vgg": ("MSD_vgg", "musicnn_vgg"),
}
# Training data: name in deepgenre/data/datasets, split, seconds per clip.
TRAINED_ON = {"MTT": ("mtat", "folders", 29.12), "MSD": ("folder", "group_random", 30.0)}
MUSICNN_LAYERS = {  # TensorFlow layer, numbered by order of creation -> path of the Flax layer
    "batch_normalization": ("input_norm",),
    "conv2d": ("front_0", "conv"),
    **{f"conv2d_{n}": (f"front_{n}", "conv") for n in range(1, 5)},
    **{f"batch_normalization_{n + 1}": (f"front_{n}", "norm") for n in range(5)},
    **{f"conv2d_{n + 5}": (f"mid_{n}_conv",) for n in range(3)},
    **{f"batch_normalization_{n + 6}": (f"mid_{n}_norm",) for n in range(3)},
    "batch_normalization_9": ("pool_norm",),
    "dense": ("dense",),
    "batch_normalization_10": ("dense_norm",),
    "dense_1": ("logits",),
}
VGG_LAYERS = {
    "batch_normalization": ("input_norm",),
    **{f"{n + 1}CNN": (f"conv_{n}",) for n in range(5)},
    **{f"batch_normalization_{n + 1}": (f"norm_{n}",) for n in range(5)},
    "dense": ("logits",),
}
LAYERS = {"musicnn": MUSICNN_LAYERS, "musicnn_vgg": VGG_LAYERS}
LEAVES = {  # TensorFlow variable -> (collection, leaf); Adam's variables are dropped
    "kernel": ("params", "kernel"),
    "bias": ("params", "bias"),
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}


def import_networks(wheel: Path | None) -> dict[str, Weights]:
    """Returns `read_networks` of the wheel; without one, of a temporary download (29 MB).

    Raises UserError where pip fails or the file is not the pinned wheel.
    """
    if wheel:
        return read_networks(wheel)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--dest", folder, "musicnn==0.1.0"]
        pip = subprocess.run(command, capture_output=True, text=True)
        if pip.returncode:
            reason = (pip.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise UserError(
                f"--source=musicnn: pip could not download musicnn 0.1.0 ({reason}); "
                f"download {WHEEL} on a computer with internet access and give it as --wheel=FILE"
            )
        return read_networks(Path(folder, WHEEL))


def read_networks(wheel: Path) -> dict[str, Weights]:
    """Returns the four networks by name: mtt_musicnn, mtt_vgg, msd_musicnn, msd_vgg.

    `mtt_*` predict 50 tags of MagnaTagATune, `msd_*` 50 of the Million Song Dataset. Raises
    UserError where the file is missing or is not the pinned wheel.
    """
    _check(wheel)
    with zipfile.ZipFile(wheel) as archive:
        tags = _tag_lists(archive.read("musicnn/configuration.py").decode())
        licence = archive.read(LICENCE).decode()
        return {
            name: _network(archive, folder, model, tags[folder[:3]], licence)
            for name, (folder, model) in NETWORKS.items()
        }


def _check(wheel: Path) -> None:
    try:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"{wheel}: cannot be read ({error.strerror}); set --wheel to the file {WHEEL}"
        ) from error
    if digest != WHEEL_SHA256:
        raise UserError(
            f"{wheel}: is not the wheel of musicnn 0.1.0 (sha256 {digest[:12]}..., expected "
            f"{WHEEL_SHA256[:12]}...); download it again"
        )


def _tag_lists(source: str) -> dict[str, tuple[str, ...]]:
    """Returns the literal lists `MTT_LABELS` and `MSD_LABELS` of a Python source, by 'MTT'..."""
    return {
        statement.targets[0].id[:3]: tuple(ast.literal_eval(statement.value))
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id.endswith("_LABELS")
    }


def _network(
    archive: zipfile.ZipFile, folder: str, model: str, tags: tuple[str, ...], licence: str
) -> Weights:
    tensors = read_checkpoint(
        archive.read(f"musicnn/{folder}/.index"),
        archive.read(f"musicnn/{folder}/.data-00000-of-00001"),
        f"{archive.filename}: musicnn/{folder}",
    )
    variables = to_flax(tensors, LAYERS[model])
    spec = _spec(model, tags, *TRAINED_ON[folder[:3]])
    return Weights(spec, variables, step=0, metrics={}, licence=licence)


def _spec(model: str, tags: tuple[str, ...], dataset: str, split: str, clip_seconds: float) -> Spec:
    return published.spec(
        model,
        tags,
        FRONT_END,
        window_frames=WINDOW_FRAMES,
        hop_frames=WINDOW_FRAMES,
        clip_seconds=clip_seconds,
        dataset=(dataset, split),
    )


def to_flax(
    tensors: Mapping[str, np.ndarray], layers: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Returns 'params' and 'batch_stats' of tensors named LAYER/VARIABLE, nested by `layers`."""
    collections: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}}
    for name, tensor in tensors.items():
        layer, _, variable = name.partition("/")
        if layer not in layers or variable not in LEAVES:
            continue
        collection, leaf = LEAVES[variable]
        node = collections[collection]
        for part in layers[layer]:
            node = node.setdefault(part, {})
        # TensorFlow kernels over frames have the shape (width, channels in, 1, channels out).
        is_mid = layers[layer][0].startswith("mid_") and leaf == "kernel"
        node[leaf] = tensor[:, :, 0] if is_mid else tensor
    return collections

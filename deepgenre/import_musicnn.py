"""The pretrained networks of the musicnn 0.1.0 package, as flax variables; no TensorFlow needed.

The package (Pons and Serra, 2019, ISC licence) is a wheel: a zip with TensorFlow checkpoints, tag
lists and licence. Nothing in it is installed or executed.
"""

import ast
import dataclasses
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.errors import UserError
from deepgenre.models import musicnn_features
from deepgenre.tf_checkpoint import read_checkpoint

WHEEL = "musicnn-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
LICENCE = "musicnn-0.1.0.dist-info/LICENSE.md"
FRONT_END = {
    "sample_rate_hz": musicnn_features.SAMPLE_RATE_HZ,
    "n_fft": musicnn_features.N_FFT,
    "hop_length": musicnn_features.HOP_LENGTH,
    "n_mels": musicnn_features.N_MELS,
    "window_frames": musicnn_features.WINDOW_FRAMES,
    "compression": "log10(1 + 10000 * float16(power))",
}
FOLDERS = {  # ours -> theirs
    "mtt_musicnn": "MTT_musicnn",
    "mtt_vgg": "MTT_vgg",
    "msd_musicnn": "MSD_musicnn",
    "msd_vgg": "MSD_vgg",
}
MUSICNN_LAYERS = {  # TensorFlow's layer, numbered in the order of making -> the path of ours
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
LEAVES = {  # TensorFlow's variable -> (collection, leaf); Adam's are left behind
    "kernel": ("params", "kernel"),
    "bias": ("params", "bias"),
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}


@dataclasses.dataclass(frozen=True)
class ImportedNetwork:
    """Weights of one network, and what is needed to use and to hand on what they say."""

    name: str
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    tags: tuple[str, ...]  # in the order of the logits; each is a sigmoid of its own
    front_end: Mapping[str, int | str]  # of `musicnn_features.musicnn_log_mel`
    licence: str


def fetch_wheel(folder: Path) -> Path:
    """Returns the wheel's path in `folder`, downloaded with pip (29 MB) unless it is there.

    Raises UserError where pip fails or the file is not the one that is pinned.
    """
    wheel = folder / WHEEL
    if not wheel.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
        done = subprocess.run([*command, "musicnn==0.1.0"], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise UserError(f"{wheel}: pip could not download musicnn 0.1.0 ({reason}); try again")
    _check(wheel)
    return wheel


def read_networks(wheel: Path) -> dict[str, ImportedNetwork]:
    """Returns the four networks by name: mtt_musicnn, mtt_vgg, msd_musicnn, msd_vgg.

    `mtt_*` hear the 50 tags of MagnaTagATune, `msd_*` 50 of the Million Song Dataset. Params and
    batch_stats are those of `MusiCNN` and `MusiCNNVgg` with their defaults, float32. Raises
    UserError where the file is missing or is not the pinned wheel.
    """
    _check(wheel)
    with zipfile.ZipFile(wheel) as archive:
        tags = _tag_lists(archive.read("musicnn/configuration.py").decode())
        licence = archive.read(LICENCE).decode()
        return {
            name: _network(archive, name, folder, tags[folder[:3]], licence)
            for name, folder in FOLDERS.items()
        }


def _check(wheel: Path) -> None:
    try:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{wheel}: cannot be read ({error.strerror})") from error
    if digest != WHEEL_SHA256:
        raise UserError(
            f"{wheel}: is not the wheel of musicnn 0.1.0 (sha256 {digest[:12]}..., expected "
            f"{WHEEL_SHA256[:12]}...); remove it and download it again"
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
    archive: zipfile.ZipFile, name: str, folder: str, tags: tuple[str, ...], licence: str
) -> ImportedNetwork:
    tensors = read_checkpoint(
        archive.read(f"musicnn/{folder}/.index"),
        archive.read(f"musicnn/{folder}/.data-00000-of-00001"),
        f"{archive.filename}: musicnn/{folder}",
    )
    layers = VGG_LAYERS if name.endswith("vgg") else MUSICNN_LAYERS
    params, batch_stats = to_flax(tensors, layers)
    return ImportedNetwork(name, params, batch_stats, tags, FRONT_END, licence)


def to_flax(
    tensors: Mapping[str, np.ndarray], layers: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns (params, batch_stats) of tensors named LAYER/VARIABLE, nested as `layers` says."""
    collections: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}}
    for name, tensor in tensors.items():
        layer, _, variable = name.partition("/")
        if layer not in layers or variable not in LEAVES:
            continue
        collection, leaf = LEAVES[variable]
        node = collections[collection]
        for part in layers[layer]:
            node = node.setdefault(part, {})
        # Convolutions over frames only were made as (width, channels in, 1, channels out).
        is_mid = layers[layer][0].startswith("mid_") and leaf == "kernel"
        node[leaf] = tensor[:, :, 0] if is_mid else tensor
    return collections["params"], collections["batch_stats"]

"""K. Choi's taggers of music-auto_tagging-keras (MIT licence), from files of Keras 1.

The files for TensorFlow are read: their kernels are correlated, not convolved as Theano's. What
Keras 1 calls running_std is a standard deviation, as Theano's backend of Keras 1.0.6 computed it,
and not a variance, as later versions read it. compact_cnn's norms are not trained at all (mode 2):
they use the statistics of their input, see `models.choi_features`.

The networks were trained on standardised spectrograms, as the statistics of their first norm show
(mean 0, deviation 1); the constants are not published. MEAN and DEVIATION are those of the levels
of 25 GTZAN clips, see `benchmarks/taggers.py`, which needs no labels.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepgenre.audio.frontend import MAX_LEVEL, FrontEnd
from deepgenre.errors import UserError
from deepgenre.weights import published
from deepgenre.weights.spec import Spec, Weights

SOURCE = "choi"
LICENCE = (
    "music-auto_tagging-keras: MIT License, copyright (c) 2016 Keunwoo Choi "
    "(https://github.com/keunwoochoi/music-auto_tagging-keras)."
)
FILES = {  # name of the weights -> file and its SHA-256
    "choi_cnn": (
        "music_tagger_cnn_weights_tensorflow.h5",
        "8b61b73a8065cb084a9b56e8b5421ee876f38a1aca109ec2ad336e3a17c7c421",
    ),
    "choi_crnn": (
        "music_tagger_crnn_weights_tensorflow.h5",
        "df63638de9f3113780768181670c554f122fbd1297c63c065836d70a251115a8",
    ),
    "choi_compact": (
        "compact_cnn_weights_tensorflow.hdf5",
        "42e791b8c1b41ffe82c74d0501d8216eaee94d0b727b44de39ccc83ef810aed3",
    ),
}
TAGS = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists"),
    *("classic rock", "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s"),
    *("chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic"),
    *("experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country"),
    *("easy listening", "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock"),
    *("60s", "rnb", "indie pop", "sad", "House", "happy"),
)
# The published code takes the dB of squared mel power within 80 dB: 40 dB of mel power.
DYNAMIC_RANGE_DB = 40.0
MEAN, DEVIATION = 38.3, 49.5  # of levels within DYNAMIC_RANGE_DB
WINDOW_FRAMES = 1366  # 29.1 s
COMPACT_FRAMES = 1360
KERAS_EPSILON, OUR_EPSILON = 1e-6, 1e-5  # of batch norm, in Keras 1.0 and in `models.layers.norm`

Tensors = Mapping[str, np.ndarray]


def import_networks(folder: Path | None) -> dict[str, Weights]:
    """Returns the networks whose files are in the folder, by name; at least one.

    Raises UserError where a file is not the published one, none is there, or h5py is missing.
    """
    folder = published.check_folder(folder, SOURCE, "music-auto_tagging-keras' weights")
    present = {name: file for name, file in FILES.items() if (folder / file[0]).exists()}
    if not present:
        names = ", ".join(file for file, _ in FILES.values())
        raise UserError(f"{folder}: holds none of {names}")
    weights = {}
    for name, (file, sha256) in present.items():
        variables, spec = READERS[name]
        tensors = _tensors(published.read(folder / file, sha256, SOURCE))
        weights[name] = Weights(spec(), variables(tensors), 0, {}, LICENCE)
    return weights


def _tensors(content: bytes) -> dict[str, np.ndarray]:
    """Returns the tensors by layer and variable, e.g. 'conv1/W', of a file of Keras 1."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            "--source=choi: needs h5py; install it with pip install 'deepgenre[import]'"
        ) from error
    tensors: dict[str, np.ndarray] = {}

    def add(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            layer, _, variable = path.partition("/")
            name = variable.removesuffix(":0").removesuffix("_1").removesuffix("_2")
            prefix = layer if name.startswith(f"{layer}_") else ""
            tensors[f"{layer}/{name.removeprefix(f'{prefix}_')}"] = np.asarray(item)

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(add)
    return tensors


def _tagger(num_layers: int) -> Callable[[Tensors], dict[str, Any]]:
    def variables(tensors: Tensors) -> dict[str, Any]:
        params: dict[str, Any] = {}
        stats: dict[str, Any] = {}
        norm = _norm(tensors, "bn_0_freq", KERAS_EPSILON)
        params["frame_norm"], stats["frame_norm"] = norm
        for number in range(1, num_layers + 1):
            norm = _norm(tensors, f"bn{number}", OUR_EPSILON)
            convolution = _convolution(tensors, f"conv{number}/W", f"conv{number}/b")
            block = f"ConvBlock_{number - 1}"
            params[block] = {"Conv_0": convolution, "BatchNorm_0": norm[0]}
            stats[block] = {"BatchNorm_0": norm[1]}
        for number in range(1, 3):
            if f"gru{number}/W_z" in tensors:
                params[f"KerasGRUCell_{number - 1}"] = _gru(tensors, f"gru{number}")
        params["logits"] = {"kernel": tensors["output/W"], "bias": tensors["output/b"]}
        return {"params": params, "batch_stats": stats}

    return variables


def _compact(tensors: Tensors) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for number in range(1, 6):
        prefix = f"ConvBNEluDr/convolution2d_{number}"
        params[f"Conv_{number - 1}"] = _convolution(tensors, f"{prefix}_W", f"{prefix}_b")
        norm = f"ConvBNEluDr/batchnormalization_{number}"
        params[f"InstanceNorm_{number - 1}"] = {
            "scale": tensors[f"{norm}_gamma"],
            "bias": tensors[f"{norm}_beta"],
        }
    return {"params": params, "batch_stats": {}}


def _norm(tensors: Tensors, layer: str, epsilon: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns params and statistics of the batch norm (x - mean) gamma / (std + 1e-6) + beta.

    epsilon: what our batch norm adds to the variance, subtracted here.
    """
    deviation = tensors[f"{layer}/running_std"].astype(np.float64) + KERAS_EPSILON
    params = {"scale": tensors[f"{layer}/gamma"], "bias": tensors[f"{layer}/beta"]}
    variance = (deviation**2 - epsilon).astype(np.float32)
    return params, {"mean": tensors[f"{layer}/running_mean"], "var": variance}


def _convolution(tensors: Tensors, kernel: str, bias: str) -> dict[str, np.ndarray]:
    """Returns kernel and bias; Keras' kernel is (out, in, bands, frames)."""
    return {"kernel": tensors[kernel].transpose(3, 2, 1, 0), "bias": tensors[bias]}


def _gru(tensors: Tensors, layer: str) -> dict[str, Any]:
    """Returns the parameters of a `models.crnn.KerasGRUCell`."""

    def joined(kind: str, gates: str) -> np.ndarray:
        return np.concatenate([tensors[f"{layer}/{kind}_{gate}"] for gate in gates], axis=-1)

    return {
        "input": {"kernel": joined("W", "zrh"), "bias": joined("b", "zrh")},
        "gates": {"kernel": joined("U", "zr")},
        "candidate": {"kernel": joined("U", "h")},
    }


def _front_end(dynamic_range_db: float) -> FrontEnd:
    return FrontEnd(
        "log_mel", 12_000, n_fft=512, hop_length=256, n_mels=96, dynamic_range_db=dynamic_range_db
    )


def _tagger_spec(model: str) -> Callable[[], Spec]:
    return lambda: published.spec(
        model,
        TAGS,
        _front_end(DYNAMIC_RANGE_DB),
        window_frames=WINDOW_FRAMES,
        hop_frames=WINDOW_FRAMES,
        clip_seconds=29.12,
        mean=MEAN,
        deviation=DEVIATION,
    )


def _compact_spec() -> Spec:
    """Returns the spec of an embedding; mean and deviation turn levels into dB, 0 at most."""
    return published.spec(
        "compact_features",
        (),
        _front_end(80.0),
        window_frames=COMPACT_FRAMES,
        hop_frames=COMPACT_FRAMES,
        clip_seconds=29.0,
        mean=MAX_LEVEL,
        deviation=MAX_LEVEL / 80.0,
    )


READERS: Mapping[str, tuple[Callable[[Tensors], dict[str, Any]], Callable[[], Spec]]] = {
    "choi_cnn": (_tagger(5), _tagger_spec("narrow_cnn")),
    "choi_crnn": (_tagger(4), _tagger_spec("frame_norm_crnn")),
    "choi_compact": (_compact, _compact_spec),
}

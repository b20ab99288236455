"""The table of networks: one row per name, with module, source and published input."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from deepgenre.errors import look_up, unknown_name
from deepgenre.models import feature_groups, kernel_ridge
from deepgenre.models.attention import SelfAttention
from deepgenre.models.choi import FCN3, FCN4, FCN5, CompactCNN, FCNCompact, NarrowCNN
from deepgenre.models.choi_features import CompactFeatures
from deepgenre.models.crnn import CRNN, LSTM, FrameNormCRNN
from deepgenre.models.dbn import Dbn
from deepgenre.models.dieleman import Dieleman, DielemanMTT
from deepgenre.models.ensemble import Ensemble
from deepgenre.models.gwardys import Gwardys
from deepgenre.models.hamel import Hamel
from deepgenre.models.harmonic import SHORTEST_SAMPLES as HARMONIC_SAMPLES
from deepgenre.models.harmonic import HarmonicCNN
from deepgenre.models.kernel_ridge import KernelRidge
from deepgenre.models.li import Li
from deepgenre.models.linear_head import LinearHead
from deepgenre.models.multi_scale import MultiScale
from deepgenre.models.musicnn import MusiCNN, MusiCNNMoods, MusiCNNVgg
from deepgenre.models.paper import Paper1D, Paper1DDeep, Paper1DNorm, Paper2D, Paper2DNorm
from deepgenre.models.resnet import ResNet18
from deepgenre.models.sample_cnn import SampleCNN, SampleCNNReSE, SampleCNNReSEMulti, SampleCNNSE
from deepgenre.models.short_chunk import ShortChunk, ShortChunkRes
from deepgenre.models.spherical_kmeans import SphericalKMeans
from deepgenre.models.vggish import VGGish
from deepgenre.models.yamnet import SHORTEST_SAMPLES as YAMNET_SAMPLES
from deepgenre.models.yamnet import YAMNet


@dataclasses.dataclass(frozen=True)
class Network:
    """One network. Its module maps float32 (batch, frames, bands) to logits (batch, classes)."""

    module: Callable[..., nn.Module]
    source: str
    min_frames: int  # shorter input is padded
    input: str  # published input: front end and window
    window_attention: bool = False  # sows intermediates/attention: a score per window and head
    # Trained by one solve, not by steps; has an option `num_clips`, and sows
    # intermediates/familiarity: how a clip ranks among training clips, 0 to 1, float32 (batch,).
    solved: bool = False
    moods: bool = False  # classes are moods, which have a field of their own in files
    # Sows intermediates/features, float32 (batch, features), which no parameter changes, and takes
    # them as input too: training computes them once, where the input of a clip does not change.
    fixed_features: bool = False
    # Of `feature_groups`, in order, where the embedding consists of them.
    embedding_groups: tuple[str, ...] = ()


MUSICNN_INPUT = "3 s: kind 'musicnn', 96 bands, 16 kHz, n_fft 512, hop 256"
CHOI_INPUT = "29 s: log-mel 96, 12 kHz, n_fft 512, hop 256"

MODELS: Mapping[str, Network] = {
    "paper_1d": Network(
        Paper1D,
        "Deep Music Genre (2017), GTZAN",
        min_frames=298,
        input="30 s: log-mel 128, 22.05 kHz, n_fft 2048, hop 1024",
    ),
    "paper_1d_norm": Network(
        Paper1DNorm,
        "Deep Music Genre (2017), with batch norm",
        min_frames=298,
        input="30 s: log-mel 128, 22.05 kHz, n_fft 2048, hop 1024",
    ),
    "paper_1d_deep": Network(
        Paper1DDeep,
        "Deep Music Genre (2017), deeper, with batch norm",
        min_frames=298,
        input="30 s: log-mel 128, 22.05 kHz, n_fft 2048, hop 1024",
    ),
    "paper_2d": Network(
        Paper2D,
        "Deep Music Genre (2017), MagnaTagATune",
        min_frames=120,
        input="29 s: log-mel 128, 22.05 kHz, n_fft 2048, hop 1024",
    ),
    "paper_2d_norm": Network(
        Paper2DNorm,
        "Deep Music Genre (2017), with batch norm and dropout",
        min_frames=120,
        input="29 s: log-mel 128, 22.05 kHz, n_fft 2048, hop 1024",
    ),
    "dieleman": Network(
        Dieleman,
        "Recommending music on Spotify (Dieleman, 2014)",
        min_frames=103,
        input="599 frames within 30 s: log-mel 128",
    ),
    "dieleman_mtt": Network(
        DielemanMTT,
        "Baseline of musicnn-training (Pons, 2019), after Dieleman and Schrauwen (2014)",
        min_frames=39,
        input="3 s: log-mel 96, 16 kHz, n_fft 512, hop 256",
    ),
    "fcn3": Network(FCN3, "FCN-3 (Choi et al., 2016)", min_frames=1, input=CHOI_INPUT),
    "fcn4": Network(FCN4, "FCN-4 (Choi et al., 2016)", min_frames=1, input=CHOI_INPUT),
    "fcn5": Network(FCN5, "FCN-5 (Choi et al., 2016)", min_frames=1, input=CHOI_INPUT),
    "fcn_compact": Network(
        FCNCompact,
        "FCN (Choi et al., 2016) as of Won et al. (2020)",
        min_frames=1,
        input="29 s: log-mel 96, 16 kHz, n_fft 512, hop 256",
    ),
    "compact_cnn": Network(CompactCNN, "compact_cnn (Choi, 2017)", min_frames=1, input=CHOI_INPUT),
    "narrow_cnn": Network(
        NarrowCNN, "MusicTaggerCNN (Choi, 2016)", min_frames=1366, input=CHOI_INPUT
    ),
    "frame_norm_crnn": Network(
        FrameNormCRNN, "MusicTaggerCRNN (Choi, 2016)", min_frames=1366, input=CHOI_INPUT
    ),
    "compact_features": Network(
        CompactFeatures,
        "compact_cnn (Choi, 2017), without classes",
        min_frames=1,
        input="29 s: log-mel 96, 12 kHz, n_fft 512, hop 256, 1360 frames",
    ),
    "crnn": Network(CRNN, "CRNN (Choi et al., 2017)", min_frames=1, input=CHOI_INPUT),
    "lstm": Network(
        LSTM,
        "Live genre recognition (Kozakowski and Michalak, 2016)",
        min_frames=32,
        input="30 s: log-mel 128, 22.05 kHz, n_fft 2048, hop 1024",
    ),
    "hamel": Network(
        Hamel,
        "Temporal pooling (Hamel et al., 2011)",
        min_frames=1,
        input="a few seconds: log-mel 128, 22.05 kHz, n_fft 1024, hop 512",
    ),
    "li": Network(
        Li,
        "Musical patterns (Li et al., 2010)",
        min_frames=190,
        input="190 frames: 13 MFCCs, 22.05 kHz",
    ),
    "vggish": Network(
        VGGish,
        "VGGish (Hershey et al., 2017)",
        min_frames=1,
        input="0.96 s: log-mel 64 of 125..7500 Hz, 16 kHz, frames of 25 ms, hop 160",
    ),
    "short_chunk": Network(
        ShortChunk,
        "Short-chunk CNN (Won et al., 2020)",
        min_frames=1,
        input="3.69 s: log-mel 128, 16 kHz, n_fft 512, hop 256",
    ),
    "short_chunk_res": Network(
        ShortChunkRes,
        "Short-chunk CNN + Res (Won et al., 2020)",
        min_frames=1,
        input="3.69 s: log-mel 128, 16 kHz, n_fft 512, hop 256",
    ),
    "resnet": Network(
        ResNet18, "ResNet-18 (He et al., 2016)", min_frames=1, input="images of 224 x 224"
    ),
    "attention": Network(
        SelfAttention,
        "Self-attention (Won et al., 2019)",
        min_frames=1,
        input="15 s: log-mel 128, 16 kHz, n_fft 512, hop 256",
        window_attention=True,
    ),
    "gwardys": Network(
        Gwardys,
        "AlexNet on spectrograms (Gwardys and Grzywczak, 2014)",
        min_frames=11,
        input="30 s: images of spectrograms, 227 x 227",
    ),
    "multi_scale": Network(
        MultiScale,
        "Multi-level, multi-scale aggregation (Lee and Nam, 2017)",
        min_frames=54,
        input="29 s: log-mel 128, 22.05 kHz, n_fft 1024, hop 512",
    ),
    "musicnn": Network(
        MusiCNN, "musicnn (Pons and Serra, 2019)", min_frames=1, input=MUSICNN_INPUT
    ),
    "musicnn_vgg": Network(
        MusiCNNVgg,
        "Baseline of musicnn (Pons and Serra, 2019)",
        min_frames=66,
        input=MUSICNN_INPUT,
    ),
    "musicnn_moods": Network(
        MusiCNNMoods,
        "Classifiers of moods on musicnn (MTG, Universitat Pompeu Fabra, 2020)",
        min_frames=1,
        input=MUSICNN_INPUT,
        moods=True,
    ),
    "yamnet": Network(
        YAMNet,
        "YAMNet (Plakal and Ellis, 2019)",
        min_frames=YAMNET_SAMPLES,
        input="0.975 s: 15,600 samples, 16 kHz",
    ),
    "sample_cnn": Network(
        SampleCNN,
        "SampleCNN 3^9 (Lee et al., 2017)",
        min_frames=59_049,
        input="2.7 s: 59,049 samples, 22.05 kHz",
    ),
    "sample_cnn_se": Network(
        SampleCNNSE,
        "SampleCNN with SE blocks (Kim et al., 2018)",
        min_frames=59_049,
        input="2.7 s: 59,049 samples, 22.05 kHz",
    ),
    "sample_cnn_rese": Network(
        SampleCNNReSE,
        "SampleCNN with residual SE blocks (Kim et al., 2018)",
        min_frames=59_049,
        input="2.7 s: 59,049 samples, 22.05 kHz",
    ),
    "sample_cnn_rese_multi": Network(
        SampleCNNReSEMulti,
        "SampleCNN with residual SE blocks, multi-level (Kim et al., 2018)",
        min_frames=59_049,
        input="2.7 s: 59,049 samples, 22.05 kHz",
    ),
    "harmonic_cnn": Network(
        HarmonicCNN,
        "Harmonic CNN (Won et al., 2020)",
        min_frames=HARMONIC_SAMPLES,
        input="5 s: 80,000 samples, 16 kHz",
    ),
    "spherical_kmeans": Network(
        SphericalKMeans,
        "Multiscale spherical k-means, after Dieleman and Schrauwen (2013)",
        min_frames=8,
        input="3 s to 30 s: mel spectrograms; pretrain with config.pretrain_epochs",
        fixed_features=True,
        embedding_groups=feature_groups.EMBEDDING,
    ),
    "kernel_ridge": Network(
        KernelRidge,
        "Kernel ridge regression (Saunders et al., 1998) on groups of features",
        min_frames=8,
        input="30 s: log-mel 128, a frame every 78 ms; set config.pretrain_epochs",
        solved=True,
        embedding_groups=kernel_ridge.EMBEDDING,
    ),
    "dbn": Network(
        Dbn,
        "Deep belief network, after Feng (2014)",
        min_frames=1,
        input="MFCCs; their number and the window length are unpublished",
    ),
}


# Networks that are built from weights, not set by config.model.
ENSEMBLE = "ensemble"  # several trained networks
LINEAR_HEAD = "linear_head"  # classes of a few examples, on the embedding of a trained network


def network(name: str) -> Network:
    """Returns the row of a network; raises UserError with the closest name if it is unknown."""
    return look_up(MODELS, name, "config.model")


# Fields of a module that are not options of the config: the data sets some of them.
NUM_CLIPS = "num_clips"  # of training, in networks that are solved
_RESERVED = {"num_classes", "dtype", "axis_name", "sample_rate_hz", "parent", "name", NUM_CLIPS}


def options(name: str) -> dict[str, type]:
    """Returns the options of a network, `config.network.OPTION`, and their types."""
    fields = dataclasses.fields(network(name).module)  # pyright: ignore[reportArgumentType]
    return {field.name: type(field.default) for field in fields if field.name not in _RESERVED}


def build(
    name: str,
    num_classes: int,
    chosen: Mapping[str, Any],
    *,
    sample_rate_hz: int | None = None,
    dtype: str = "float32",
    axis_name: str | None = None,
) -> nn.Module:
    """Returns the network's module; options that are None take the network's default.

    An ensemble's options are {'members': [{'model': name, 'network': options, 'window_frames': ...,
    'hop_frames': ...}, ...]}; those of a linear head {'body': {'model': name, 'network': options,
    'num_classes': ...}, 'num_songs': ...}, with further fields of `weights.heads`.
    """
    if name == ENSEMBLE:
        given = {"sample_rate_hz": sample_rate_hz, "dtype": dtype, "axis_name": axis_name}
        members = [
            build(member["model"], num_classes, member["network"], **given)
            for member in chosen["members"]
        ]
        windows = [(one["window_frames"], one["hop_frames"]) for one in chosen["members"]]
        return Ensemble(num_classes, tuple(members), tuple(windows), dtype, axis_name)
    if name == LINEAR_HEAD:
        given = {"sample_rate_hz": sample_rate_hz, "dtype": dtype, "axis_name": axis_name}
        body = chosen["body"]
        inner = build(body["model"], body["num_classes"], body["network"], **given)
        return LinearHead(num_classes, inner, chosen["num_songs"], dtype, axis_name)
    module, known = network(name).module, options(name)
    given = {option: value for option, value in chosen.items() if value is not None}
    for option in given:
        if option not in known and not (option == NUM_CLIPS and network(name).solved):
            raise unknown_name(f"config.network of {name}", option, known)
    if sample_rate_hz and hasattr(module, "sample_rate_hz"):  # networks that compute an STFT
        given["sample_rate_hz"] = sample_rate_hz
    return module(num_classes=num_classes, dtype=dtype, axis_name=axis_name, **given)

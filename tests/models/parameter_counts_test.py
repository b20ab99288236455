"""Networks on spectrograms: numbers of parameters, input sizes and shapes of layers."""

import jax
import numpy as np
import pytest
import tiny
import waveform_networks_test
from jax import numpy as jnp

from deepgenre import models
from deepgenre.errors import UserError
from deepgenre.models.layers import ConvBlock, scaled
from deepgenre.models.pooling import shrink
from deepgenre.weights.state import num_parameters

# Published input (frames, bands), classes, and parameters: the published number (=), or the sum
# over the published layers.
PUBLISHED = (
    ("paper_1d", (646, 128), 10, 2_775_818),
    ("paper_1d_norm", (646, 128), 10, 2_775_818 + 3 * 2 * 256),
    # With a fourth convolution, the dense layer has an input of one frame instead of two.
    ("paper_1d_deep", (646, 128), 10, 2_777_354 + 4 * 256 * 256 + 3 * 256 - 512 * 2048),
    ("paper_2d", (628, 128), 50, 1_732_658),
    ("paper_2d_norm", (628, 128), 50, 1_732_658 + 2 * (128 + 256 + 512)),
    ("dieleman", (599, 128), 40, 9_393_704),
    ("dieleman_mtt", (187, 96), 50, 66_784),  # = "66k"
    ("fcn3", (1366, 96), 50, 10_138_674),
    ("fcn4", (1366, 96), 50, 17_365_938),
    ("fcn5", (1366, 96), 50, 25_183_026),
    ("fcn_compact", (1813, 96), 50, 447_732),
    ("compact_cnn", (1366, 96), 50, 39_282),
    # 394,098, and one more bias for each of the 64 units of Flax's GRUs. The README's 396,786 have
    # a norm for each of 1,440 frames instead of 96 bands: 2 x 1,344 more.
    ("crnn", (1366, 96), 50, 394_098 + 64),
    ("narrow_cnn", (1366, 96), 50, 865_950),  # =
    ("frame_norm_crnn", (1366, 96), 50, 396_786),  # =
    ("compact_features", (1360, 96), 50, 37_632 + 50 * (32 + 1)),  # the file ends with features
    ("lstm", (646, 128), 10, 1_347_850),
    ("hamel", (128, 128), 50, 1_559_090),
    ("li", (190, 13), 10, 11_333),
    ("vggish", (96, 64), 10, 72_141_184 + 10 * (128 + 1)),  # the release ends with the embedding
    ("short_chunk", (231, 128), 50, 3_687_348),
    ("short_chunk_res", (231, 128), 50, 12_104_244),
    # = 11,689,512 of the release, with 10 classes for 1,000 and one channel for three.
    ("resnet", (224, 224), 10, 11_689_512 - 990 * (512 + 1) - 2 * 7 * 7 * 64),
    ("attention", (938, 128), 50, 10_521_652),
    # 62,378,344 of AlexNet in one tower, with 10 classes for 1,000 and one channel for three.
    ("gwardys", (227, 227), 10, 62_378_344 - 990 * (4096 + 1) - 2 * 11 * 11 * 96),
    ("multi_scale", (1254, 128), 50, 1_998_130),
    # The head: dynamics of 24 MFCCs, contrast, a triangle of 20 MFCCs, 173 modulations in each of
    # four registers, and three features per filter.
    (
        "spherical_kmeans",
        (387, 128),
        10,
        (4 * 24 + 64 + 210 + 4 * 173 + 3 * (256 + 384) + 1) * 10,
    ),
    ("kernel_ridge", (387, 128), 10, (1 + 1) * 10),  # of one training clip, and the bias
    ("musicnn", (187, 96), 50, 787_159),
    ("musicnn_vgg", (187, 96), 50, 605_748),
    # Per class: musicnn without its head, a dense layer of 100, and one output.
    ("musicnn_moods", (187, 96), 5, 5 * (787_159 - 50 * 201 + 100 * 201 + 101)),
)
NAMES = [name for name, *_ in PUBLISHED]


@pytest.mark.parametrize(
    ("name", "size", "num_classes", "count"), [*PUBLISHED, *waveform_networks_test.PUBLISHED]
)
def test_number_of_parameters_is_as_published(
    name: str, size: tuple[int, int], num_classes: int, count: int
) -> None:
    _, variables = tiny.shapes(name, *size, num_classes)
    assert num_parameters(variables["params"]) == count
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("name", "size", "_classes", "_count"), PUBLISHED, ids=NAMES)
def test_output_shapes_for_different_input_sizes(
    name: str, size: tuple[int, int], _classes: int, _count: int
) -> None:
    shortest = models.network(name).min_frames
    assert shortest <= size[0]
    odd = shortest + 214  # more than a pool of any network
    for frames, bands in ((shortest, size[1]), (odd, 97), (387, 128)):  # 387: GTZAN as stored
        logits, variables = tiny.shapes(name, frames, bands, train=True)
        assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)
        (embedding,) = variables["intermediates"]["embedding"]
        assert embedding.shape[0] == 2 and embedding.shape[1] >= 1 and embedding.ndim == 2
        assert embedding.dtype == jnp.float32
        # The embedding of these is a part of the head's input, or several heads' input.
        if name not in ("spherical_kmeans", "kernel_ridge", "musicnn_moods"):
            assert variables["params"]["logits"]["kernel"].shape == (embedding.shape[1], 10)


# A named layer's output for the published input: its shape without the batch.
PUBLISHED_LAYERS = {
    "paper_1d": ("ConvBlock_2", (9, 256)),
    "paper_2d": ("ConvBlock_2", (5, 2, 512)),
    "dieleman": ("ConvBlock_3", (32, 512)),
    "dieleman_mtt": ("ConvBlock_1", (9, 32)),
    "fcn3": ("ConvBlock_2", (1, 1, 2048)),
    "fcn4": ("ConvBlock_3", (1, 1, 2048)),
    "fcn5": ("ConvBlock_4", (1, 1, 2048)),
    "fcn_compact": ("ConvBlock_4", (1, 1, 64)),
    "compact_cnn": ("ConvBlock_4", (1, 1, 32)),
    "crnn": ("RNN_1", (15, 32)),
    "lstm": ("RNN_0", (77, 256)),
    "li": ("ConvBlock_2", (1, 65)),
    "vggish": ("ConvBlock_5", (6, 4, 512)),
    "short_chunk": ("ConvBlock_6", (1, 1, 512)),
    "short_chunk_res": ("ResidualBlock_6", (2, 1, 512)),
    "resnet": ("ResidualBlock_7", (7, 7, 512)),
    "attention": ("TransformerLayer_1", (1 + 118, 256)),
    "gwardys": ("ConvBlock_4", (13, 13, 256)),
    "multi_scale": ("LocalNetwork_2", (768,)),
    "musicnn": ("mid_2_conv", (187, 64)),
    "musicnn_vgg": ("conv_4", (11, 6, 128)),
}


@pytest.mark.parametrize("name", PUBLISHED_LAYERS)
def test_layer_shapes_for_published_input(name: str) -> None:
    layer, expected = PUBLISHED_LAYERS[name]
    (size,) = [size for row, size, *_ in PUBLISHED if row == name]
    module = models.build(name, 10, {})
    captured = jax.eval_shape(
        lambda: module.init_with_output(
            jax.random.key(0),
            jnp.zeros((2, *size)),
            train=False,
            mutable=True,
            capture_intermediates=lambda submodule, _: submodule.name == layer,
        )
    )[1]["intermediates"]
    (output,) = captured[layer]["__call__"]
    assert output.shape == (2, *expected)


def test_input_shorter_than_min_frames_is_an_error() -> None:
    for name in ("dieleman", "dieleman_mtt", "lstm", "li", "gwardys"):
        with pytest.raises(UserError, match="too small for this network"):
            tiny.shapes(name, models.network(name).min_frames - 1, 128)
    with pytest.raises(UserError, match="too small for this network"):
        tiny.shapes("paper_1d", 387, 128, depth=5)


def test_shrink_averages_to_at_most_max_sizes() -> None:
    x = jnp.arange(2 * 13 * 4 * 1, dtype=jnp.float32).reshape(2, 13, 4, 1)
    assert shrink(x, (6, 4)).shape == (2, 4, 4, 1)  # 13 frames, in groups of three
    np.testing.assert_allclose(shrink(x, (6, 4))[:, 0], x[:, :3].mean(axis=1))
    np.testing.assert_array_equal(shrink(x, (13, 4)), x)


def test_pool_larger_than_its_input_shrinks_to_it() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 9, 1))
    block = ConvBlock(features=2, kernel=(1, 1), pool=(5, 4))
    whole = ConvBlock(features=2, kernel=(1, 1), pool=(3, 4))
    variables = block.init(jax.random.key(1), x, False)
    pooled = block.apply(variables, x, False)
    assert isinstance(pooled, jax.Array) and pooled.shape == (2, 1, 2, 2)
    np.testing.assert_array_equal(pooled, whole.apply(variables, x, False))


def test_scaled_is_at_least_one() -> None:
    assert scaled((64, 3, 1), 0.25) == [16, 1, 1]
    assert scaled((3, 15), 4.0) == [12, 60]

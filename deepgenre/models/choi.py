"""Fully convolutional 2D networks of Keunwoo Choi: 3 x 3 convolutions, batch norm, large pools.

`FCN3`, `FCN4`, `FCN5`: K. Choi, G. Fazekas and M. Sandler, "Automatic tagging using deep
convolutional neural networks", ISMIR 2016, arXiv:1606.00298. Published input: log-mel, 96 bands,
1,366 frames (29.1 s at 12,000 Hz, n_fft 512, hop 256). The paper specifies its networks of 4 to 7
layers, not that of 3 layers: here its first and last layers have as many filters as theirs, and its
pools also reduce that input to 1 x 1.

`FCNCompact`: the narrow network of five layers in Choi's music-auto_tagging-keras, as evaluated in
M. Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, arXiv:2006.00751.
Published input: log-mel, 96 bands, 1,813 frames (29 s at 16,000 Hz, n_fft 512, hop 256). Choi's
version has ELU and normalises its input per mel band, not as a whole.

`CompactCNN`: compact_cnn of music-auto_tagging-keras, 2017. Published input: as the first three.
Different here: initial weights are Glorot's (theirs: He's).

`NarrowCNN`: MusicTaggerCNN of music-auto_tagging-keras, 2016. Published input: as the first three,
standardised. As there, the input is normalised per frame, not per band: its axes were swapped.

The output of the last pool (1 x 1 for the published input) is averaged.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, head, norm, norm_of_frames, scaled


class FCN4(nn.Module):
    """Four layers: 17,365,938 parameters with 50 classes, for any input size."""

    num_classes: int
    filters: tuple[int, ...] = (128, 384, 768, 2048)
    pools: tuple[tuple[int, int], ...] = ((4, 2), (5, 4), (8, 3), (8, 4))  # (frames, bands)
    width: float = 1.0  # multiplier of `filters`
    elu: bool = False  # ELU instead of ReLU
    input_norm: bool = False  # batch norm of the spectrogram
    frame_norm: bool = False  # of each of its frames, which fixes their number
    conv_dropout: float = 0.5  # after each pool except the last
    dropout: float = 0.5
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the mean of the last feature maps as intermediates/embedding.
        """
        x = x.astype(self.dtype)[..., None]
        if self.input_norm:
            x = norm(train, self.dtype, self.axis_name)(x)
        if self.frame_norm:
            x = norm_of_frames(train, self.dtype, self.axis_name)(x)
        filters = scaled(self.filters, self.width)
        for index, (features, pool) in enumerate(zip(filters, self.pools, strict=True)):
            if index:
                x = nn.Dropout(self.conv_dropout, deterministic=not train)(x)
            x = ConvBlock(
                features=features,
                kernel=(3, 3),
                pool=pool,
                batch_norm=True,
                activation=nn.elu if self.elu else nn.relu,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        return head(self, x.mean(axis=(1, 2)), self.num_classes, self.dropout, train)


class FCN3(FCN4):
    """Three layers: 10,138,674 parameters with 50 classes."""

    filters: tuple[int, ...] = (128, 512, 2048)
    pools: tuple[tuple[int, int], ...] = ((8, 4), (10, 4), (16, 6))


class FCN5(FCN4):
    """Five layers: 25,183,026 parameters with 50 classes."""

    filters: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    pools: tuple[tuple[int, int], ...] = ((4, 2), (4, 2), (4, 2), (5, 3), (4, 4))


class FCNCompact(FCN5):
    """Five narrow layers: 447,732 parameters with 50 classes."""

    filters: tuple[int, ...] = (64, 128, 128, 128, 64)
    input_norm: bool = True
    conv_dropout: float = 0.0


class CompactCNN(FCN4):
    """Five layers of 32 filters: 39,282 parameters with 50 classes."""

    filters: tuple[int, ...] = (32, 32, 32, 32, 32)
    pools: tuple[tuple[int, int], ...] = ((4, 2), (4, 3), (5, 2), (4, 2), (4, 4))
    elu: bool = True
    conv_dropout: float = 0.0
    dropout: float = 0.0


class NarrowCNN(FCN4):
    """Five layers: 865,950 parameters with 50 classes and 1,366 frames, as published."""

    filters: tuple[int, ...] = (32, 128, 128, 192, 256)
    pools: tuple[tuple[int, int], ...] = ((4, 2), (4, 2), (4, 2), (5, 3), (4, 4))
    elu: bool = True
    frame_norm: bool = True

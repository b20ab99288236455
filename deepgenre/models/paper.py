"""The two networks of "Deep Music Genre" (Stanford CS231n, 2017), and its variants."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, head, hidden_layers
from deepgenre.models.pooling import max_pool, mean_pool


class Paper1D(nn.Module):
    """The paper's network for GTZAN, after Dieleman: convolutions over time, bands as channels.

    Three times [convolution of 256 filters, size 4, stride 2; ReLU; max pool 2], then max pool 4
    and average pool 4 in parallel, concatenated; dense 2048, ReLU, dropout; classes. The paper
    gives neither the padding ("valid" here, Keras' default) nor the dropout rate (0.5 here).
    """

    num_classes: int
    dropout: float = 0.5
    batch_norm: bool = False
    depth: int = 3  # convolutions; the paper also tried more: 4 fit in 298 frames
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). frames >= 298.

        Sows the dense layer, (batch, 2048), as intermediates/embedding.
        """
        x = x.astype(self.dtype)
        for _ in range(self.depth):
            x = ConvBlock(
                features=256,
                kernel=(4,),
                stride=2,
                pool=(2,),
                padding="VALID",
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        x = jnp.concatenate([max_pool(x, (4,)), mean_pool(x, (4,))], axis=-1)
        x = hidden_layers(x.reshape(x.shape[0], -1), (2048,), self.dropout, train)
        return head(self, x, self.num_classes, self.dropout, train)


class Paper1DNorm(Paper1D):
    """With batch norm after each convolution, as tried in the paper."""

    batch_norm: bool = True


class Paper1DDeep(Paper1DNorm):
    """With batch norm and a fourth convolution."""

    depth: int = 4


class Paper2D(nn.Module):
    """The paper's network for MagnaTagATune: 3 x 3 convolutions of 128, 256 and 512 filters.

    Each with ReLU and a max pool: 3 x 4, 4 x 5, 5 x 6 (bands x frames); then one dense layer. The
    paper does not give the padding: "same" here, which reduces 128 x 628 to 2 x 5.
    """

    num_classes: int
    dropout: float = 0.0
    batch_norm: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        frames >= 120, bands >= 60. Sows the input of the dense layer as intermediates/embedding.
        """
        x = x.astype(self.dtype)[..., None]
        for features, pool in ((128, (4, 3)), (256, (5, 4)), (512, (6, 5))):
            x = ConvBlock(
                features=features,
                kernel=(3, 3),
                pool=pool,
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
        return head(self, x.reshape(x.shape[0], -1), self.num_classes, self.dropout, train)


class Paper2DNorm(Paper2D):
    """With batch norm after each convolution, and dropout before the dense layer."""

    batch_norm: bool = True
    dropout: float = 0.5

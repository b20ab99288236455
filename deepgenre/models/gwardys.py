"""AlexNet on spectrograms (Gwardys and Grzywczak, 2014), here trained from scratch.

G. Gwardys and D. Grzywczak, "Deep image features in music information retrieval", International
Journal of Electronics and Telecommunications 60 (4), 2014: an AlexNet (A. Krizhevsky, I. Sutskever
and G. E. Hinton, NIPS 2012), trained on photographs, turns images of spectrograms into features for
support vector machines. Published input: images of 227 x 227, RGB, of 30 s.

Different here: trained on genres directly, from one channel; no local response normalisation (use
batch_norm); one tower instead of two on two GPUs; feature maps larger than the published 6 x 6 are
averaged to at most that size, so that the dense layers do not grow with the input.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import ConvBlock, Dtype, head, hidden_layers, scaled
from deepgenre.models.pooling import shrink

LAYERS = (  # filters, kernel, stride, padding, whether an overlapping pool follows
    (96, 11, 4, "VALID", True),
    (256, 5, 1, "SAME", True),
    (384, 3, 1, "SAME", False),
    (384, 3, 1, "SAME", False),
    (256, 3, 1, "SAME", True),
)


class Gwardys(nn.Module):
    """Five convolutions with three overlapping pools, and two wide dense layers.

    58,299,082 parameters with 10 classes, 227 frames and 227 bands.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters and units
    dropout: float = 0.5  # before each of the last two layers
    batch_norm: bool = False
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Frames, bands >= 11.

        Sows the last hidden layer, (batch, 4096 * width), as intermediates/embedding.
        """
        x = x.astype(self.dtype)[..., None]
        for filters, kernel, stride, padding, pooled in LAYERS:
            x = ConvBlock(
                features=scaled((filters,), self.width)[0],
                kernel=(kernel, kernel),
                stride=stride,
                padding=padding,
                batch_norm=self.batch_norm,
                dtype=self.dtype,
                axis_name=self.axis_name,
            )(x, train)
            if pooled:
                window = (min(3, x.shape[1]), min(3, x.shape[2]))
                x = nn.max_pool(x, window, strides=(2, 2))
        x = shrink(x, (6, 6))
        units = scaled((4096, 4096), self.width)
        x = hidden_layers(x.reshape(x.shape[0], -1), units, self.dropout, train)
        return head(self, x, self.num_classes, self.dropout, train)

"""Self-attention after convolutions (Won et al., 2019).

M. Won, S. Chun and X. Serra, "Toward interpretable music tagging with self-attention",
arXiv:1906.04972, as in M. Won et al., "Evaluation of CNN-based automatic music tagging models",
SMC 2020, arXiv:2006.00751, and its code. Published input: log-mel, 128 bands, 938 frames (15 s at
16,000 Hz, n_fft 512, hop 256). As in that code, the classification token is a fixed random vector
and there is no positional encoding. Different here: initial weights are Glorot's; bands that remain
after the convolutions are averaged.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.layers import Dtype, ResidualBlock, glorot, head, norm, scaled

HEADS = 8
LAYERS = 2
STRIDES = ((2, 2),) * 3 + ((1, 2),) * 4  # (frames, bands) of each residual block


class SelfAttention(nn.Module):
    """Seven residual blocks, two Transformer layers, and a dense layer on the token.

    10,521,652 parameters with 50 classes, for any input size.
    """

    num_classes: int
    width: float = 1.0  # multiplier of the published numbers of filters and units
    layer_dropout: float = 0.4  # on the outputs within a Transformer layer
    attention_dropout: float = 0.5  # on the attention weights
    dropout: float = 0.5
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # device axis over which batch norm is synchronised

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes). Input of any size.

        Sows the dense layer on the token, (batch, 256 * width), as intermediates/embedding, and the
        log of the sum of the token's softmax numerators over the frames, (batch, heads), as
        intermediates/attention. It is taken from the first layer, where the token's query is the
        same for every window: a softmax over windows then gives the token's attention to each of
        them, as if their frames formed one sequence.
        """
        x = norm(train, self.dtype, self.axis_name)(x.astype(self.dtype)[..., None])
        narrow, units_per_head = scaled((128, 32), self.width)
        units = HEADS * units_per_head
        for features, strides in zip((narrow,) * 2 + (units,) * 5, STRIDES, strict=True):
            x = ResidualBlock(
                features, strides=strides, dtype=self.dtype, axis_name=self.axis_name
            )(x, train)
        x = x.mean(axis=2)
        token = jax.random.uniform(jax.random.key(0), (1, 1, units), self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, units)), x], axis=1)

        @functools.wraps(nn.dot_product_attention)  # linen inspects its signature
        def first_attention(
            query: jax.Array, key: jax.Array, value: jax.Array, **options
        ) -> jax.Array:
            token_query = query[:, 0].astype(jnp.float32) / jnp.sqrt(query.shape[-1])
            scores = jnp.einsum("bhd,bkhd->bhk", token_query, key[:, 1:].astype(jnp.float32))
            self.sow("intermediates", "attention", nn.logsumexp(scores, axis=-1))
            return nn.dot_product_attention(query, key, value, **options)

        for attend in (first_attention, *[nn.dot_product_attention] * (LAYERS - 1)):
            x = TransformerLayer(self.layer_dropout, self.attention_dropout, attend, self.dtype)(
                x, train
            )
        x = jnp.tanh(nn.Dense(units, kernel_init=glorot, dtype=self.dtype)(x[:, 0]))
        return head(self, x, self.num_classes, self.dropout, train)


class TransformerLayer(nn.Module):
    """Self-attention and a dense layer, each added to its input and normalised afterwards."""

    dropout: float
    attention_dropout: float
    attend: Callable[..., jax.Array] = nn.dot_product_attention
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, units) -> (batch, frames, units)."""
        units = x.shape[-1]
        h = nn.MultiHeadDotProductAttention(
            num_heads=HEADS,
            attention_fn=self.attend,
            dropout_rate=self.attention_dropout,
            broadcast_dropout=False,
            kernel_init=glorot,
            dtype=self.dtype,
        )(x, deterministic=not train)
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        x = nn.LayerNorm(dtype=self.dtype)(x + h)
        h = nn.gelu(nn.Dense(4 * units, kernel_init=glorot, dtype=self.dtype)(x), approximate=False)
        h = nn.Dense(units, kernel_init=glorot, dtype=self.dtype)(h)
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        return nn.LayerNorm(dtype=self.dtype)(x + h)

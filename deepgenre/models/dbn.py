"""Deep belief network: a dense sigmoid network of stacked restricted Boltzmann machines."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.errors import UserError
from deepgenre.models.layers import Dtype, glorot, head


class Dbn(nn.Module):
    """Dense sigmoid layers on the mean and standard deviation of each band over time.

    After T. Feng, "Deep learning for music genre classification", University of Illinois, 2014: a
    deep belief network on MFCCs, for two to four of GTZAN's genres. The report was not available;
    papers that cite it give neither its pooling nor its widths. Chosen here: a window is one input,
    pooled by `pooled_bands`; three layers of 512 units. 662,026 parameters with 10 classes and 128
    bands. `rbm.pretrain` and `with_pretrained` initialise it.
    """

    num_classes: int
    hidden_units: tuple[int, ...] = (512, 512, 512)
    dropout: float = 0.0  # after each hidden layer
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # unused: no layer depends on the rest of the batch

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        Sows the last hidden layer, (batch, units), as intermediates/embedding.
        """
        x = pooled_bands(x).astype(self.dtype)
        for index, units in enumerate(self.hidden_units):
            if index:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            dense = nn.Dense(units, kernel_init=glorot, dtype=self.dtype, name=f"hidden_{index}")
            x = nn.sigmoid(dense(x))
        return head(self, x, self.num_classes, self.dropout, train)


def pooled_bands(x: jax.Array) -> jax.Array:
    """Returns mean and deviation over time, float32 (batch, 2 bands), of (batch, frames, bands)."""
    variance = x.var(axis=1)
    return jnp.concatenate([x.mean(axis=1), jnp.sqrt(variance + 1e-6)], axis=-1)


def with_pretrained(params: Any, layers: Sequence[tuple[jax.Array, jax.Array]]) -> dict[str, Any]:
    """Returns a Dbn's params with pretrained (weights, bias) in its first hidden layers.

    The layers above, always including the last, are unchanged. Raises UserError if shapes differ.
    """
    pretrained = {}
    for index, (weights, bias) in enumerate(layers):
        name = f"hidden_{index}"
        expected = params[name]["kernel"].shape if name in params else None
        if weights.shape != expected:
            raise UserError(
                f"config.network.hidden_units: pretrained layer {index} has shape {weights.shape}, "
                f"expected {expected}; pretrain on the same input with the same hidden_units"
            )
        pretrained[name] = {"kernel": weights, "bias": bias}
    return {**params, **pretrained}

"""A linear layer on the embedding of another network: one's own classes from a few songs.

Y. Tian, Y. Wang, D. Krishnan, J. Tenenbaum and P. Isola, "Rethinking few-shot image classification:
a good embedding is all you need?", ECCV 2020. `training.logistic` computes the variables.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from deepgenre.models.kernel_ridge import nearest
from deepgenre.models.layers import Dtype, glorot

BODY = "body"  # the variables of the network whose embedding is used


class LinearHead(nn.Module):
    """Standardises the embedding of `network` and applies a linear layer.

    Stored in batch_stats: mean and scale of the embeddings of `num_songs` examples, and these
    embeddings, standardised and of length 1.
    """

    num_classes: int
    network: nn.Module  # its variables are below BODY; it is always in inference mode
    num_songs: int = 1
    dtype: Dtype = jnp.float32  # unused: that of the network
    axis_name: str | None = None  # unused: no statistics are updated

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        Sows the embedding as intermediates/embedding, and the mean cosine to the nearest examples,
        float32 (batch,), as intermediates/familiarity.
        """
        embedding = self._embedding(x)
        self.sow("intermediates", "embedding", embedding)
        features = embedding.shape[-1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,)).value
        scale = self.variable("batch_stats", "scale", jnp.ones, (features,)).value
        shape = (self.num_songs, features)
        examples = self.variable("batch_stats", "examples", jnp.zeros, shape).value
        standard = (embedding - mean[None]) * scale[None]
        length = jnp.linalg.norm(standard, axis=-1, keepdims=True)
        self.sow("intermediates", "familiarity", nearest(standard / (length + 1e-9) @ examples.T))
        return nn.Dense(self.num_classes, kernel_init=glorot, name="logits")(standard)

    def _embedding(self, x: jax.Array) -> jax.Array:
        """Returns the embedding, float32 (batch, features).

        The network is applied as a function of variables of this module: what a submodule sows can
        be read only where the caller asked for intermediates.
        """
        network = self.network.clone(parent=None)
        if self.is_initializing():
            fresh: Any = network.init(jax.random.key(0), x, train=False)
            self.param(BODY, lambda _: fresh["params"])
            if "batch_stats" in fresh:
                self.variable("batch_stats", BODY, lambda: fresh["batch_stats"])
        variables = {name: tree[BODY] for name, tree in self.variables.items() if BODY in tree}
        outputs: Any = network.apply(variables, x, train=False, mutable=["intermediates"])
        return outputs[1]["intermediates"]["embedding"][-1]

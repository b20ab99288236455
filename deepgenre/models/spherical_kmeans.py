"""Features learnt by spherical k-means, statistics of the spectrogram, and a linear head.

S. Dieleman and B. Schrauwen, "Multiscale approaches to music audio feature learning", ISMIR 2013.
Different here: filters and their responses (see `filter_banks`), statistics of the whole clip are
added, and the head is linear.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models import feature_groups
from deepgenre.models.layers import Dtype

FEATURE_SET = "basic"


class SphericalKMeans(nn.Module):
    """Logistic regression on the features of `feature_groups.describe`.

    Only the head is trained by gradient; `pretrain.with_kmeans` learns the rest. Groups have the
    same total variance for any number of features, so that plain weight decay suits all.
    """

    num_classes: int
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # unused: no batch norm

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        frames >= 8, bands >= 32. Sows the groups of EMBEDDING as intermediates/embedding, and all,
        weighted, as intermediates/features, float32 (batch, features). These are accepted as input
        instead: only the head is then applied.
        """
        features = x if x.ndim == 2 else self._features(x.astype(jnp.float32))
        features = nn.Dropout(self.dropout, deterministic=not train)(features.astype(self.dtype))
        logits = nn.Dense(
            self.num_classes, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="logits"
        )
        return logits(features).astype(jnp.float32)

    def _features(self, x: jax.Array) -> jax.Array:
        learnt = feature_groups.learnt_banks(self, FEATURE_SET, x.shape[-1])
        groups = feature_groups.describe(x, learnt, FEATURE_SET)
        standard = {
            name: feature_groups.standardised(self, name, groups[name]) for name in sorted(groups)
        }
        embedding = [standard[name] for name in feature_groups.EMBEDDING]
        self.sow("intermediates", "embedding", jnp.concatenate(embedding, axis=-1))
        weighted = [values / np.sqrt(values.shape[-1]) for values in standard.values()]
        features = jnp.concatenate(weighted, axis=-1)
        self.sow("intermediates", "features", features)
        return features

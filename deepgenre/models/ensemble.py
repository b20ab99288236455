"""Several networks as one: the mean of their logits."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models.layers import Dtype


class Ensemble(nn.Module):
    """The mean of the members' logits: the normalised geometric mean of their probabilities.

    Each member takes the input in windows of its own length, and its logits are averaged over them.
    Parameters of members are stored under members_0, members_1 and so on.
    """

    num_classes: int
    members: tuple[nn.Module, ...]
    windows: tuple[tuple[int, int], ...]  # per member: length and maximum hop, in frames
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # unused: the members have their own

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        Sows the members' concatenated embeddings as intermediates/embedding.
        """
        logits, embeddings = [], []
        for member, (window_frames, hop_frames) in zip(self.members, self.windows, strict=True):
            cut = windows(x, window_frames, hop_frames)
            predicted = member(cut.reshape(-1, *cut.shape[2:]), train=train)
            logits.append(_mean_over_windows(predicted, cut.shape[:2]))
            for embedding in member.variables.get("intermediates", {}).get("embedding", ()):
                embeddings.append(_mean_over_windows(embedding, cut.shape[:2]))
        if embeddings:
            self.sow("intermediates", "embedding", jnp.concatenate(embeddings, axis=-1))
        return jnp.stack(logits).mean(axis=0)


def windows(x: jax.Array, window_frames: int, hop_frames: int) -> jax.Array:
    """Returns (batch, windows, window_frames, bands), evenly spaced over x (batch, frames, bands).

    They are at most a hop apart. An input shorter than a window is the only window, unpadded.
    """
    spare = max(0, x.shape[1] - window_frames)
    starts = np.linspace(0, spare, 1 + -(-spare // hop_frames)).round().astype(int)
    return jnp.stack([x[:, start : start + window_frames] for start in starts], axis=1)


def _mean_over_windows(values: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    return values.reshape(*sizes, -1).mean(axis=1)

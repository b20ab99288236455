"""Several networks as one: what they say on average."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deepgenre.models.layers import Dtype


class Ensemble(nn.Module):
    """The mean of the members' logits: the normalised geometric mean of their probabilities.

    A member hears the input in windows of its own length, and counts by their mean. Parameters of
    members stand under members_0, members_1 and so on.
    """

    num_classes: int
    members: tuple[nn.Module, ...]
    windows: tuple[tuple[int, int], ...]  # of each member: frames, and frames to the next at most
    dtype: Dtype = jnp.float32
    axis_name: str | None = None  # the members have their own

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(batch, frames, bands) -> logits, float32 (batch, num_classes).

        Sows the members' embeddings side by side as intermediates/embedding.
        """
        logits, embeddings = [], []
        for member, (window_frames, hop_frames) in zip(self.members, self.windows, strict=True):
            heard = windows(x, window_frames, hop_frames)
            said = member(heard.reshape(-1, *heard.shape[2:]), train=train)
            logits.append(_mean_over_windows(said, heard.shape[:2]))
            for embedding in member.variables.get("intermediates", {}).get("embedding", ()):
                embeddings.append(_mean_over_windows(embedding, heard.shape[:2]))
        if embeddings:
            self.sow("intermediates", "embedding", jnp.concatenate(embeddings, axis=-1))
        return jnp.stack(logits).mean(axis=0)


def windows(x: jax.Array, window_frames: int, hop_frames: int) -> jax.Array:
    """Returns (batch, windows, window_frames, bands), evenly spread over x (batch, frames, bands).

    They are a hop apart at most; of an input that is shorter than a window, it is the only one.
    """
    spare = max(0, x.shape[1] - window_frames)
    starts = np.linspace(0, spare, 1 + -(-spare // hop_frames)).round().astype(int)
    return jnp.stack([x[:, start : start + window_frames] for start in starts], axis=1)


def _mean_over_windows(values: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    return values.reshape(*sizes, -1).mean(axis=1)

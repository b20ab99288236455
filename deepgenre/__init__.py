"""deepgenre: hears a piece of music and says its genre and tags."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepgenre.inference.tagger import Tagger


def load(weights: str = "gtzan") -> "Tagger":
    """Returns a tagger by the name of weights, or of a workdir or a .safetensors file of them.

    Raises errors.UserError where there are none, or they are damaged.
    """
    from deepgenre.inference import (
        tagger,  # JAX takes seconds to import: not with `import deepgenre`
    )

    return tagger.load(weights)

"""deepgenre: genre classification and tagging of recorded music."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepgenre.inference.tagger import Tagger

__version__ = "0.2.0"


def load(weights: str = "gtzan") -> "Tagger":
    """Returns a tagger with the weights of a name, a workdir or a .safetensors file.

    Raises errors.UserError where they do not exist or are damaged.
    """
    from deepgenre.inference import tagger  # JAX takes seconds to import

    return tagger.load(weights)

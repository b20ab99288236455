"""deepgenre: genre classification and tagging of recorded music."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from deepgenre.inference.tagger import Tagger

__version__ = "0.2.0"


def load(
    weights: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]" = "gtzan",
) -> "Tagger":
    """Returns a tagger with the weights of a name, a workdir or a .safetensors file.

    Several, as a list: their ensemble. Raises errors.UserError where they do not exist, are damaged
    or cannot form an ensemble.
    """
    from deepgenre.inference import tagger  # JAX takes seconds to import

    return tagger.load(weights)

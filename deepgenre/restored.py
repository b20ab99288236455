"""What is handed from where weights are kept to where they are used."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from deepgenre.spec import Spec


@dataclasses.dataclass(frozen=True)
class Restored:
    """Weights and all that is needed to use them."""

    spec: Spec
    variables: dict[str, Any]  # 'params' and 'batch_stats', as linen takes them
    step: int
    metrics: Mapping[str, float]  # of validation, when they were saved
    licence: str = ""  # text under which they may be used, where it is not their maker's alone

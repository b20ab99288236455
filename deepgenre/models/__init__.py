"""The table of networks: a row a name, with its module, source and what it hears."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from deepgenre.errors import UserError
from deepgenre.models.paper import Paper1D, Paper2D
from deepgenre.nearest import choose


@dataclasses.dataclass(frozen=True)
class Network:
    """A network by name. Modules map float32 (batch, frames, bands) to logits (batch, classes)."""

    module: Callable[..., nn.Module]
    source: str
    min_frames: int  # shorter input is padded


MODELS: Mapping[str, Network] = {
    "paper_1d": Network(Paper1D, "Deep Music Genre (2017), GTZAN", min_frames=298),
    "paper_2d": Network(Paper2D, "Deep Music Genre (2017), MagnaTagATune", min_frames=120),
}


def network(name: str) -> Network:
    """Returns the row of a network; raises UserError naming the nearest for an unknown one."""
    return choose(MODELS, name, "config.model")


def build(
    name: str,
    num_classes: int,
    options: Mapping[str, Any],
    *,
    dtype: str = "float32",
    axis_name: str | None = None,
) -> nn.Module:
    """Returns the network's module; options that are None keep the network's own default."""
    module = network(name).module
    chosen = {field: value for field, value in options.items() if value is not None}
    fields = {field.name for field in dataclasses.fields(module)} - {  # pyright: ignore
        "num_classes",
        "dtype",
        "axis_name",
        "parent",
        "name",
    }
    for field in chosen:
        if field not in fields:
            raise UserError(
                f"config.network.{field}: {name} has no such option; it has: "
                f"{', '.join(sorted(fields))}"
            )
    return module(num_classes=num_classes, dtype=dtype, axis_name=axis_name, **chosen)

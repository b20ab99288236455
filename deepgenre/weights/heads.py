"""Linear heads as small files, which name the network whose embedding they use.

The spec's `network` of a head, beside what `models.build` takes:

of           name and digest (`digest.model_digest`) of the weights that the head belongs to
familiarity  quantiles of the familiarity of the examples, ascending, see `aggregation`
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deepgenre import models
from deepgenre.config import complete
from deepgenre.errors import UserError
from deepgenre.models.linear_head import BODY
from deepgenre.weights import weight_file
from deepgenre.weights.digest import model_digest
from deepgenre.weights.spec import Spec, Weights

SHOWN = 12  # hexadecimal digits of a digest in messages


def spec_of(
    body: Weights, name: str, classes: tuple[str, ...], *, multi_label: bool, num_songs: int
) -> Spec:
    """Returns the spec of a head on the embedding of weights with this name.

    Its config reads a folder or manifest: the data of an evaluation are the user's own.
    """
    changes = {"dataset": "folder", "split": "given_or_random", "multi_label": multi_label}
    config = {**complete(body.spec.config).to_dict(), **changes, "select_by": "", "top_tags": 0}
    network = {
        "body": {
            "model": body.spec.model,
            "network": dict(body.spec.network),
            "num_classes": len(body.spec.classes),
        },
        "num_songs": num_songs,
        "of": {"name": name, "digest": model_digest(body)},
    }
    return dataclasses.replace(
        body.spec,
        model=models.LINEAR_HEAD,
        network=network,
        classes=classes,
        multi_label=multi_label,
        config=config,
        temperature=1.0,
    )


def attached(head: Weights, body: Weights) -> Weights:
    """Returns the head with the variables of its body, ready for inference."""
    variables = {name: dict(head.variables.get(name, {})) for name in ("params", "batch_stats")}
    for collection, tree in body.variables.items():
        if tree:
            variables[collection][BODY] = tree
    return dataclasses.replace(head, variables=variables, licence=body.licence)


def is_detached(weights: Weights) -> bool:
    """Returns whether weights are a head without the variables of its body."""
    return weights.spec.model == models.LINEAR_HEAD and BODY not in weights.variables["params"]


def completed(
    head: Weights, path: Path, named: Mapping[str, Path], how_to_get: Callable[[str], str]
) -> Weights:
    """Returns the head of a file with its body, which lies beside the file or has a name.

    named: weight files by name. how_to_get: of a name. Raises UserError where the body is
    missing, or weights of its name are others than those that the head was made with.
    """
    name, digest = _reference(head, path)
    places = [path.with_name(f"{name}.safetensors"), *([named[name]] if name in named else [])]
    others = []
    for place in places:
        if place.is_file() and place.resolve() != path.resolve():
            body = weight_file.read(place)
            found = model_digest(body)
            if found == digest:
                return attached(head, body)
            others.append(f"{place} is {found[:SHOWN]}")
    if not others:
        raise UserError(
            f"{path}: needs the weights {name!r}, which are missing; {how_to_get(name)}"
        )
    raise UserError(
        f"{path}: was made with other weights {name!r} ({digest[:SHOWN]}, but "
        f"{'; '.join(others)}); put those that it was made with beside it"
    )


def _reference(head: Weights, path: Path) -> tuple[str, str]:
    of: Any = head.spec.network.get("of")
    if isinstance(of, Mapping):
        name, digest = of.get("name"), of.get("digest")
        if isinstance(name, str) and isinstance(digest, str) and Path(name).name == name:
            return name, digest
    raise UserError(f"{path}: does not say which weights it belongs to; make it again")

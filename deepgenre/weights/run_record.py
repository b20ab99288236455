"""The file `config.json` of a workdir: the spec of its run, with the locations of its data.

Locations belong to a run on one machine: checkpoints and weight files have none.
"""

import json
from pathlib import Path
from typing import Any

from deepgenre.errors import UserError
from deepgenre.files import parse_json, replacing
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec

NAME = "config.json"


def write(workdir: Path, spec: Spec, data_dir: Path) -> None:
    """Writes the record of a run; its key 'data_dir' is the absolute path of its data."""
    record = {**specs.to_json(spec), "data_dir": str(data_dir.resolve())}
    with replacing(workdir / NAME) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read(workdir: Path) -> Spec | None:
    """Returns the spec of a run; None of a workdir that contains evaluations only.

    Raises UserError where the record is damaged.
    """
    path = workdir / NAME
    if not path.exists():
        return None
    try:
        fields = parse_json(path.read_text(encoding="utf-8"))
        fields.pop("data_dir", None)  # the location of the run's data
        return specs.from_json(fields)
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: is damaged ({error}); remove it") from error


def config(path: Path) -> dict[str, Any]:
    """Returns the config in a record; raises UserError where the file is none."""
    try:
        fields = parse_json(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is not the config.json of a run ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(fields, dict):
        raise UserError(f"{path}: is not the config.json of a run: 'config' is no object")
    return fields


def locations(workdir: Path) -> dict[str, str]:
    """Returns the fields of the run's config that name places on its machine; {} if not known."""
    path = workdir / NAME
    if not path.is_file():
        return {}
    fields = config(path)
    return {name: fields[name] for name in specs.LOCATIONS if name in fields}

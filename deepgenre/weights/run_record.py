"""The file `config.json` of a workdir: the spec of its run, with the locations of its data.

Locations belong to a run on one machine: checkpoints and weight files have none. The last key,
"sha256", is the digest of the others, as JSON with sorted keys; records of earlier versions have
none.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepgenre.errors import UserError
from deepgenre.files import parse_json, replacing
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec

NAME = "config.json"
DIGEST = "sha256"


def write(workdir: Path, spec: Spec, data_dir: Path) -> None:
    """Writes the record of a run; its key 'data_dir' is the absolute path of its data."""
    record = {**specs.to_json(spec), "data_dir": str(data_dir.resolve())}
    record[DIGEST] = _digest(json.loads(json.dumps(record)))
    with replacing(workdir / NAME) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _digest(record: Mapping[str, Any]) -> str:
    """Returns the digest of a record as it is read back."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """Returns a record; raises OSError, and ValueError or TypeError where it is damaged."""
    fields = dict(parse_json(path.read_text(encoding="utf-8")))
    if fields.pop(DIGEST, None) not in (None, _digest(fields)):
        raise ValueError(f"does not match its {DIGEST}; if you changed it, remove that line")
    return fields


def read(workdir: Path) -> Spec | None:
    """Returns the spec of a run; None of a workdir that contains evaluations only.

    Raises UserError where the record is damaged.
    """
    path = workdir / NAME
    if not path.exists():
        return None
    try:
        fields = _read(path)
        fields.pop("data_dir", None)  # the location of the run's data
        return specs.from_json(fields)
    except (ValueError, TypeError, UserError) as error:
        raise UserError(f"{path}: is damaged ({error}); remove it") from error


def config(path: Path) -> dict[str, Any]:
    """Returns the config in a record; raises UserError where the file is none."""
    try:
        fields = _read(path)["config"]
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

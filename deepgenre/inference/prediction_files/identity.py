"""What the rows of a prediction file were made with: <output>.meta.json beside it.

A file beside the output leaves the output as other programs read it, in every format. It is written
after the output begins to hold rows of these settings and removed before it holds others: a run
killed in between leaves an output without identity, never one with a wrong identity.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import parse_json, replacing
from deepgenre.weights.spec import differences

Identity = Mapping[str, Any]  # settings by name, as JSON


def path_of(output: Path) -> Path:
    """Returns the path of an output's identity."""
    return output.with_name(f"{output.name}.meta.json")


def write(output: Path, identity: Identity) -> None:
    """Writes the identity of an output, atomically."""
    with replacing(path_of(output)) as temporary:
        temporary.write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")


def remove(output: Path) -> None:
    """Removes the identity of an output, if it has one."""
    path_of(output).unlink(missing_ok=True)


def check(output: Path, identity: Identity) -> None:
    """Raises UserError naming the settings in which an existing output differs from `identity`.

    Warns where the output has none: earlier versions wrote none.
    """
    path = path_of(output)
    try:
        old = parse_json(path.read_text(encoding="utf-8"))
        changes = differences(old, json.loads(json.dumps(identity)))
    except FileNotFoundError:
        log.warning(
            "%s: does not state with which weights and options it was made; it is continued as if "
            "they were the same", output,
        )  # fmt: skip
        return
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: is damaged; give another --output") from error
    if changes:
        raise UserError(
            f"{output}: cannot be resumed: it was made with other settings "
            f"({'; '.join(changes)}); repeat those, or give another --output"
        )

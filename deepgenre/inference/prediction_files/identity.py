"""What the rows of a prediction file were made with: <output>.meta.json beside it.

Of a format whose rows have no checksums, it also states how many bytes of the output were there
when it was written, and their digest: a changed score is found before the output is resumed.
While an output is replaced by one of the same settings, its identity has no digest.

A file beside the output leaves the output as other programs read it, in every format. It is written
after the output begins to hold rows of these settings and removed before it holds others: a run
killed in between leaves an output without identity, never one with a wrong identity.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import parse_json, replacing
from deepgenre.weights.spec import differences

CONTENT = "content"  # key of bytes and digest of the output; earlier versions wrote none
Identity = Mapping[str, Any]  # settings by name, as JSON


def path_of(output: Path) -> Path:
    """Returns the path of an output's identity."""
    return output.with_name(f"{output.name}.meta.json")


def write(output: Path, identity: Identity, *, with_digest: bool = False) -> None:
    """Writes the identity of an output, atomically; with the digest of what it holds now."""
    with replacing(path_of(output)) as temporary:
        content = {CONTENT: _digest(output, output.stat().st_size)} if with_digest else {}
        text = json.dumps({**identity, **content}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def _digest(output: Path, num_bytes: int) -> dict[str, Any]:
    """Returns the digest of the first bytes of an output, and how many of them there are."""
    digest, size = hashlib.sha256(), 0
    with output.open("rb") as stream:
        os.fsync(stream.fileno())  # before the digest is on disk
        while block := stream.read(min(1 << 20, num_bytes - size)):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def remove(output: Path) -> None:
    """Removes the identity of an output, if it has one."""
    path_of(output).unlink(missing_ok=True)


def check(output: Path, identity: Identity) -> None:
    """Raises UserError naming the settings in which an existing output differs from `identity`.

    Warns where the output has none: earlier versions wrote none.
    """
    path = path_of(output)
    try:
        old = dict(parse_json(path.read_text(encoding="utf-8")))
        content = old.pop(CONTENT, None)
        changes = differences(old, json.loads(json.dumps(identity)))
        is_as_written = content is None or _digest(output, content["bytes"]) == content
    except FileNotFoundError:
        log.warning(
            "%s: does not state with which weights and options it was made; it is continued as if "
            "they were the same", output,
        )  # fmt: skip
        return
    except (ValueError, AttributeError, TypeError, KeyError, OverflowError) as error:
        raise UserError(f"{path}: is damaged; give another --output") from error
    if changes:
        raise UserError(
            f"{output}: cannot be resumed: it was made with other settings "
            f"({'; '.join(changes)}); repeat those, or give another --output"
        )
    if not is_as_written:
        raise UserError(
            f"{output}: cannot be resumed: was changed or damaged since it was written, as its "
            f"SHA-256 tells; give another --output, or remove {path} to continue it as it is"
        )

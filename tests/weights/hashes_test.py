"""SECURITY.md lists the SHA-256 of every weight file that is shipped or imported."""

import hashlib
from pathlib import Path

from deepgenre.weights import musicnn
from deepgenre.weights.loading import SHIPPED

TABLE = (Path(__file__).parents[2] / "SECURITY.md").read_text()


def test_shipped_and_imported_weights_are_listed():
    shipped = sorted(SHIPPED.glob("*.safetensors"))
    assert shipped
    for path in shipped:
        assert f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`" in TABLE, path.name
    assert f"`{musicnn.WHEEL_SHA256}`" in TABLE

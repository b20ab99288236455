"""Weights carry no path of the machine that they were made on; the run's record does."""

import json
import re
from pathlib import Path

import pytest
import tiny
from safetensors import safe_open

from deepgenre.errors import UserError
from deepgenre.weights import checkpoint, export, loading, run_record
from deepgenre.weights import spec as specs

ABSOLUTE = re.compile(r"""["'\s](/[\w.-]+/[\w./-]+|[A-Za-z]:\\\\)""")


def paths_in(text: str) -> list[str]:
    return ABSOLUTE.findall(text)


def header_of(path: Path) -> str:
    with safe_open(path, framework="numpy") as stream:
        return json.dumps(stream.metadata())


@pytest.mark.parametrize("path", sorted(loading.SHIPPED.glob("*.safetensors")), ids=str)
def test_shipped_weights_have_no_path(path):
    assert not paths_in(json.loads(header_of(path))["deepgenre"])


def test_checkpoints_and_exports_have_no_path_and_the_record_has(trained, tones, tmp_path):
    weights = checkpoint.restore(trained)
    assert weights.spec.config["store_dir"] == ""
    headers = [path for path in (trained / "checkpoints").rglob("*") if path.name == "metadata"]
    assert headers
    assert not [path for path in headers if paths_in(path.read_text())]
    export.run(weights, tmp_path / "x.safetensors", "float32")
    assert not paths_in(json.loads(header_of(tmp_path / "x.safetensors"))["deepgenre"])
    record = json.loads((trained / "config.json").read_text())
    assert record["data_dir"] == str(tones)
    assert run_record.locations(trained)["store_dir"] == str(tones.parent / "store")
    assert paths_in((trained / "config.json").read_text())  # the pattern finds paths


def test_config_of_weights_of_an_earlier_version_has_all_fields():
    spec = tiny.spec()
    old = {name: value for name, value in spec.config.items() if name != "label_separator"}
    old["augment"] = {"gain_db": 3.0}
    config = specs.config_of(tiny.spec(config=old))
    assert config.label_separator == ""
    assert config.augment.gain_db == 3.0
    assert config.augment.num_masks == 0


def test_changed_digit_of_the_record_is_found_and_records_of_old_versions_are_read(
    trained, tmp_path
):
    record = tmp_path / run_record.NAME
    whole = (trained / run_record.NAME).read_text()
    record.write_text(whole)
    assert run_record.read(tmp_path) == run_record.read(trained)
    fields = json.loads(whole)
    assert list(fields)[-1] == run_record.DIGEST
    for changed in (whole.replace('"n_mels": 16', '"n_mels": 17'), whole.replace("low", "lov", 1)):
        record.write_text(changed)
        for reader in (run_record.read, run_record.locations):
            with pytest.raises(UserError, match=rf"{record}: .* if you changed it, remove that"):
                reader(tmp_path)
    del fields[run_record.DIGEST]
    record.write_text(json.dumps(fields))
    assert run_record.read(tmp_path) == run_record.read(trained)

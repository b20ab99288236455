"""Weight files: round trip, damage, and loading by name."""

import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from deepgenre import config as defaults
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.weights import loading, weight_file
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec, Weights


@pytest.fixture(scope="module")
def weights() -> Weights:
    config = defaults.get_config()
    frontend = FrontEnd(n_mels=16, n_mfcc=8)
    spec = Spec(
        "paper_1d", {"batch_norm": True}, ("ä, b", "c"), False, frontend, 99.5, 40.25, 298, 149,
        30.0, config.to_dict(),
    )  # fmt: skip
    module = specs.build(spec)
    variables = module.init(jax.random.key(0), np.zeros((1, 298, 16), np.float32), train=False)
    variables = {name: jax.device_get(variables[name]) for name in ("params", "batch_stats")}
    return Weights(spec, variables, step=7, metrics={"accuracy": 0.5, "merit": 0.5})


def test_round_trip(tmp_path: Path, weights: Weights):
    path = tmp_path / "w.safetensors"
    size_bytes = weight_file.write(path, weights, dtype="float32")
    assert size_bytes == path.stat().st_size
    loaded = loading.load(str(path))
    assert specs.to_json(loaded.spec) == specs.to_json(weights.spec)
    assert loaded.step == 7
    assert loaded.metrics == weights.metrics
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, weights.variables)


def test_half_precision_is_half_the_size(tmp_path: Path, weights: Weights):
    full = weight_file.write(tmp_path / "full.safetensors", weights, dtype="float32")
    half = weight_file.write(tmp_path / "half.safetensors", weights, dtype="float16")
    assert half < 0.51 * full
    loaded = loading.load(str(tmp_path / "half.safetensors"))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
        loaded.variables,
        weights.variables,
    )


@pytest.mark.parametrize("index", [200, -1, -5_000])
def test_modified_file_is_rejected(tmp_path: Path, weights: Weights, index: int):
    path = tmp_path / "w.safetensors"
    weight_file.write(path, weights, dtype="float16")
    content = bytearray(path.read_bytes())
    content[index] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"w.safetensors"):
        loading.load(str(path))


@pytest.mark.parametrize("num_bytes", [0, 5, 100, 30_000])
def test_truncated_file_is_rejected(tmp_path: Path, weights: Weights, num_bytes: int):
    path = tmp_path / "w.safetensors"
    weight_file.write(path, weights, dtype="float16")
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(UserError, match=r"not a complete .safetensors"):
        loading.load(str(path))


def test_file_of_another_program_is_rejected(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(UserError, match="not written by deepgenre"):
        loading.load(str(path))


def test_tensors_of_another_network_are_rejected(tmp_path: Path, weights: Weights):
    path = tmp_path / "w.safetensors"
    params = {**weights.variables["params"], "extra": {"kernel": np.zeros(3, np.float32)}}
    other = Weights(weights.spec, {**weights.variables, "params": params}, 7, {})
    weight_file.write(path, other, dtype="float32")
    with pytest.raises(UserError, match=r"do not match the network 'paper_1d'.*extra"):
        loading.load(str(path))


def test_weights_load_by_name(tmp_path: Path, weights: Weights, monkeypatch):
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(tmp_path))
    weight_file.write(tmp_path / "my_tagger.safetensors", weights, dtype="float32")
    assert loading.load("my_tagger").spec.classes == ("ä, b", "c")
    with pytest.raises(UserError, match="did you mean 'my_tagger'"):
        loading.load("my_taggr")
    with pytest.raises(UserError, match=r"nowhere/w.safetensors: no such weights"):
        loading.load("nowhere/w.safetensors")


def test_shipped_weights_contain_no_path_of_a_machine():
    for path in loading.SHIPPED.glob("*.safetensors"):
        content = path.read_bytes()
        header = content[8 : 8 + int.from_bytes(content[:8], "little")].decode()
        assert not re.search(r'"(/|~|[A-Z]:)', header.replace("\\", ""))


def test_exported_weights_do_not_contain_the_location_of_the_data(tmp_path: Path, trained: Path):
    weights = loading.load(str(trained))
    config = {**weights.spec.config, "store_dir": "/a/store", "init_from": "/b"}
    weights = dataclasses.replace(weights, spec=dataclasses.replace(weights.spec, config=config))
    weight_file.write(tmp_path / "x.safetensors", weights, dtype="float32")
    spec = weight_file.read(tmp_path / "x.safetensors").spec
    assert spec.config["store_dir"] == spec.config["init_from"] == ""
    assert {**spec.config, "store_dir": "/a/store", "init_from": "/b"} == config


def test_weights_file_that_cannot_be_written_is_named(tmp_path: Path, trained: Path):
    (tmp_path / "file").touch()
    with pytest.raises((UserError, OSError), match="file"):
        weight_file.write(
            tmp_path / "file" / "x.safetensors", loading.load(str(trained)), dtype="float32"
        )

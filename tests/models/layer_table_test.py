"""Layers of networks: shapes, parameters, and which layer feeds which."""

import flax.linen as nn
import jax
import pytest
from parameter_counts_test import PUBLISHED

from deepgenre import models
from deepgenre.models.layer_table import INPUT, Layer, layers


def table(name: str, frames: int, bands: int, classes: int = 10) -> list[Layer]:
    return layers(models.build(name, classes, {}), frames, bands)


def test_paper_1d_equals_hand_computed_values():
    rows = table("paper_1d", 646, 128)
    assert [row.shape for row in rows] == [(161, 256), (39, 256), (9, 256), (2048,), (10,)]
    assert [row.num_parameters for row in rows] == [
        4 * 128 * 256 + 256,
        *[4 * 256 * 256 + 256] * 2,
        2 * 512 * 2048 + 2048,
        2048 * 10 + 10,
    ]
    assert [row.sources for row in rows] == [(INPUT,), (0,), (1,), (2,), (3,)]
    assert rows[0].options == "256, kernel 4, stride 2, pool 2"
    assert rows[3].options == "2048"


def test_branches_and_sums_of_musicnn():
    rows = {row.name: row for row in table("musicnn", 187, 96)}
    names = list(rows)

    def sources(name: str) -> set[str]:
        return {names[index] for index in rows[name].sources}

    fronts = {f"front_{number}" for number in range(5)}
    for front in fronts:
        assert sources(front) == {"input_norm"}
    assert sources("mid_0_conv") == fronts  # concatenated
    assert sources("mid_2_conv") == {"mid_0_norm", "mid_1_norm"}  # summed
    assert sources("dense") == {"pool_norm"}


@pytest.mark.parametrize(("name", "size", "classes", "count"), PUBLISHED)
def test_every_network_is_complete_and_connected(name, size, classes, count):
    rows = table(name, size[0], size[1], classes)
    assert sum(row.num_parameters for row in rows) == count
    if len(rows) == 1:  # a network without layers, such as kernel_ridge
        return
    used = {source for row in rows for source in row.sources}
    with_shape = [index for index, row in enumerate(rows) if row.shape]
    assert rows[with_shape[-1]].shape[-1] == classes
    assert INPUT in used
    for index in with_shape:
        assert rows[index].sources, rows[index]
        assert index in used or index == with_shape[-1], rows[index]


def test_a_cell_belongs_to_its_recurrent_layer():
    rows = table("lstm", 646, 128)
    (recurrent,) = [row for row in rows if row.kind.startswith("RNN")]
    assert recurrent.kind.startswith("RNN of ")
    assert recurrent.num_parameters > 100_000
    assert recurrent.sources


def test_parameters_of_the_network_itself_are_listed():
    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: bool) -> jax.Array:
            scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
            return nn.Dense(3)((x * scale.reshape(1, 1, -1)).mean(axis=1))

    rows = layers(Scaled(), 5, 4)
    assert [(row.kind, row.num_parameters) for row in rows] == [("Dense", 15), ("Scaled", 4)]
    assert rows[0].sources == (INPUT,)

"""Clips that the weights were trained on are counted, whatever the part is called."""

import dataclasses
from pathlib import Path

import pytest

from deepgenre import config as defaults
from deepgenre.data.parts import parts_for_evaluation
from deepgenre.data.store import Measured, Row
from deepgenre.evaluation.clips import Clips, num_trained_on

MEASURED = Measured("", 1, 1, 0.0, 0.0, 0, 0)
NAMES = ("blues", "rock")
PARTS = {"blues.00029": "train", "rock.00038": "valid", "rock.00057": "train"}
ROWS = [
    Row(key, (key.split(".")[0],), key, part, dataclasses.replace(MEASURED, key=key))
    for key, part in PARTS.items()
]


@pytest.mark.parametrize(
    ("split", "part", "expected"),
    [
        ("fault_filtered", "valid", 0),
        ("fault_filtered", "train", 2),
        ("fault_filtered_all", "valid", 1),
        ("fault_filtered_all", "train", 3),
    ],
)
def test_clips_that_the_weights_were_trained_on_are_counted(split, part, expected):
    config = defaults.get_config()
    config.split = split
    parts = parts_for_evaluation(config, ROWS, NAMES, False)
    clips = Clips(Path(), "gtzan", split, part, parts[part], NAMES, False, train=parts["train"])
    assert num_trained_on(clips) == expected
    assert num_trained_on(dataclasses.replace(clips, train=None)) == 0

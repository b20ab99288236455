"""Parts for evaluation, and what is said where they overlap with the training part."""

import dataclasses

import pytest

from deepgenre import config as defaults
from deepgenre.data import parts
from deepgenre.data.store import Measured, Row

MEASURED = Measured("", 1, 1, 0.0, 0.0, 0, 0)
NAMES = ("blues", "rock")


def rows() -> list[Row]:
    """Returns two training clips and a validation clip of GTZAN's fault-filtered split."""
    return [
        Row(key, (key.split(".")[0],), key, split, dataclasses.replace(MEASURED, key=key))
        for key, split in (
            ("blues.00029", "train"),
            ("rock.00038", "valid"),
            ("rock.00057", "train"),
        )
    ]


def config(split: str):
    given = defaults.get_config()
    given.split = split
    return given


@pytest.mark.parametrize(
    ("split", "part", "warned"),
    [
        ("fault_filtered", "valid", False),
        ("fault_filtered", "train", False),
        ("fault_filtered", "all", False),
        ("fault_filtered_all", "valid", True),
        ("fault_filtered_all", "train", False),
    ],
)
def test_part_that_was_trained_on_is_warned_of(split, part, warned, capfd):
    chosen = parts.part_rows(config(split), rows(), NAMES, False, part)
    assert len(chosen) == {"valid": 1, "all": 3}.get(part, 3 if split.endswith("all") else 2)
    assert ("trained on 1 of the 1 clips of part 'valid'" in capfd.readouterr().err) == warned


def test_clips_that_were_trained_on():
    all_rows = rows()
    given = (all_rows, NAMES, False)
    chosen = parts.trained_on(config("fault_filtered"), all_rows[1:], *given)
    assert [row.key for row in chosen] == ["rock.00057"]
    assert parts.trained_on(config("fault_filtered_all"), all_rows, *given) == all_rows

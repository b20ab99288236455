"""Clips that the weights were trained on are counted, whatever the part is called."""

import dataclasses
from pathlib import Path

import pytest

from deepgenre import config as defaults
from deepgenre.data.datasets import dataset_kind
from deepgenre.data.parts import RANDOM, parts_for_evaluation
from deepgenre.data.store import Measured, Row
from deepgenre.errors import UserError
from deepgenre.evaluation.clips import Clips, num_trained_on, of_rows, own_clips
from deepgenre.weights import run_record
from deepgenre.weights.spec import Spec

MEASURED = Measured("", 1, 1, 0.0, 0.0, 0, 0)
NAMES = ("blues", "rock")
PARTS = {"blues.00029": "train", "rock.00038": "valid", "rock.00057": "train"}
ROWS = [
    Row(key, (key.split(".")[0],), key, part, dataclasses.replace(MEASURED, key=key))
    for key, part in PARTS.items()
]


def spec_of(workdir: Path) -> Spec:
    spec = run_record.read(workdir)
    assert spec
    return spec


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


def test_weights_of_given_parts_are_evaluated_on_clips_without_parts(trained, tones, capsys):
    """As those trained on a file of spectrograms with parts, on the audio, which has none."""
    spec = spec_of(trained)
    given = dataclasses.replace(spec, config={**spec.config, "split": "as_given"}, division="")
    with pytest.raises(UserError, match=r"defines no parts.*evaluate every clip: --eval_split=all"):
        own_clips(given, tones, "", exclude_unknown=False)
    clips = own_clips(given, tones, "all", exclude_unknown=False)
    assert (len(clips.rows), clips.train, clips.test_of) == (24, None, "")
    assert "trained on is unknown: split: 'as_given'" in capsys.readouterr().err


def test_a_random_split_of_other_clips_tells_nothing_about_the_trained_ones(trained, tones, capsys):
    spec = spec_of(trained)
    assert spec.division
    own = own_clips(spec, tones, "all", exclude_unknown=False)
    assert "is unknown" not in capsys.readouterr().err
    for rows, known in (
        (own.rows, True),
        (own.rows[::-1], True),  # the order does not matter
        (own.rows[1:], False),
        ([dataclasses.replace(own.rows[0], group="another"), *own.rows[1:]], False),
    ):
        for part in ("all", "valid"):
            clips = of_rows(spec, tones, rows, part, exclude_unknown=False)
            assert (clips.train is not None) == known
        assert ("trained on is unknown" in capsys.readouterr().err) != known
    earlier = dataclasses.replace(spec, division="")  # not recorded: as before
    assert of_rows(earlier, tones, own.rows[1:], "all", exclude_unknown=False).train


@pytest.mark.parametrize("dataset", ["gtzan", "mtat"])
def test_splits_that_are_not_random_look_at_each_clip_alone(dataset):
    """Else weights would seem not to be trained on a clip when others are missing."""
    keys = {"gtzan": [*PARTS], "mtat": [f"{folder}/a-b-{folder}-0-29.mp3" for folder in "0acdf"]}
    rows = [Row(key, ("x",), key, "train", MEASURED) for key in keys[dataset]]
    for name, split in dataset_kind(dataset).splits.items():
        if name in RANDOM:
            continue
        whole = split(rows, 0)["train"]
        for row in rows:
            rest = [one for one in rows if one is not row]
            assert split(rest, 0).get("train", []) == [key for key in whole if key != row.key], name


def test_audio_is_evaluated_with_the_hop_of_the_weights(trained, tones):
    """Of a run on spectrograms, whose config states another hop than theirs."""
    spec = spec_of(trained)
    other = {**spec.config["frontend"], "hop_length": 2 * spec.frontend.hop_length}
    derived = dataclasses.replace(spec, config={**spec.config, "frontend": other})
    own, clips = (own_clips(one, tones, "all", exclude_unknown=False) for one in (spec, derived))
    assert clips.store == own.store
    assert clips.rows == own.rows

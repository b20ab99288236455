"""Look-up of names in tables."""

import pytest

from deepgenre.errors import UserError, look_up


def test_look_up_suggests_the_closest_name_and_lists_all():
    table = {"paper_random": 1, "folders": 2, "artist_disjoint": 3}
    assert look_up(table, "folders", "config.split") == 2
    with pytest.raises(UserError) as error:
        look_up(table, "paper_randm", "config.split")
    message = str(error.value)
    assert message.startswith("config.split: 'paper_randm'")
    assert "did you mean 'paper_random'?" in message
    assert "artist_disjoint, folders, paper_random" in message


def test_look_up_suggests_nothing_without_a_similar_name():
    with pytest.raises(UserError) as error:
        look_up({"abc": 1}, "zzzzzz", "config.split")
    assert "did you mean" not in str(error.value)

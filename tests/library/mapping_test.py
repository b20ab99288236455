"""Names of classes in files: usual spellings, and mapping files of an owner."""

import pytest

from deepgenre.errors import UserError
from deepgenre.library import mapping

CLASSES = ("rock", "pop", "hiphop", "metal")


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("rock", "Rock"),
        ("hiphop", "Hip-Hop"),
        ("hip hop", "Hip-Hop"),
        ("Hip-Hop", "Hip-Hop"),
        ("rnb", "R&B"),
        ("r&b", "R&B"),
        ("classic rock", "Classic Rock"),
        ("Progressive rock", "Progressive Rock"),
        ("new_age", "New Age"),
        ("80s", "80s"),
        ("AOR", "AOR"),
        ("éthio jazz", "Éthio Jazz"),
    ],
)
def test_spelling_of_genres(name, spelt):
    assert mapping.spell_genre(name) == spelt


def test_names_are_mapped_merged_and_dropped():
    names = {"rock": "Rock & Metal", "metal": "Rock & Metal", "pop": ""}
    labels = ("metal", "rock", "pop", "hiphop")
    assert mapping.names_of(labels, names, genre=True) == ("Rock & Metal", "Hip-Hop")
    assert mapping.names_of(labels, {}, genre=False) == labels


@pytest.mark.parametrize(
    "text",
    [
        "# mine\n\nRock = Rock & Metal\nmetal=Rock & Metal\npop =\n",
        '{"Rock": "Rock & Metal", "metal": "Rock & Metal", "pop": ""}',
        '\ufeff{"rock": " Rock & Metal ", "metal": "Rock & Metal", "pop": " "}',
    ],
)
def test_both_forms_of_the_file(text, tmp_path):
    path = tmp_path / "names"
    path.write_text(text, encoding="utf-8")
    assert mapping.read(path, CLASSES) == {
        "rock": "Rock & Metal",
        "metal": "Rock & Metal",
        "pop": "",
    }


def test_classes_of_other_weights_are_warned_of(tmp_path, capsys):
    path = tmp_path / "names"
    path.write_text("rock = R\npolka = P\n")
    assert mapping.read(path, CLASSES)["rock"] == "R"
    assert f"{path}: these weights have no class 'polka'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rock", "line 1 must be 'class = name', is 'rock'"),
        (b"pop = a\n = b", "line 2 must be 'class = name'"),
        (b"rock = a\nROCK = b", "maps 'ROCK' to 'a' and to 'b'"),
        (b'{"rock": "a", "rock": "b"}', "maps 'rock' to 'a' and to 'b'"),
        (b'{"rock": 1}', "'rock' must map to a text"),
        (b'{"rock": ', "is not valid JSON"),
        (b"polka = x", "none of its classes is one of these weights: hiphop, metal, pop, rock"),
        (b"rock = \xff", "is not UTF-8"),
        (None, "cannot be read (No such file"),
    ],
)
def test_wrong_files_are_named(content, message, tmp_path):
    path = tmp_path / "names"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        mapping.read(path, CLASSES)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)

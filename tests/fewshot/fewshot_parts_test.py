"""Examples, answers in the terminal, and the choice of songs to ask about."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from mutagen import id3, wave

from deepgenre.errors import UserError
from deepgenre.fewshot import asking, examples, selection
from deepgenre.fewshot.asking import Question
from deepgenre.training.logistic import Head, unit


def song(path: Path, artist: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(100), 22_050)
    if artist:
        tags = wave.WAVE(path)
        tags.add_tags()
        assert tags.tags is not None
        tags.tags.add(id3.TPE1(encoding=3, text=[artist]))
        tags.save()
    return path


def test_folders_are_classes_and_tags_name_artists(tmp_path: Path):
    song(tmp_path / "jazz" / "1.wav", "Miles")
    song(tmp_path / "jazz" / "2.wav", " MILES ")
    song(tmp_path / "rock" / "The Band" / "3.wav")
    loose = song(tmp_path / "rock" / "4.wav")
    found = examples.read([str(tmp_path)])
    assert found.classes == ("jazz", "rock") and not found.multi_label
    assert [clip.group for clip in found.clips] == ["miles", "miles", str(loose), "rock/the band"]
    assert found.num_known == 3


def test_playlists_are_classes(tmp_path: Path, caplog):
    one, both, two = (song(tmp_path / f"{name}.wav") for name in ("one", "both", "two"))
    for name, songs in (("calm", (one, both)), ("loud", (two, both, tmp_path / "gone.wav"))):
        (tmp_path / f"{name}.m3u8").write_text("".join(f"{path}\n" for path in songs))
    found = examples.read([str(tmp_path / "calm.m3u8"), str(tmp_path / "loud.m3u8")])
    assert {clip.key: clip.labels for clip in found.clips} == {
        str(one): ("calm",), str(two): ("loud",)
    }  # fmt: skip
    assert len(found.failures) == 1 and "gone.wav" in found.failures[0]


def test_a_manifest_with_several_labels_is_of_tags(tmp_path: Path):
    for name in "abc":
        song(tmp_path / f"{name}.wav")
    table = tmp_path / "songs.csv"
    table.write_text("path,tags\na.wav,calm|slow\nb.wav,\nc.wav,slow\n")
    assert examples.read([str(table)]).multi_label
    table.write_text("path,genre,artist\na.wav,x,Me\nb.wav,y,me\nc.wav,y,You\n")
    found = examples.read([str(table)])
    assert not found.multi_label
    assert [clip.group for clip in found.clips] == ["me", "me", "you"]


def ask(path: Path, replies: list[str], *, multi_label: bool = False) -> list[tuple[str, ...]]:
    """Returns the labels of the answers about two songs."""
    questions = [Question(path.parent / f"{i}.wav", (("jazz", 0.5),)) for i in range(2)]
    given = iter(replies)

    def read_line(_: str) -> str:
        reply = next(given, None)
        if reply is None:
            raise EOFError
        return reply

    classes = ("jazz", "soul", "s")
    answers = asking.ask(questions, classes, path, [], multi_label=multi_label, read_line=read_line)
    return [answer.labels for answer in answers]


def test_answers(tmp_path: Path):
    path = tmp_path / "mine.answers.jsonl"
    assert ask(path, ["JA", "s"]) == [("jazz",), ("s",)]  # a class before the command
    assert ask(path, ["rock", "", "soul"]) == [("soul",)]
    assert ask(path, ["q"]) == []
    assert ask(path, ["jazz | soul", "so"], multi_label=True) == [("jazz", "soul"), ("soul",)]
    song(tmp_path / "0.wav")
    kept = asking.read(path, ("jazz", "soul"), multi_label=True)
    assert [clip.labels for clip in kept] == [("jazz", "soul"), ("soul",)]
    assert [clip.group == clip.key for clip in kept] == [True, True]  # no artist is known
    with pytest.raises(UserError, match=r"'0.wav' has the labels jazz, soul, the examples jazz"):
        asking.read(path, ("jazz",), multi_label=True)


def test_uncertain_and_different_songs_come_first():
    kernel = np.array([[4.0, -4.0], [0, 0]])
    examples_seen = unit(np.array([[1.0, 0.1], [-1.0, 0.1]]))
    head = Head(np.zeros(2), np.ones(2), kernel, np.zeros(2), examples_seen, False)
    songs = np.array([[1.0, 0.0], [0.01, 1.0], [0.02, 1.0], [-0.1, -1.0]])
    chosen = selection.most_useful(head, songs, 10)
    assert {*chosen[:2]} == {1, 3} or {*chosen[:2]} == {2, 3}  # not two that are alike
    assert chosen[-1] == 0 and len(chosen) == 4
    scores = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]])
    np.testing.assert_allclose(selection.uncertainty(scores, multi_label=False), [1, 0.2])
    np.testing.assert_allclose(selection.uncertainty(scores, multi_label=True), [1, 0.2])

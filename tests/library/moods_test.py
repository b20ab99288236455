"""Moods and energy: in the fields of files beside the labels, under the same policies, undone."""

import json
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.inference import energy
from deepgenre.library import file_tags, watch
from deepgenre.weights import essentia_moods, musicnn, published, weight_file
from deepgenre.weights.spec import Weights, build

LOGITS = {"happy": 2.0, "sad": 1.0, "relaxed": -3.0, "aggressive": 3.0, "danceable": -2.0}
SONGS = ("a.mp3", "b.flac")


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights 'moods' whose narrow network gives LOGITS for every song."""
    folder = tmp_path_factory.mktemp("weights")
    spec = published.spec(
        "musicnn_moods",
        [*essentia_moods.MOODS],
        musicnn.FRONT_END,
        window_frames=187,
        hop_frames=187,
        clip_seconds=30.0,
        network={"width": 0.02},
    )
    module, window = build(spec), np.zeros((1, 187, 96), np.float32)
    init = jax.jit(lambda: module.init(jax.random.key(0), window, train=False))
    variables = jax.tree.map(np.asarray, init())
    layer = variables["params"]["moods"]["logits"]
    layer["kernel"] = np.zeros_like(layer["kernel"])
    layer["bias"] = np.array([[LOGITS[name]] for name in spec.classes], np.float32)
    weights = Weights(spec, variables, step=0, metrics={})
    weight_file.write(folder / "moods.safetensors", weights, dtype="float32")
    return folder


@pytest.fixture
def library(tmp_path: Path, weights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of songs, and the weights in their place."""
    monkeypatch.setenv("DEEPGENRE_WEIGHTS", str(weights_folder))
    folder = tmp_path / "library"
    folder.mkdir()
    for name, pitch in zip(SONGS, (440, 880), strict=True):
        soundfile.write(folder / name, tiny.tone(pitch, 4.0, 9), tiny.RATE_HZ)
    file_tags.write(folder / "b.flac", {"mood": ("Mine",)})
    return folder


@pytest.fixture
def organize(library: Path, monkeypatch: pytest.MonkeyPatch, trained: Path):
    """Runs mode `organize` with moods on the library; returns the exit code."""

    def run(*arguments: str, weights: object = trained) -> int:
        output = library.parent / "out"
        common = ["--mode=organize", f"--weights={weights}", f"--output={output}", str(library)]
        return tiny.call(monkeypatch, *common, *arguments)

    return run


@pytest.fixture
def watch_once(library: Path, monkeypatch: pytest.MonkeyPatch, trained: Path):
    """Runs mode `watch` with moods until all songs are processed; returns the exit code."""
    monkeypatch.setattr(watch, "_wait", lambda *_: signal.raise_signal(signal.SIGTERM))

    def run(*arguments: str) -> int:
        output = f"--output={library.parent / 'out'}"
        common = ["--mode=watch", f"--weights={trained}", output, "--settle_seconds=0"]
        return tiny.call(monkeypatch, *common, "--moods", *arguments, library)

    return run


def moods_of(library: Path) -> list[tuple[str, ...]]:
    return [file_tags.read(library / name)["mood"] for name in SONGS]


@pytest.mark.parametrize(
    ("policy", "of_owner"),
    [
        ([], ("Mine",)),
        (["--policy=add"], ("Mine", "Aggressive", "Happy")),
        (["--policy=replace"], ("Aggressive", "Happy")),
    ],
)
def test_moods_are_written_by_the_policy_and_undone(organize, library, policy, of_owner) -> None:
    before = {name: (library / name).read_bytes() for name in SONGS}
    assert organize("--moods", "--write", "--threshold=0", "--describe=loudness", *policy) == 0
    own, others = moods_of(library)
    assert own == ("Aggressive", "Happy")  # 'sad' contradicts 'happy', which is stronger
    assert others == of_owner
    tags = file_tags.read(library / "a.mp3")
    assert tags["genre"] and 1 <= int(tags["energy"][0]) <= 10
    assert not (library.parent / "out" / "happy.m3u8").exists()  # playlists are of genres
    assert organize("--undo") == 0
    assert {name: (library / name).read_bytes() for name in SONGS} == before


def test_weights_of_moods_alone_write_moods_and_playlists(organize, library) -> None:
    assert organize("--write", weights="moods") == 0
    assert moods_of(library) == [("Aggressive", "Happy"), ("Mine",)]
    assert file_tags.read(library / "a.mp3")["genre"] == ()
    assert (library.parent / "out" / "happy.m3u8").exists()


@pytest.mark.parametrize("policy", [[], ["--policy=add"]])
def test_watch_writes_what_organize_writes(organize, watch_once, library, policy) -> None:
    before = {name: (library / name).read_bytes() for name in SONGS}
    options = ["--write", "--threshold=0", "--describe=loudness,tempo,key", *policy]
    assert watch_once(*options) == 0
    of_watch = [file_tags.read(library / name) for name in SONGS]
    assert of_watch[0]["mood"] == ("Aggressive", "Happy")
    assert of_watch[1]["mood"] == (("Mine", "Aggressive", "Happy") if policy else ("Mine",))
    assert all(tags["genre"] and tags["gain"] and tags["energy"] for tags in of_watch)
    assert organize("--undo") == 0
    assert {name: (library / name).read_bytes() for name in SONGS} == before
    assert organize("--moods", *options) == 0
    assert len([*(library.parent / "out").glob("songs-*.jsonl")]) == 1  # the same predictions
    assert [file_tags.read(library / name) for name in SONGS] == of_watch


def test_watch_leaves_moods_that_the_owner_changes(watch_once, library, capsys) -> None:
    assert watch_once("--write", "--threshold=0") == 0
    file_tags.write(library / "a.mp3", {"mood": ("Calm",)})
    capsys.readouterr()
    assert watch_once("--write", "--threshold=0") == 0
    assert moods_of(library) == [("Calm",), ("Mine",)]
    assert " -> " not in capsys.readouterr().out


def test_moods_twice_in_one_field_are_refused(organize, watch_once, capsys) -> None:
    assert organize("--moods", weights="moods") == 1
    assert "--moods: the field mood gets the labels already" in capsys.readouterr().err
    assert watch_once("--field=mood") == 1
    assert "--moods: the field mood gets the labels already" in capsys.readouterr().err


def test_predictions_hold_moods_and_energy(library, monkeypatch, tmp_path) -> None:
    output = tmp_path / "songs.jsonl"
    arguments = ["--mode=predict", "--weights=moods", "--describe=loudness", f"--output={output}"]
    assert tiny.call(monkeypatch, *arguments, str(library)) == 0
    for line in map(json.loads, output.read_text().splitlines()):
        assert line["scores"]["happy"] == pytest.approx(
            1 / (1 + np.exp(-LOGITS["happy"])), abs=1e-4
        )
        scores = np.array([*line["scores"].values()])
        assert line["energy"] == energy.of_song(scores, [*line["scores"]], line)
    assert tiny.call(monkeypatch, *arguments, "--resume", str(library)) == 0


@pytest.mark.parametrize(
    ("loudness_lufs", "aggressive", "relaxed", "expected"),
    [(-40.0, 0.0, 1.0, 0.0), (-5.0, 1.0, 0.0, 1.0), (-17.5, 0.5, 0.5, 0.5), (0.0, 0.4, 0.6, 0.7)],
)
def test_energy_by_hand(loudness_lufs, aggressive, relaxed, expected) -> None:
    scores = np.array([aggressive, relaxed])
    measured = {"loudness_lufs": loudness_lufs}
    assert energy.of_song(scores, ["aggressive", "relaxed"], measured) == pytest.approx(expected)
    assert energy.of_song(scores, ["aggressive", "relaxed"], {"loudness_lufs": None}) is None

"""Style transfer, generation and filters, on networks whose answer is known."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio import frontend as front_end
from deepgenre.audio import sounds
from deepgenre.audio.discover import expand
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.synthesis import (
    clips,
    differentiable,
    experiment,
    filters,
    generate,
    objectives,
    style,
)
from deepgenre.synthesis.experiment import Options, Scorer
from deepgenre.synthesis.optimisation import Prior, compile_descent, waves
from deepgenre.weights import loading
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import features_of

FRONT_END = FrontEnd(n_mels=32, hop_length=512, n_fft=1024)
SHORT = {
    "model": "short_chunk",
    "network": {"width": 0.04},
    "frontend": FRONT_END,
    "window_frames": 64,
    "hop_frames": 64,
    "clip_seconds": 3.0,
}


@pytest.fixture(scope="module")
def weights():
    return tiny.untrained(tiny.spec(**SHORT))


@pytest.fixture
def songs(tmp_path):
    paths = []
    for name, hz in (("low", 200.0), ("high", 3000.0)):
        paths.append(tmp_path / f"{name}.wav")
        soundfile.write(paths[-1], tiny.tone(hz, 4.0, seed=1), tiny.RATE_HZ)
    return paths


@pytest.mark.parametrize("kind", ["log_mel", "mfcc", "musicnn"])
def test_the_differentiable_input_is_that_of_inference(kind):
    frontend = FrontEnd(kind=kind, n_mels=32, n_mfcc=8, hop_length=512, n_fft=1024)
    spec = tiny.spec(frontend=frontend)
    waveform = tiny.tone(440, 2.0, seed=0).astype(np.float32)
    decibels = experiment.decibels(waveform, spec)
    loudest_db = differentiable.loudest(decibels, frontend)
    levels = differentiable.levels_of(jnp.asarray(decibels), frontend, loudest_db)
    expected = features_of(jnp.asarray(front_end.levels(waveform, frontend)), spec)
    inner = slice(2, -2)  # both ends of 'musicnn' are padded by reflection
    found = features_of(levels, spec)
    np.testing.assert_allclose(found[inner], expected[inner], atol=0.05)


def test_maps_and_logits_are_those_of_the_network(weights):
    spec = weights.spec
    shapes = differentiable.layer_shapes(weights)
    assert [*shapes][:2] == ["ConvBlock_0/Conv_0", "ConvBlock_1/Conv_0"]
    levels = jnp.asarray(np.random.default_rng(0).integers(0, 255, (2, 64, 32)), jnp.uint8)
    found = differentiable.maps_of(spec)(weights.variables, levels)
    assert {name: map_.shape[1:] for name, map_ in found.maps.items()} == {
        name: shape[1:] for name, shape in shapes.items()
    }
    expected = specs.build(spec).apply(weights.variables, features_of(levels, spec), train=False)
    assert isinstance(expected, jax.Array)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5)


def test_textures_do_not_depend_on_time_but_on_pitch(weights):
    rng = np.random.default_rng(0)
    decibels = rng.normal(-30, 10, (64, 32)).astype(np.float32)

    def first(decibels):
        network = differentiable.network_of(weights.spec, 0.0)
        return objectives.textures(network, weights.variables, decibels)["ConvBlock_0/Conv_0"]

    reference = first(decibels)
    in_time = np.abs(first(np.roll(decibels, 20, axis=0)) - reference).max()
    in_pitch = np.abs(first(np.roll(decibels, 5, axis=1)) - reference).max()
    assert in_time < 0.3 * in_pitch


def test_descent_reaches_a_known_spectrogram():
    wanted = np.add.outer(np.linspace(-5, 5, 40), np.linspace(0, 3, 16)).astype(np.float32)
    descend = compile_descent(
        lambda key, variables, decibels: ((decibels - variables) ** 2).mean(),
        Prior(distance=0.0, smoothness=1.0),
        (40, 16),
        steps=200,
        step_db=0.5,
    )
    found, losses = descend(np.zeros((40, 16), np.float32), wanted, 0, "test")
    np.testing.assert_allclose(found, wanted, atol=0.3)
    assert len(losses) == 200


def test_waves_are_smooth_and_of_unit_size():
    draws = jnp.asarray(np.random.default_rng(0).normal(size=(64, 128)), jnp.float32)
    rough, smooth = (np.asarray(waves((64, 128), power)(draws)) for power in (0.0, 2.0))
    assert rough.std() == pytest.approx(1, abs=0.05)
    assert np.diff(smooth, axis=0).std() / smooth.std() < 0.3 * np.diff(rough, axis=0).std()


def test_a_loss_that_is_not_finite_is_reported():
    descend = compile_descent(
        lambda key, variables, decibels: decibels.sum() * np.nan,
        Prior(0.0, 1.0),
        (4, 4),
        steps=2,
        step_db=1.0,
    )
    with pytest.raises(UserError, match="not finite"):
        descend(np.zeros((4, 4), np.float32), None, 0, "style")


def test_generation_raises_the_score_of_the_network(trained, songs, tmp_path, capsys):
    weights = loading.load(str(trained))  # tells low tones from high ones
    options = Options(
        tmp_path / "out", [Scorer("second", "other", weights)], target="high", seconds=2, steps=60
    )
    assert generate.run(weights, "mine", [songs[0]], options) == 0
    numbers = json.loads((tmp_path / "out/generate.json").read_text())
    first = numbers["networks"][0]
    assert first["class"] == "high"
    assert first["scores"]["after"] > first["scores"]["before"] + 0.05
    assert numbers["networks"][1]["scores"] == first["scores"]  # the same weights, also measured
    rescored = experiment.scores(weights, [tmp_path / "out/after.wav"])[0]
    index = weights.spec.classes.index("high")
    assert rescored[index] == pytest.approx(first["scores"]["after"], abs=1e-4)
    assert (tmp_path / "out/generate.png").stat().st_size > 10_000
    assert numbers["sounds"]["after"]["loudness_lufs"] > -60
    assert "optimised  mine: high" in capsys.readouterr().out


def test_generation_from_noise_is_reproducible(weights, tmp_path):
    for name in ("one", "two"):
        options = Options(tmp_path / name, target="a", seconds=2, steps=3)
        assert generate.run(weights, "mine", [], options) == 0
    assert (tmp_path / "one/after.wav").read_bytes() == (tmp_path / "two/after.wav").read_bytes()


def test_both_networks_score_the_same_class(weights, songs, tmp_path, capsys):
    """That of the first network, also where the style differs more in another by the second."""
    spec = dataclasses.replace(weights.spec, classes=("b", "c", "a"))
    others = [dataclasses.replace(weights.spec, classes=("x", "y", "z")), spec]
    check = [Scorer("second", "", dataclasses.replace(weights, spec=each)) for each in others]
    options = Options(tmp_path / "out", check, seconds=2, steps=1)
    assert style.run(weights, "mine", [songs[0]], songs[1], options) == 0
    numbers = json.loads((tmp_path / "out/style.json").read_text())
    first, without, second = (network["class"] for network in numbers["networks"])
    assert second == first
    assert without == "xyz"["abc".index(first)]
    assert "--check" not in capsys.readouterr().err


def test_style_brings_textures_closer(weights, songs, tmp_path, capsys):
    options = Options(tmp_path / "out", seconds=3, steps=60)
    assert style.run(weights, "mine", [songs[0]], songs[1], options) == 0
    numbers = json.loads((tmp_path / "out/style.json").read_text())
    assert numbers["loss"][-1] < 0.8 * numbers["loss"][0]
    assert "whether another one agrees is not measured" in capsys.readouterr().err
    names = ["after.wav", "before.wav", "style.json", "style.png", "style.wav"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_filters_find_the_song_with_the_strongest_response(weights, songs, tmp_path):
    layer = "ConvBlock_1/Conv_0"
    options = filters.Options(tmp_path / "out", layer=layer, channels=[1, 0], num_excerpts=2)
    assert filters.run_on_files(weights, expand([str(path) for path in songs]), options) == 0
    lines = [json.loads(line) for line in (tmp_path / "out/filters.jsonl").open()]
    assert [line["channel"] for line in lines] == [1, 0]
    spec, strongest = weights.spec, {}
    for path in songs:
        samples, _ = soundfile.read(path, dtype="float32")
        pieces = np.array_split(samples, round(4.0 / spec.clip_seconds))
        cut = [jnp.asarray(front_end.levels(piece, FRONT_END)) for piece in pieces]
        windows = [w for one in cut for w in differentiable.windows_of(one, spec)]
        maps = differentiable.maps_of(spec)(weights.variables, jnp.stack(windows)).maps[layer]
        strongest[path.name] = np.asarray(maps.max(axis=(0, 1, 2)))
    for line in lines:
        best = line["excerpts"][0]
        expected = max(strongest, key=lambda name: strongest[name][line["channel"]])
        assert best["song"] == expected
        assert best["response"] == pytest.approx(strongest[expected][line["channel"]], rel=1e-3)
        assert line["maximised"]["response"] > line["mean"]
        assert (tmp_path / "out" / best["sound"]).exists()


def test_channels_that_are_not_active_are_maximised_too(songs, tmp_path):
    """Of musicnn's front layer, which returns what follows ReLU."""
    frontend = FrontEnd(kind="musicnn", n_mels=32, hop_length=512, n_fft=1024)
    spec = tiny.spec(
        **{**SHORT, "model": "musicnn", "network": {"width": 0.05}, "frontend": frontend}
    )
    weights = tiny.untrained(spec)
    front = weights.variables["params"]["front_0"]["conv"]
    front["bias"] = np.where(np.arange(front["bias"].size) % 2, -100, 1).astype(np.float32)
    given = {"layer": "front_0", "channels": [0, 1], "num_excerpts": 1}
    options = filters.Options(tmp_path / "out", **given)
    assert filters.run_on_files(weights, expand([str(path) for path in songs]), options) == 0
    for line in map(json.loads, (tmp_path / "out/filters.jsonl").open()):
        assert line["maximised"]["response"] > line["excerpts"][0]["response"]
        assert line["excerpts"][0]["end_seconds"] - line["excerpts"][0]["start_seconds"] < 1


def test_flatness_tells_noise_from_a_tone():
    noise = clips.pink_noise(22_050, 2, seed=0)
    white = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
    assert sounds.flatness(white) == pytest.approx(0.56, abs=0.03)
    tone = sounds.flatness(tiny.tone(440, 2, 0).astype(np.float32))
    pink = sounds.flatness(noise)
    assert tone is not None
    assert pink is not None
    assert tone < 0.1
    assert 0.05 < pink < 0.56
    assert sounds.measure(np.zeros(44_100, np.float32), 22_050) == {
        "peak_dbfs": None,
        "loudness_lufs": None,
        "spectral_flatness": None,
    }


def test_noise_falls_by_three_decibels_per_octave():
    power = np.abs(np.fft.rfft(clips.pink_noise(22_050, 10, seed=0))) ** 2
    hz = np.fft.rfftfreq(220_500, 1 / 22_050)
    octave = [power[(hz >= low) & (hz < 2 * low)].mean() for low in (200, 400, 800, 1600)]
    np.testing.assert_allclose(10 * np.log10(np.divide(octave[1:], octave[:-1])), -3, atol=0.4)


MISTAKES = [
    ({"target": "bb"}, "--target: of mine: 'bb' is unknown; did you mean 'b'"),
    ({"target": ""}, "--target: give a class: a, b, c"),
    ({"steps": 0}, "--steps: must be 1"),
    ({"seconds": 0.5}, "--seconds: must be 1 to 60"),
    ({"seconds": float("nan")}, "--seconds: must be 1 to 60"),
    ({"start_seconds": 10.0}, "low.wav: ends at 4.0 s, before --start_seconds=10"),
    ({"start_seconds": -1.0}, "--start_seconds: must be 0 or more"),
    ({"output": None}, "--output: give a folder"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes_are_named(weights, songs, tmp_path, changes, message):
    given = {"output": tmp_path / "out", "target": "b", **changes}
    with pytest.raises(UserError) as error:
        generate.run(weights, "mine", [songs[0]], Options(**given))
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_results_are_not_overwritten(weights, songs, tmp_path):
    with pytest.raises(UserError, match="exists; give a new or an empty folder"):
        generate.run(weights, "mine", [songs[0]], Options(tmp_path, target="b"))
    with pytest.raises(UserError, match="exists"):
        filters.run_on_files(weights, expand([str(songs[0])]), filters.Options(tmp_path))


def test_networks_that_cannot_be_used_are_named(songs, tmp_path):
    waveform = tiny.spec(
        model="sample_cnn", network={"width": 0.1}, frontend=FrontEnd(kind="waveform"),
        window_frames=59_049, hop_frames=59_049,
    )  # fmt: skip
    options = Options(tmp_path / "out", target="b")
    with pytest.raises(UserError, match="sample_cnn takes a waveform"):
        generate.run(tiny.untrained(waveform), "mine", [songs[0]], options)
    dense = tiny.untrained(tiny.spec(model="dbn", network={}))
    with pytest.raises(UserError, match="dbn has no convolution whose output"):
        filters.run_on_files(dense, expand([str(songs[0])]), filters.Options(tmp_path / "out"))
    assert jax.tree.leaves(dense.variables)


def test_a_layer_or_channel_that_does_not_exist_is_named(weights, songs, tmp_path):
    found = expand([str(songs[0])])
    with pytest.raises(UserError, match="--layer: 'Conv_9' is unknown"):
        filters.run_on_files(weights, found, filters.Options(tmp_path / "a", layer="Conv_9"))
    with pytest.raises(UserError, match="--channels: must be 0 to"):
        filters.run_on_files(weights, found, filters.Options(tmp_path / "b", channels=[999]))


def test_files_that_fail_are_listed_and_the_rest_is_used(weights, songs, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("not audio")
    found = expand([str(songs[0]), str(tmp_path / "text.wav")])
    options = filters.Options(tmp_path / "out", num_excerpts=1, channels=[0])
    assert filters.run_on_files(weights, found, options) == 1
    assert "text.wav" in capsys.readouterr().err
    assert (tmp_path / "out/filters.png").exists()

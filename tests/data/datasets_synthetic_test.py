"""The synthetic corpus: files, composition, synthesis and rendering."""

import dataclasses
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from deepgenre.data.composer.composition import Line, Note, compose
from deepgenre.data.composer.harmony import (
    Chord,
    melodic_pitch_classes,
    next_voicing,
    parse_progression,
)
from deepgenre.data.composer.instruments import DRUMS, INSTRUMENTS
from deepgenre.data.composer.rendering import PEAK, render
from deepgenre.data.composer.styles import STYLES
from deepgenre.data.datasets import synthetic
from deepgenre.errors import UserError

SECONDS = 1.0
PIECES = st.tuples(st.sampled_from(sorted(STYLES)), st.integers(0, 2**32))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    assert synthetic.compose_corpus(folder, clips_per_style=4, seconds=SECONDS) == 40
    return folder


def test_files_have_requested_format_rate_channels_and_duration(corpus: Path):
    for style in STYLES:
        paths = sorted((corpus / style).iterdir())
        assert [path.name for path in paths] == [
            f"{style}.0000{index}.{suffix}"
            for index, suffix in enumerate(("wav", "flac", "ogg", "mp3"))
        ]
        for index, path in enumerate(paths):
            samples, rate_hz = soundfile.read(path, always_2d=True)
            assert rate_hz == (44100 if index == 2 else 22050)
            assert samples.shape == (round(SECONDS * rate_hz), 2 if index == 1 else 1)
            assert soundfile.info(path).format == synthetic.FORMATS[path.suffix[1:]][0]


def test_clips_are_not_silent_or_clipped_and_vary_in_loudness(corpus: Path):
    loudness_db = []
    for path in corpus.rglob("*.00*"):
        samples, _ = soundfile.read(path)
        assert np.abs(samples).max() <= 0.99
        loudness_db.append(10 * np.log10(np.mean(samples**2)))
    assert -30 < min(loudness_db) < max(loudness_db) < -12
    assert np.std(loudness_db) > 1


def test_worker_processes_write_the_same_samples(corpus: Path, tmp_path: Path):
    totals = []

    def progress(items):
        totals.append(len(items))
        return items

    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        num_written = synthetic.compose_corpus(
            tmp_path, clips_per_style=4, seconds=SECONDS, executor=executor, progress=progress
        )
    assert totals == [num_written] == [40]
    for path in corpus.rglob("*.00*"):
        twin = tmp_path / path.relative_to(corpus)
        if path.suffix == ".ogg":  # libsndfile draws a random stream number per file
            assert np.array_equal(soundfile.read(path)[0], soundfile.read(twin)[0])
        else:
            assert path.read_bytes() == twin.read_bytes()


def test_rerun_writes_only_missing_files(tmp_path: Path):
    def corpus(clips_per_style: int) -> int:
        return synthetic.compose_corpus(tmp_path, clips_per_style=clips_per_style, seconds=0.3)

    assert corpus(1) == 10
    deleted, kept = tmp_path / "rock/rock.00000.wav", tmp_path / "metal/metal.00000.wav"
    content = deleted.read_bytes()
    deleted.unlink()
    kept.write_bytes(b"kept")
    assert corpus(1) == 1
    assert deleted.read_bytes() == content
    assert kept.read_bytes() == b"kept"
    assert corpus(2) == 10
    assert corpus(2) == 0
    assert not list(tmp_path.rglob("*.part"))


def test_failed_clip_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        return np.full((22050, 3), 0.1, np.float32)  # more channels than the file has

    monkeypatch.setattr(synthetic, "render", broken)
    with pytest.raises(ValueError, match="shape"):
        synthetic.compose_corpus(tmp_path, clips_per_style=1)
    assert not [path for path in tmp_path.rglob("*chorale*") if path.is_file()]


def test_folder_with_other_settings_is_rejected(tmp_path: Path):
    synthetic.compose_corpus(tmp_path, clips_per_style=1, seconds=0.3)
    for other in ({"seed": 1, "seconds": 0.5}, {"seed": 0, "seconds": 1.0}):
        with pytest.raises(UserError, match="use another folder"):
            synthetic.compose_corpus(tmp_path, clips_per_style=1, **other)


def test_clips_differ_by_seed_style_and_index(corpus: Path, tmp_path: Path):
    synthetic.compose_corpus(tmp_path, clips_per_style=1, seconds=SECONDS, seed=1)
    paths = [*corpus.rglob("*.00000.wav"), *corpus.rglob("*.00003.mp3")]
    clips = [soundfile.read(path)[0] for path in (*paths, *tmp_path.rglob("*.wav"))]
    correlations = np.abs(np.corrcoef(clips)) - np.eye(30)
    assert correlations.max() < 0.5


@pytest.mark.parametrize(
    "invalid", [{"clips_per_style": 0}, {"seconds": 0.0}, {"seed": -1}, {"channels": (1, 6)}]
)
def test_invalid_numbers_raise_user_error(tmp_path: Path, invalid: dict):
    with pytest.raises(UserError, match=r"Cannot compose a synthetic corpus with .*: use at least"):
        synthetic.compose_corpus(tmp_path, **invalid)


def test_file_instead_of_folder_raises_user_error(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        synthetic.compose_corpus(tmp_path / "taken")


def test_read_returns_styles_as_labels(corpus: Path):
    dataset = synthetic.read(corpus, multi_label=False)
    assert (dataset.name, dataset.multi_label) == ("synthetic", False)
    assert len(dataset.clips) == 40
    keys = [clip.key for clip in dataset.clips]
    assert keys == sorted(keys)
    for clip in dataset.clips:
        assert clip.path.is_file()
        assert clip.labels == (clip.path.parent.name,)
        assert clip.key == clip.group == clip.path.stem


@pytest.mark.parametrize("folder", ["missing", "."])
def test_read_without_corpus_raises_user_error(tmp_path: Path, folder: str):
    with pytest.raises(UserError, match="compose one there first") as error:
        synthetic.read(tmp_path / folder, multi_label=False)
    assert "\n" not in str(error.value)


def test_module_imports_no_slow_packages():
    slow = {"jax", "librosa", "flax", "grain", "sklearn", "matplotlib"}
    code = f"import sys, deepgenre.data.datasets.synthetic; print({slow} & {{*sys.modules}})"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stdout.strip() == "set()", process.stderr


def test_style_table_is_consistent():
    for style in STYLES.values():
        bar_steps = style.beats * style.steps
        for part in (style.bass, style.chords, style.melody):
            assert {len(pattern) for pattern in part.patterns} == {bar_steps}
            assert set(part.instruments) <= INSTRUMENTS.keys()
        for groove in style.grooves:
            assert groove.keys() <= DRUMS.keys()
            assert {len(pattern) for pattern in groove.values()} == {bar_steps}
        for _, progression in style.progressions:
            assert parse_progression(progression, 0)


def test_parse_progression():
    ((d_minor,), (g_seventh,), (c_major,)) = parse_progression("ii7 V7 Imaj7", key=0)
    assert d_minor == Chord(2, (0, 3, 7, 10))
    assert g_seventh.pitch_classes == {7, 11, 2, 5}
    assert c_major.pitch_classes == {0, 4, 7, 11}
    ((a_minor, f_major),) = parse_progression("i,bVI", key=9)
    assert a_minor.pitch_classes == {9, 0, 4}
    assert f_major.pitch_classes == {5, 9, 0}
    with pytest.raises(ValueError, match="not a chord"):
        parse_progression("H7", key=0)


def test_seventh_is_raised_over_dominant_of_minor_key():
    scale = (0, 2, 3, 5, 7, 8, 10)
    ((tonic,), (dominant,)) = parse_progression("i V7", key=9)
    assert melodic_pitch_classes(scale, 9, tonic) >= {7, 9, 11}  # g, a, b
    assert melodic_pitch_classes(scale, 9, dominant) >= {8, 11}  # g sharp, b
    assert 7 not in melodic_pitch_classes(scale, 9, dominant)


def test_next_voicing_is_nearest_inversion():
    c_major = (60, 64, 67)
    ((c, f, g, a_minor),) = parse_progression("I,IV,V,vi", key=0)
    assert next_voicing(c_major, c, 53, 72) == c_major
    assert next_voicing(c_major, f, 53, 72) == (60, 65, 69)
    assert next_voicing(c_major, g, 53, 72) == (59, 62, 67)
    assert next_voicing(c_major, a_minor, 53, 72) == (60, 64, 69)


@given(root=st.integers(0, 11), steps=st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_voice_movement_is_small(root: int, steps: list[int]):
    voicing = next_voicing((), Chord(root, (0, 4, 7)), 53, 72)
    for step in steps:
        chord = Chord(step, (0, 3, 7))
        following = next_voicing(voicing, chord, 53, 72)
        assert {pitch % 12 for pitch in following} == chord.pitch_classes
        assert sum(abs(a - b) for a, b in zip(voicing, following, strict=True)) <= 12
        voicing = following
    assert next_voicing(voicing, chord, 53, 72) == voicing


@settings(max_examples=60, deadline=None)
@given(PIECES)
def test_notes_are_in_range_in_harmony_and_on_the_grid(drawn: tuple[str, int]):
    name, seed = drawn
    piece = compose(name, np.random.default_rng(seed), 6.0)
    layout = piece.layout
    assert layout.style.tempo_bpm[0] <= layout.tempo_bpm <= layout.style.tempo_bpm[1]

    def step_of(start_seconds: float) -> int:
        position = (start_seconds + layout.offset_seconds) / layout.step_seconds
        deviation_seconds = abs(position - round(position)) * layout.step_seconds
        assert deviation_seconds <= 6 * layout.style.jitter_seconds
        return round(position)

    for part, line in piece.lines.items():
        for note in line.notes:
            assert line.part.low <= note.pitch <= line.part.high
            step = step_of(note.start_seconds)
            length = round(note.seconds / line.part.gate / layout.step_seconds)
            chord = layout.chords[step + length // 2]
            on_the_beat = step % layout.style.steps == 0
            if part == "chords" or (part == "melody" and on_the_beat):
                fifth = {(chord.root + 7) % 12} if line.part.power else set()
                assert note.pitch % 12 in chord.pitch_classes | fifth
            elif part == "melody":
                assert note.pitch % 12 in melodic_pitch_classes(layout.scale, layout.key, chord)
    for stroke in piece.strokes:
        step_of(stroke.start_seconds)


@pytest.mark.parametrize("name", sorted(INSTRUMENTS))
def test_instruments_are_in_tune(name: str):
    """The power around the fundamental is centred on the requested frequency within 12 cents."""
    for frequency_hz in (110.0, 440.0, 880.0):
        tone = INSTRUMENTS[name](np.random.default_rng(0), frequency_hz, 2.0, 22050)
        assert tone.dtype == np.float32
        assert np.isfinite(tone).all()
        power = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 1 << 18)) ** 2
        cents = 1200 * np.log2(np.fft.rfftfreq(1 << 18, 1 / 22050)[1:] / frequency_hz)
        near = np.abs(cents) < 100
        assert abs(np.average(cents[near], weights=power[1:][near])) <= 12


@pytest.mark.parametrize("name", sorted(DRUMS))
def test_drum_strokes_decay(name: str):
    stroke = DRUMS[name](np.random.default_rng(0), 1.0, 22050)
    energy = np.cumsum(stroke.astype(np.float64) ** 2)
    assert energy[len(stroke) // 2] > 0.9 * energy[-1] > 0
    assert np.abs(stroke[-5:]).max() < 0.01


@pytest.mark.parametrize("name", ["disco", "techno"])
def test_estimated_tempo_equals_composed_tempo(name: str):
    for seed in range(3):
        piece = compose(name, np.random.default_rng(seed), 10.0)
        sound = render(piece, np.random.default_rng(seed), 22050, 1)[:, 0]
        hop = 220
        energy = (sound[: len(sound) // hop * hop].reshape(-1, hop) ** 2).sum(axis=1)
        onsets = np.maximum(np.diff(np.sqrt(energy)), 0)
        tempos_bpm = np.arange(95, 155, 0.5)
        times = (np.arange(len(onsets)) + 1) * hop / 22050
        phasors = np.exp(-2j * np.pi * tempos_bpm[:, None] / 60 * times)
        estimated_bpm = tempos_bpm[np.abs((phasors * onsets).sum(axis=1)).argmax()]
        assert estimated_bpm == pytest.approx(piece.layout.tempo_bpm, rel=0.02)


@settings(max_examples=12, deadline=None)
@given(PIECES, st.sampled_from([8000, 22050, 44100]), st.sampled_from([1, 2]))
def test_render_returns_requested_shape_and_dtype(drawn, rate_hz: int, channels: int):
    name, seed = drawn
    generator = np.random.default_rng(seed)
    sound = render(compose(name, generator, 1.3), generator, rate_hz, channels)
    assert sound.dtype == np.float32
    assert sound.shape == (round(1.3 * rate_hz), channels)
    assert 0.01 < np.abs(sound).max() <= PEAK * 1.001


@pytest.mark.parametrize("rate_hz", [8000, 44100])
@pytest.mark.parametrize("instrument", ["piano", "electric_bass"])
def test_note_starts_on_time_and_is_limited(rate_hz: int, instrument: str):
    piece = compose("waltz", np.random.default_rng(0), 8.0)
    note = Note(start_seconds=3.0, seconds=0.1, pitch=57, loudness=0.8)
    line = Line(piece.layout.style.melody, instrument, (note,))
    piece = dataclasses.replace(piece, lines={"melody": line}, strokes=())
    level = np.abs(render(piece, np.random.default_rng(0), rate_hz, 1)[:, 0])
    assert level.max() == pytest.approx(PEAK, rel=1e-3)  # a short note is limited by its peak
    assert np.argmax(level > 0.1) / rate_hz == pytest.approx(3.0, abs=0.03)

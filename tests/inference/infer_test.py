"""Files through a network: order, batches, windows, long files, and what goes wrong."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
import tiny

from deepgenre import models
from deepgenre.audio import frontend
from deepgenre.data import sampling
from deepgenre.errors import UserError
from deepgenre.evaluation.scoring import compile_infer_step
from deepgenre.inference import infer
from deepgenre.weights.spec import Weights

FRONTEND = frontend.FrontEnd(n_mels=16, n_mfcc=8, hop_length=128, n_fft=1024)


def untrained(**changes) -> Weights:
    """Returns a network of random weights; windows of 1.73 s, pieces of 3 s."""
    changes.setdefault("clip_seconds", 3.0)
    return tiny.untrained(tiny.spec(frontend=FRONTEND, **changes))


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> list[Path]:
    """Returns songs of 1 to 23 seconds, and what is none."""
    folder = tmp_path_factory.mktemp("songs")
    made = []
    for number, seconds in enumerate([1.0, 23.0, 2.0, 9.5, 1.0, 1.0, 4.0, 3.0, 12.0, 1.0]):
        made.append(folder / f"{number}.wav")
        soundfile.write(made[-1], tiny.tone(200.0 + 300 * number, seconds, number), tiny.RATE_HZ)
    (folder / "no music.mp3").write_text("none")
    return [*made[:4], folder / "no music.mp3", *made[4:], folder / "missing.wav"]


def test_files_in_order_each_as_if_it_were_alone(songs):
    weights = untrained()
    score = infer.scorer(weights)
    together = list(infer.infer_files(weights, songs, embed=True, score=score))
    assert [heard.path for heard in together] == songs
    for heard in (together[number] for number in (0, 1, 4, -1)):
        (alone,) = infer.infer_files(weights, [heard.path], embed=True, score=score)
        assert heard.error == alone.error
        np.testing.assert_array_equal(heard.start_seconds, alone.start_seconds)
        np.testing.assert_allclose(heard.scores, alone.scores, atol=1e-5)
        assert heard.embeddings is not None and alone.embeddings is not None
        np.testing.assert_allclose(heard.embeddings, alone.embeddings, atol=1e-4)
        assert len(heard.scores) == len(heard.embeddings) == len(heard.start_seconds)
        assert (len(heard.scores) == 0) == bool(heard.error)
    assert "not audio" in together[4].error
    assert "No such file" in together[-1].error


def test_the_scores_are_those_of_the_windows_one_by_one(songs):
    weights = untrained()
    spec = weights.spec
    (heard,) = infer.infer_files(weights, [songs[1]])
    waveform, _ = soundfile.read(songs[1], dtype="float32")
    step = compile_infer_step(spec)
    row = 0
    pieces = np.array_split(waveform, 8)  # of 23 seconds, about 3 each
    for first, piece in zip(np.cumsum([0, *map(len, pieces)]), pieces, strict=False):
        levels = frontend.levels(piece, spec.frontend)
        for start in sampling.window_starts(len(levels), spec.window_frames, spec.hop_frames):
            window = sampling.window(levels, start, spec.window_frames)
            scores = np.asarray(step(weights.variables, window[None])["scores"][0])
            np.testing.assert_allclose(heard.scores[row], scores, atol=1e-5)
            assert heard.start_seconds[row] == pytest.approx((first + start * 128) / tiny.RATE_HZ)
            row += 1
    assert row == len(heard.scores)
    assert heard.embeddings is None


def test_few_shapes_are_compiled_and_a_short_song_does_not_pay_for_a_large_batch(songs):
    weights = untrained()
    shapes = []
    score = infer.scorer(weights)

    def noted(levels: np.ndarray) -> dict[str, jax.Array]:
        made = score(levels)
        shapes.append((len(levels), len(made["scores"])))
        return made

    list(infer.infer_files(weights, songs[:1], score=noted))
    assert shapes == [(1, 1)]
    shapes.clear()
    list(infer.infer_files(weights, songs, score=noted))
    windows, padded = zip(*shapes, strict=True)
    assert set(windows[:-1]) == {infer.BATCH_WINDOWS}
    assert padded[-1] < 2 * windows[-1]
    assert all(size & (size - 1) == 0 for size in padded)


def test_silent_pieces_leave_gaps_and_silence_is_an_error(tmp_path):
    loud, silence = tiny.tone(300, 3.0, 1), np.zeros(6 * tiny.RATE_HZ)
    soundfile.write(tmp_path / "a.wav", np.concatenate([loud, silence, loud]), tiny.RATE_HZ)
    high = np.sin(2 * np.pi * 18_000 / 48_000 * np.arange(3 * 48_000)) * np.hanning(3 * 48_000)
    soundfile.write(tmp_path / "b.wav", 0.3 * high, 48_000, subtype="FLOAT")
    heard, ultrasound = infer.infer_files(untrained(), sorted(tmp_path.iterdir()))
    assert heard.start_seconds.max() > 9
    assert not np.any((heard.start_seconds > 3) & (heard.start_seconds < 9))
    assert "b.wav: is silent below 11025 Hz" in ultrasound.error


def test_a_bug_while_reading_is_no_silent_failure(songs):
    def read(path, spec):
        raise ZeroDivisionError("a bug")
        yield

    with pytest.raises(ZeroDivisionError):
        list(infer.infer_files(untrained(), songs, read=read))


def test_who_has_heard_enough_leaves_no_threads(songs):
    before = threading.active_count()
    reading = infer.infer_files(untrained(), [songs[1], *songs * 20])
    next(reading)
    assert threading.active_count() > before
    reading.close()
    assert threading.active_count() == before


def test_other_windows(songs):
    weights = untrained()
    dense = infer.with_windows(weights, 0, 0.5)
    (heard,) = infer.infer_files(dense, songs[3:4])
    assert np.diff(heard.start_seconds).min() <= 0.5 + 128 / tiny.RATE_HZ
    assert dense.spec.window_frames == weights.spec.window_frames
    flexible = untrained(model="fcn3", network={"width": 0.1})
    wide = infer.with_windows(flexible, 5.0, 0)
    assert wide.spec.window_frames == round(5.0 * tiny.RATE_HZ / 128)
    (heard,) = infer.infer_files(wide, songs[1:2])
    assert len(heard.scores) < 23 / 5 + 1
    with pytest.raises(UserError, match=r"paper_1d .* cannot hear windows of 9.0 s; .* on 1\.73 s"):
        infer.with_windows(weights, 9.0, 0)
    for wrong in (-1.0, float("nan"), 1e9):
        with pytest.raises(UserError, match="--hop_seconds: must be 0 to 3600"):
            infer.with_windows(weights, 0, wrong)


def test_networks_that_weigh_windows_do_so(songs):
    for name in [name for name, row in models.MODELS.items() if row.weighs_windows]:
        (heard,) = infer.infer_files(untrained(model=name, network={"width": 0.05}), songs[3:4])
        assert heard.attention is not None
        assert len(heard.attention) == len(heard.scores) > 1
        assert np.ptp(heard.attention) > 0


# Run in a process of its own, whose peak memory is that of hearing alone.
HEAR = """
    import sys
    from pathlib import Path
    import numpy as np
    import soundfile
    sys.path.insert(0, sys.argv[2])
    import tiny
    from deepgenre.inference.infer import infer_files
    from deepgenre.audio.frontend import FrontEnd

    def peak_mb():
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    front_end = FrontEnd(sample_rate_hz=8000, n_mels=16, n_mfcc=8)
    weights = tiny.untrained(tiny.spec(frontend=front_end, clip_seconds=45.0))
    path = Path(sys.argv[1])
    short = path.with_name("short.wav")
    soundfile.write(short, 0.1 * np.random.default_rng(0).standard_normal(8000 * 180), 8000)
    list(infer_files(weights, [short]))
    before = peak_mb()
    (heard,) = infer_files(weights, [path])
    print(len(heard.scores), heard.start_seconds[-1], peak_mb() - before, heard.error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_three_hours_take_no_more_memory_than_three_minutes(tmp_path):
    path = tmp_path / "three hours.flac"
    minute = 0.1 * np.random.default_rng(0).standard_normal(8_000 * 60)
    with soundfile.SoundFile(path, "w", 8_000, 1) as stream:
        for _ in range(180):
            stream.write(minute)
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HEAR), path, tiny.ROOT / "tests"],
        check=True, capture_output=True, text=True, env=tiny.environment(),
    )  # fmt: skip
    windows, last, megabytes = map(float, process.stdout.split())
    assert windows == 480  # of 38 s, in pieces of 45 s
    assert 10_755 < last < 10_762
    assert megabytes < 150  # the waveform alone would take 346

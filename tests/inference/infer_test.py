"""Inference on files: order, batches, windows, long files, and errors."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre import models
from deepgenre.audio import frontend
from deepgenre.data import sampling
from deepgenre.errors import UserError
from deepgenre.evaluation.steps import compile_infer_step
from deepgenre.inference import infer
from deepgenre.weights.spec import Weights

FRONTEND = frontend.FrontEnd(n_mels=16, n_mfcc=8, hop_length=128, n_fft=1024)


def untrained(**changes) -> Weights:
    """Returns a network of random weights; windows of 1.73 s, pieces of 3 s."""
    changes.setdefault("clip_seconds", 3.0)
    return tiny.untrained(tiny.spec(frontend=FRONTEND, **changes))


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> list[Path]:
    """Returns songs of 1 to 23 seconds, a file that is not audio, and a missing one."""
    folder = tmp_path_factory.mktemp("songs")
    paths = []
    for number, seconds in enumerate([1.0, 23.0, 2.0, 9.5, 1.0, 1.0, 4.0, 3.0, 12.0, 1.0]):
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], tiny.tone(200.0 + 300 * number, seconds, number), tiny.RATE_HZ)
    (folder / "text.mp3").write_text("text")
    return [*paths[:4], folder / "text.mp3", *paths[4:], folder / "missing.wav"]


def test_outputs_are_in_file_order_and_equal_those_of_single_files(songs):
    weights = untrained()
    infer_batch = infer.compile_infer_batch(weights)
    together = list(infer.infer_files(weights, songs, embed=True, infer_batch=infer_batch))
    assert [outputs.path for outputs in together] == songs
    for outputs in (together[number] for number in (0, 1, 4, -1)):
        (alone,) = infer.infer_files(weights, [outputs.path], embed=True, infer_batch=infer_batch)
        assert outputs.error == alone.error
        np.testing.assert_array_equal(outputs.start_seconds, alone.start_seconds)
        np.testing.assert_allclose(outputs.scores, alone.scores, atol=1e-5)
        assert outputs.embeddings is not None and alone.embeddings is not None
        np.testing.assert_allclose(outputs.embeddings, alone.embeddings, atol=1e-4)
        assert len(outputs.scores) == len(outputs.embeddings) == len(outputs.start_seconds)
        assert (len(outputs.scores) == 0) == bool(outputs.error)
    assert "not audio" in together[4].error
    assert "No such file" in together[-1].error


def test_scores_equal_those_of_single_windows(songs):
    weights = untrained()
    spec = weights.spec
    (outputs,) = infer.infer_files(weights, [songs[1]])
    waveform, _ = soundfile.read(songs[1], dtype="float32")
    step = compile_infer_step(spec)
    row = 0
    pieces = np.array_split(waveform, 8)  # of 23 seconds, about 3 each
    for first, piece in zip(np.cumsum([0, *map(len, pieces)]), pieces, strict=False):
        levels = frontend.levels(piece, spec.frontend)
        for start in sampling.window_starts(len(levels), spec.window_frames, spec.hop_frames):
            window = sampling.window(levels, start, spec.window_frames)
            scores = np.asarray(step(weights.variables, window[None])["scores"][0])
            np.testing.assert_allclose(outputs.scores[row], scores, atol=1e-5)
            assert outputs.start_seconds[row] == pytest.approx((first + start * 128) / tiny.RATE_HZ)
            row += 1
    assert row == len(outputs.scores)
    assert outputs.embeddings is None


def test_batches_are_padded_to_powers_of_two(songs):
    weights = untrained()
    shapes = []
    infer_batch = infer.compile_infer_batch(weights)

    def recorded(levels: np.ndarray) -> infer.Outputs:
        outputs = infer_batch(levels)
        shapes.append((len(levels), len(outputs["scores"])))
        return outputs

    list(infer.infer_files(weights, songs[:1], infer_batch=recorded))
    assert shapes == [(1, 1)]
    shapes.clear()
    list(infer.infer_files(weights, songs, infer_batch=recorded))
    windows, padded = zip(*shapes, strict=True)
    assert set(windows[:-1]) == {infer.BATCH_WINDOWS}
    assert padded[-1] < 2 * windows[-1]
    assert all(size & (size - 1) == 0 for size in padded)


def test_silent_pieces_are_skipped_and_silent_files_fail(tmp_path):
    loud, silence = tiny.tone(300, 3.0, 1), np.zeros(6 * tiny.RATE_HZ)
    soundfile.write(tmp_path / "a.wav", np.concatenate([loud, silence, loud]), tiny.RATE_HZ)
    high = np.sin(2 * np.pi * 18_000 / 48_000 * np.arange(3 * 48_000)) * np.hanning(3 * 48_000)
    soundfile.write(tmp_path / "b.wav", 0.3 * high, 48_000, subtype="FLOAT")
    outputs, ultrasound = infer.infer_files(untrained(), sorted(tmp_path.iterdir()))
    assert outputs.start_seconds.max() > 9
    assert not np.any((outputs.start_seconds > 3) & (outputs.start_seconds < 9))
    assert "b.wav: is silent below 11025 Hz" in ultrasound.error


def test_other_exceptions_while_reading_are_raised(songs):
    def read(path, specs):
        raise ZeroDivisionError("a bug")
        yield

    with pytest.raises(ZeroDivisionError):
        list(infer.infer_files(untrained(), songs, read=read))


def test_closing_the_generator_stops_all_threads(songs):
    before = threading.active_count()
    generator = infer.infer_files(untrained(), [songs[1], *songs * 20])
    next(generator)
    assert threading.active_count() > before
    generator.close()
    assert threading.active_count() == before


def test_window_length_and_hop_can_be_changed(songs):
    weights = untrained()
    dense = infer.with_windows(weights, 0, 0.5)
    (outputs,) = infer.infer_files(dense, songs[3:4])
    assert np.diff(outputs.start_seconds).min() <= 0.5 + 128 / tiny.RATE_HZ
    assert dense.spec.window_frames == weights.spec.window_frames
    flexible = untrained(model="fcn3", network={"width": 0.1})
    wide = infer.with_windows(flexible, 5.0, 0)
    assert wide.spec.window_frames == round(5.0 * tiny.RATE_HZ / 128)
    (outputs,) = infer.infer_files(wide, songs[1:2])
    assert len(outputs.scores) < 23 / 5 + 1
    with pytest.raises(
        UserError, match=r"paper_1d .* does not accept windows of 9.0 s; .* on 1\.73 s"
    ):
        infer.with_windows(weights, 9.0, 0)
    for wrong in (-1.0, float("nan"), 1e9):
        with pytest.raises(UserError, match="--hop_seconds: must be 0 to 3600"):
            infer.with_windows(weights, 0, wrong)


def test_networks_with_window_attention_return_it(songs):
    for name in [name for name, row in models.MODELS.items() if row.window_attention]:
        (outputs,) = infer.infer_files(untrained(model=name, network={"width": 0.05}), songs[3:4])
        assert outputs.attention is not None
        assert len(outputs.attention) == len(outputs.scores) > 1
        assert np.ptp(outputs.attention) > 0


# Run as a separate process, so that its peak memory is that of inference alone.
INFER = """
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
    (outputs,) = infer_files(weights, [path])
    print(len(outputs.scores), outputs.start_seconds[-1], peak_mb() - before, outputs.error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="requires /proc of Linux")
def test_memory_does_not_grow_with_file_length(tmp_path):
    path = tmp_path / "three hours.flac"
    minute = 0.1 * np.random.default_rng(0).standard_normal(8_000 * 60)
    with soundfile.SoundFile(path, "w", 8_000, 1) as stream:
        for _ in range(180):
            stream.write(minute)
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INFER), path, tiny.ROOT / "tests"],
        check=True, capture_output=True, text=True, env=tiny.environment(),
    )  # fmt: skip
    windows, last, megabytes = map(float, process.stdout.split())
    assert windows == 480  # of 38 s, in pieces of 45 s
    assert 10_755 < last < 10_762
    assert megabytes < 150  # the waveform alone would take 346

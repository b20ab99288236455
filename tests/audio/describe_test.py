from pathlib import Path

import in_process
import numpy as np
import pytest
import soundfile

from deepgenre.audio import acoustic_fingerprint, chromaprint, describe, waveforms
from deepgenre.errors import UserError

ALL = list(describe.COLUMNS)
try:
    chromaprint.load_library()
except UserError:  # chromaprint_test.py states the reason
    ALL.remove("chromaprint")


def song(seconds: float, rate_hz: int = 44_100, seed: int = 0) -> np.ndarray:
    """Returns chords of random pitches, two a second, float32 (samples, 2)."""
    rng = np.random.default_rng(seed)
    time = np.arange(rate_hz // 2) / rate_hz
    parts = []
    for _ in range(round(2 * seconds)):
        hz = 220 * 2 ** (rng.choice([0, 4, 7, 9, 12, 14], 3) / 12)
        harmonics = hz[:, None] * np.arange(1, 7)
        tone = (np.sin(2 * np.pi * harmonics[..., None] * time) / 6).sum(axis=(0, 1))
        parts.append(tone * np.exp(-4 * time))
    mono = 0.2 * np.concatenate(parts)
    mono += 1e-3 * rng.standard_normal(mono.size)
    return np.stack([mono, 0.5 * mono], axis=1).astype(np.float32)


def described(samples: np.ndarray, names: list[str], block: int) -> dict[str, describe.Descriptor]:
    describer = describe.Describer(names)
    for start in range(0, len(samples), block):
        describer.observe(start, samples[start : start + block], 44_100)
    return describer.values()


@pytest.mark.parametrize("block", [700, 10_007, 200_000])
def test_values_do_not_depend_on_the_blocks(block: int):
    samples = song(12)
    assert described(samples, ALL, block) == described(samples, ALL, len(samples))


def test_blocks_decoded_twice_count_once():
    samples = song(12)
    describer = describe.Describer(ALL)
    for start in (0, 100_000, 200_000, 0, 100_000, 150_000, 350_000):
        end = {350_000: len(samples)}.get(start, start + 200_000)
        describer.observe(start, samples[start:end], 44_100)
    assert describer.values() == described(samples, ALL, len(samples))


def test_short_recordings_have_empty_values():
    values = described(song(0.5)[:5_000], ALL, 1_000)
    assert list(values) == describe.columns(ALL)
    assert values["tempo_bpm"] is None and values["key"] is None
    assert values["loudness_lufs"] is None and values["acoustic_fingerprint"] is None
    assert isinstance(values["true_peak_dbtp"], float)


def test_only_named_descriptors_are_computed():
    assert list(described(song(8), ["loudness", "tempo"], 50_000)) == [
        "tempo_bpm", "loudness_lufs", "true_peak_dbtp", "replaygain_db",
    ]  # fmt: skip


def test_long_files_are_described_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Their beginning is decoded twice, and the describer is given both."""
    path = tmp_path / "song.wav"
    soundfile.write(path, song(20), 44_100)
    requested = [(16_000, 5.0), (22_050, 3.0)]
    streamed, whole = describe.Describer(ALL), describe.Describer(ALL)
    list(waveforms.pieces_of_each(path, requested, whole.observe))
    monkeypatch.setattr(waveforms, "LOADED_SECONDS", 6)
    in_process.decode_here(monkeypatch, block_samples=1 << 16)
    list(waveforms.pieces_of_each(path, requested, streamed.observe))
    assert streamed.values() == whole.values()


def test_an_unknown_descriptor_is_named():
    with pytest.raises(UserError, match="--describe: 'tempi' is unknown; did you mean 'tempo'"):
        describe.check(["key", "tempi"])


def test_the_fingerprint_of_a_long_recording_is_limited():
    text = described(song(130), ["fingerprint"], 1 << 19)["acoustic_fingerprint"]
    assert describe.decode_fingerprint(str(text)).size == acoustic_fingerprint.MAX_FRAMES


def test_channels_may_change_within_a_recording():
    """As in chained Ogg streams; the mean of the channels stands for another number of them."""
    samples = song(12)
    mono = samples.mean(axis=1, keepdims=True)
    describer = describe.Describer(ALL)
    describer.observe(0, mono[:200_000], 44_100)
    describer.observe(200_000, samples[200_000:], 44_100)
    assert describer.values() == described(mono, ALL, 200_000)

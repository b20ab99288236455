import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from deepgenre.audio import acoustic_fingerprint
from deepgenre.audio.discover import expand
from deepgenre.data.composer.composition import compose
from deepgenre.data.composer.rendering import render
from deepgenre.library import duplicates

RATE_HZ = 22_050


def write_piece(path: Path, seed: int, style: str = "bebop_swing") -> np.ndarray:
    generator = np.random.default_rng(seed)
    samples = render(compose(style, generator, 20.0), generator, RATE_HZ, 1)
    soundfile.write(path, samples, RATE_HZ)
    return samples


def test_copies_are_found_and_other_pieces_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    samples = write_piece(tmp_path / "a.wav", 0)
    for seed in range(1, 5):
        write_piece(tmp_path / f"other{seed}.wav", seed)
    shutil.copy(tmp_path / "a.wav", tmp_path / "exact.wav")
    soundfile.write(tmp_path / "lossy.ogg", samples, RATE_HZ)
    soundfile.write(tmp_path / "quiet.flac", 0.1 * samples, RATE_HZ)
    soundfile.write(tmp_path / "trimmed.wav", samples[71_111:330_000], RATE_HZ)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    output = tmp_path / "copies.jsonl"
    assert duplicates.run(expand([str(tmp_path)]), output, tmp_path / "s.json") == 1  # broken.wav
    (line,) = map(json.loads, output.read_text().splitlines())
    names = sorted(Path(path).name for path in line["copies"])
    assert names == ["a.wav", "exact.wav", "lossy.ogg", "quiet.flac", "trimmed.wav"]
    printed = capsys.readouterr()
    assert "broken.wav" not in printed.out and "broken.wav: is not audio" in printed.err
    fields = json.loads((tmp_path / "s.json").read_text())
    assert (fields["mode"], fields["files"], fields["failed"]) == ("duplicates", 10, 1)
    assert fields["audio_hours"] == pytest.approx((8 * 20 + 11.7) / 3600, abs=2e-3)
    assert fields["results"] == [str(output)]


def test_known_failures_and_names_that_are_not_utf8(tmp_path: Path, monkeypatch, capsys):
    song = tmp_path / os.fsdecode(b"caf\xe9.wav")
    write_piece(tmp_path / "a.wav", 0)
    shutil.copy(tmp_path / "a.wav", song)
    (tmp_path / "list.txt").write_text("gone.wav\n")
    output = f"--output={tmp_path / 'o.jsonl'}"
    assert tiny.call(monkeypatch, "duplicates", tmp_path, tmp_path / "list.txt", output) == 1
    (line,) = map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines())
    assert line["copies"] == [str(tmp_path / "a.wav"), str(song)]
    assert "list.txt, line 1: 'gone.wav' does not exist" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("options", [("-b:a", "64k", "b.mp3"), ("-b:a", "32k", "b.opus")])
def test_re_encoded_copies_are_found(tmp_path: Path, options: tuple[str, ...]):
    song, copy = tmp_path / "a.wav", tmp_path / options[-1]
    write_piece(song, 0, "chorale")
    command = ["ffmpeg", "-v", "error", "-i", str(song), *options[:-1], str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    found = duplicates.groups({path: duplicates.fingerprint(path) for path in (song, copy)})
    assert found == [[song, copy]]


def test_no_and_empty_fingerprints_have_no_copies():
    empty = np.zeros(0, np.uint32)
    assert acoustic_fingerprint.matches([]) == []
    assert acoustic_fingerprint.matches([empty, empty]) == []


def test_groups_join_copies_of_copies():
    frames = np.random.default_rng(0).integers(0, 2**32, 400, dtype=np.uint32)
    parts = {Path("a"): frames[:150], Path("b"): frames[20:350], Path("c"): frames[220:]}
    assert duplicates.groups(parts) == [[Path("a"), Path("b"), Path("c")]]


def test_a_few_equal_frames_do_not_make_a_copy():
    first, second = np.random.default_rng(0).integers(0, 2**32, (2, 400), dtype=np.uint32)
    second[100:110] = first[50:60]
    assert acoustic_fingerprint.matches([first, second]) == []
    second[100:350] = first[50:300]
    assert acoustic_fingerprint.matches([first, second]) == [(0, 1)]

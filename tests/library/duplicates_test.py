import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepgenre.audio import acoustic_fingerprint
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
    assert duplicates.run([str(tmp_path)], output) == 1  # broken.wav
    (line,) = map(json.loads, output.read_text().splitlines())
    names = sorted(Path(path).name for path in line["copies"])
    assert names == ["a.wav", "exact.wav", "lossy.ogg", "quiet.flac", "trimmed.wav"]
    assert "broken.wav" not in capsys.readouterr().out


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

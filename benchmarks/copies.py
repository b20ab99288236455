"""Which re-encodings `similar` recognises as copies, and which distinct clips it takes for one.

    python benchmarks/copies.py --data_dir=FOLDER --weights=gtzan --weights=mtt_musicnn

The folder has mp3 files below mp3/, as MagnaTagATune. A sample of them is re-encoded with ffmpeg in
every way of ENCODINGS. A copy is recognised where the cosine of its embedding and that of its
source reaches `similar.COPY_COSINE`; 'distinct' is the number of clips, of all, for which another
clip reaches it.
"""

import random
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from deepgenre.inference import embed, song_search
from deepgenre.inference.infer import infer_files
from deepgenre.library.similar import COPY_COSINE
from deepgenre.weights import loading

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with mp3/.", required=True)
_WEIGHTS = flags.DEFINE_multi_string("weights", ["gtzan"], "Weights to measure; may be repeated.")
_CLIPS = flags.DEFINE_integer("clips", 60, "Number of clips that are re-encoded.")

# By name: suffix of the file, and options of ffmpeg.
ENCODINGS: Mapping[str, tuple[str, str]] = {
    "mp3 64k": (".mp3", "-ar 44100 -b:a 64k"),
    "mp3 128k": (".mp3", "-ar 44100 -b:a 128k"),
    "mp3 192k": (".mp3", "-ar 44100 -b:a 192k"),
    "mp3 320k": (".mp3", "-ar 44100 -b:a 320k"),
    "mp3 32k": (".mp3", "-b:a 32k"),
    "ogg q3": (".ogg", "-c:a libvorbis -q:a 3"),
    "opus 96k": (".opus", "-ar 48000 -c:a libopus -b:a 96k"),
    "aac 128k": (".m4a", "-ar 44100 -c:a aac -b:a 128k"),
    "flac": (".flac", ""),
    "-6 dB": (".flac", "-af volume=-6dB"),
    "-12 dB": (".flac", "-af volume=-12dB"),
    "+3 dB": (".flac", "-af volume=3dB"),
    "first second cut": (".flac", "-ss 1"),
}


def encode(source: Path, name: str, folder: Path) -> Path:
    """Returns the new file in `folder`, encoded in the way of ENCODINGS."""
    suffix, options = ENCODINGS[name]
    target = folder / f"{source.stem} {name}{suffix}"
    command = ["ffmpeg", "-v", "error", "-i", str(source), *options.split(), str(target)]
    subprocess.run(command, check=True)
    return target


def units(source: str, paths: Sequence[Path]) -> np.ndarray:
    """Returns embeddings of length 1, (files, features)."""
    outputs = infer_files(loading.load(source), paths, embed=True)
    return song_search.unit_vectors(np.stack([embed.song_vector(output) for output in outputs]))


def main(argv: Sequence[str]) -> None:
    """Measures and prints the table."""
    clips = sorted((Path(_DATA_DIR.value) / "mp3").rglob("*.mp3"))
    chosen = sorted(random.Random(0).sample(range(len(clips)), _CLIPS.value))
    print(f"| weights | distinct of {len(clips)} | {' | '.join(ENCODINGS)} |")
    print("| --- " * (2 + len(ENCODINGS)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        copies = [encode(clips[c], name, Path(folder)) for name in ENCODINGS for c in chosen]
        for source in _WEIGHTS.value:
            vectors = units(source, [*clips, *copies])
            originals, copied = vectors[: len(clips)], vectors[len(clips) :]
            others = originals @ originals.T - 2 * np.eye(len(clips))
            distinct = int((others.max(axis=1) >= COPY_COSINE).sum())
            cosines = (copied.reshape(len(ENCODINGS), len(chosen), -1) * originals[chosen]).sum(-1)
            counts = (cosines >= COPY_COSINE).sum(axis=1)
            print(f"| {source} | {distinct} | {' | '.join(map(str, counts))} |", flush=True)


if __name__ == "__main__":
    app.run(main)

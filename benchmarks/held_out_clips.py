"""GTZAN's spectrograms with the clips that are at hand as audio held out, for tests on audio.

    python benchmarks/held_out_clips.py --spectrograms=gtzan_mel_dev.npz --audio=FOLDER \
        --artists=gtzan_artists.csv --output=held.npz
    deepgenre train --config=configs/gtzan_kernel.py --data_dir=held.npz --config.split=as_given \
        --workdir=runs/held
    deepgenre robustness --weights=runs/held --data_dir=FOLDER --eval_split=all

The clips of FOLDER are the part 'test'. The others are 'train', without those of an artist in
'test' (clips without a known artist: without those of the same tens of a genre) and without those
that the fault filter leaves out. With a copy of the artists' table in FOLDER, intervals resample
artists. `train` compares the audio of the two parts.
"""

import argparse
import collections
import sys
from pathlib import Path

import numpy as np

from deepgenre.config import get_config
from deepgenre.data.datasets import gtzan, read_dataset


def main() -> int:
    """Writes the file and prints the clips of each part; returns exit code 0."""
    parser = argparse.ArgumentParser()
    for name in ("spectrograms", "audio", "artists", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.artists.name != gtzan.ARTISTS:
        parser.error(f"--artists: must be named {gtzan.ARTISTS}")
    config = get_config()
    config.dataset = "gtzan"
    clips = gtzan.with_artists(
        read_dataset(config, arguments.spectrograms), arguments.artists.parent
    ).clips
    held_out = {clip.key for clip in gtzan.read(arguments.audio).clips}
    groups = {clip.group for clip in clips if clip.key in held_out}
    part_of = {clip.key: "" if clip.group in groups else "train" for clip in clips}
    part_of |= {clip.key: "" for clip in clips if clip.split == "excluded"}
    part_of |= dict.fromkeys(held_out & part_of.keys(), "test")
    with np.load(arguments.spectrograms) as arrays:
        parts = np.array([part_of[str(name)] for name in arrays["name"]])
        np.savez_compressed(arguments.output, mel=arrays["mel"], name=arrays["name"], split=parts)
    print(dict(collections.Counter(parts.tolist())))
    return 0


if __name__ == "__main__":
    sys.exit(main())

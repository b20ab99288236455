"""How well neighbours by vectors belong together: clips of one track, songs of one artist.

    python benchmarks/similar_songs.py --data_dir=FOLDER --weights=gtzan --weights=mtt_musicnn

The folder is in MagnaTagATune's layout (clip_info_final.csv, mp3/...). Each clip is a question to
all others, by cosine:

- track: whether the nearest clip is of the same track (among all other clips), for clips whose
  track has another clip;
- artist: the share of the 1 and of the 10 nearest clips that are of the same artist, where every
  clip of the question's own album is left out (so that its track and its mastering do not count),
  for clips whose artist has another album. 'possible' is what a perfect answer would get.

Compared with chance (exact: the mean share of right answers) and with means of MFCCs, each scaled
to mean 0 and deviation 1 over the clips. Intervals: 95 % of bootstrap samples of tracks, or of
artists, because clips of one are not independent. Nothing here was fitted to these clips.
"""

import csv
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from absl import app, flags

from deepgenre.audio import waveforms
from deepgenre.errors import UserError
from deepgenre.files import replacing
from deepgenre.inference import embed, song_index
from deepgenre.inference.infer import infer_files
from deepgenre.weights import loading

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder in MagnaTagATune's layout.", required=True
)
_WEIGHTS = flags.DEFINE_multi_string("weights", ["gtzan"], "Weights to measure; may be repeated.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the figures.")

NEAREST = 10
NUM_MFCCS = 20
MFCC_RATE_HZ = 22_050
BOOTSTRAP_SAMPLES = 2_000


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip and what it belongs to."""

    path: Path
    artist: str
    album: str
    track: str


def read_clips(data_dir: Path) -> list[Clip]:
    """Returns the clips whose files are there, each file once."""
    index = data_dir / "clip_info_final.csv"
    try:
        with index.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except OSError as error:
        raise UserError(f"{index}: cannot be read ({error.strerror})") from error
    clips = {
        row["mp3_path"]: Clip(
            path=data_dir / "mp3" / row["mp3_path"],
            artist=row["artist"],
            album=f"{row['artist']} / {row['album']}",
            track=f"{row['artist']} / {row['album']} / {row['track_number']} / {row['title']}",
        )
        for row in rows
    }
    return [clip for clip in clips.values() if clip.path.is_file()]


def same(values: Sequence[str]) -> np.ndarray:
    """Returns bool (clips, clips): whether two clips have the same value."""
    numbers = np.unique(np.array(values), return_inverse=True)[1]
    return numbers[:, None] == numbers[None, :]


def precision(
    vectors: np.ndarray, right: np.ndarray, allowed: np.ndarray, count: int
) -> np.ndarray:
    """Returns the share of right answers among the nearest `count` allowed, (questions,).

    right, allowed: bool (clips, clips). A clip without a right answer is no question: NaN.
    """
    units = song_index.unit(vectors)
    cosines = np.where(allowed, units @ units.T, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    hits = np.take_along_axis(right & allowed, nearest, axis=1).mean(axis=1)
    return np.where((right & allowed).any(axis=1), hits, np.nan)


def summary(shares: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """Returns the mean over questions, (clips,) with NaN for no question, and its interval."""
    asked = ~np.isnan(shares)
    numbers = np.unique(np.array(groups)[asked], return_inverse=True)[1]
    sums, counts = np.bincount(numbers, shares[asked]), np.bincount(numbers)
    draws = np.random.default_rng(0).integers(0, len(sums), (BOOTSTRAP_SAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(shares[asked].mean()), "low": float(low), "high": float(high)}


def measure(vectors: np.ndarray, clips: Sequence[Clip]) -> dict[str, dict[str, float]]:
    """Returns the figures of vectors, (clips, features)."""
    tracks, artists = [clip.track for clip in clips], [clip.artist for clip in clips]
    others = ~np.eye(len(clips), dtype=bool)
    elsewhere = ~same([clip.album for clip in clips])
    by_track = precision(vectors, same(tracks), others, 1)
    by_artist = {n: precision(vectors, same(artists), elsewhere, n) for n in (1, NEAREST)}
    return {
        "track_hit_at_1": summary(by_track, tracks),
        "artist_precision_at_1": summary(by_artist[1], artists),
        "artist_precision_at_10": summary(by_artist[NEAREST], artists),
    }


def expected(clips: Sequence[Clip]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the figures of chance and of a perfect answer, and how many questions there are."""
    others = ~np.eye(len(clips), dtype=bool)
    by_track = same([clip.track for clip in clips]) & others
    elsewhere = ~same([clip.album for clip in clips])
    by_artist = same([clip.artist for clip in clips]) & elsewhere
    found: dict[str, dict[str, dict[str, float]]] = {"chance": {}, "possible": {}, "questions": {}}
    for name, right, allowed, count in (
        ("track_hit_at_1", by_track, others, 1),
        ("artist_precision_at_1", by_artist, elsewhere, 1),
        ("artist_precision_at_10", by_artist, elsewhere, NEAREST),
    ):
        asked = right.any(axis=1)
        numbers = right[asked].sum(axis=1)
        found["chance"][name] = {"mean": float((numbers / allowed[asked].sum(axis=1)).mean())}
        found["possible"][name] = {"mean": float((np.minimum(numbers, count) / count).mean())}
        found["questions"][name] = {"mean": float(asked.sum())}
    return found


def mfcc_means(clips: Sequence[Clip]) -> np.ndarray:
    """Returns (clips, NUM_MFCCS), each column with mean 0 and deviation 1."""
    means = np.stack(
        [
            librosa.feature.mfcc(
                y=waveforms.load(clip.path, MFCC_RATE_HZ), sr=MFCC_RATE_HZ, n_mfcc=NUM_MFCCS
            ).mean(axis=1)
            for clip in clips
        ]
    )
    return (means - means.mean(axis=0)) / means.std(axis=0)


def embeddings(source: str, clips: Sequence[Clip]) -> np.ndarray:
    """Returns (clips, features) of weights; raises UserError where a clip cannot be heard."""
    rows = []
    for heard in infer_files(loading.load(source), [clip.path for clip in clips], embed=True):
        if heard.error:
            raise UserError(heard.error)
        rows.append(embed.song_vector(heard))
    return np.stack(rows)


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Returns the figures as Markdown, a line a kind of vectors."""
    figures = list(next(iter(found.values())))
    lines = [["vectors", *figures], ["---"] * (1 + len(figures))]
    for name, row in found.items():
        cells = [
            f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
            if "low" in one
            else f"{one['mean']:.3g}"
            for one in row.values()
        ]
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str]) -> None:
    """Measures, prints the table, and writes the figures."""
    try:
        clips = read_clips(Path(_DATA_DIR.value))
        if len(clips) <= NEAREST:
            raise UserError(f"--data_dir: holds {len(clips)} clips, needs more than {NEAREST}")
        makers: dict[str, Callable[[], np.ndarray]] = {"MFCC means": lambda: mfcc_means(clips)}
        for source in _WEIGHTS.value:
            makers[source] = lambda source=source: embeddings(source, clips)
        found: dict[str, Any] = expected(clips)
        found |= {name: measure(make(), clips) for name, make in makers.items()}
    except UserError as error:
        sys.exit(f"similar_songs: {error}")
    print(table(found))
    if _OUTPUT.value:
        with replacing(Path(_OUTPUT.value)) as path:
            path.write_text(json.dumps({"clips": len(clips), **found}, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)

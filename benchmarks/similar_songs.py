"""Nearest-neighbour retrieval with embeddings: clips of one track, songs of one artist.

    python benchmarks/similar_songs.py --data_dir=FOLDER --weights=gtzan --weights=mtt_musicnn

The folder has MagnaTagATune's layout (clip_info_final.csv, mp3/...). Each clip is a query against
all others, by cosine similarity:

- track: whether the nearest of all other clips is of the same track, for clips with another clip of
  the same track;
- artist: the share of the 1 and of the 10 nearest clips that are of the same artist, without the
  clips of the query's album (to exclude its track and mastering), for clips with another album of
  the same artist. 'possible' is the score of a perfect ranking.

Baselines: chance (exact: the mean share of relevant clips) and means of MFCCs, each standardised
over the clips. Intervals: 95 % of bootstrap samples of tracks, or of artists, because clips of one
track or artist are not independent. Nothing is fitted to these clips.
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
from deepgenre.inference import embed, song_search
from deepgenre.inference.infer import infer_files
from deepgenre.weights import loading

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder in MagnaTagATune's layout.", required=True
)
_WEIGHTS = flags.DEFINE_multi_string("weights", ["gtzan"], "Weights to evaluate; may be repeated.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file of the scores.")

NEAREST = 10
NUM_MFCCS = 20
MFCC_RATE_HZ = 22_050
BOOTSTRAP_SAMPLES = 2_000


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip with its artist, album and track."""

    path: Path
    artist: str
    album: str
    track: str


def read_clips(data_dir: Path) -> list[Clip]:
    """Returns the clips with an existing file, each file once."""
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
    vectors: np.ndarray, relevant: np.ndarray, allowed: np.ndarray, count: int
) -> np.ndarray:
    """Returns the share of relevant clips among the nearest `count` allowed ones, (clips,).

    relevant, allowed: bool (clips, clips). NaN for clips without relevant clips: not queries.
    """
    units = song_search.unit_vectors(vectors)
    cosines = np.where(allowed, units @ units.T, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    hits = np.take_along_axis(relevant & allowed, nearest, axis=1).mean(axis=1)
    return np.where((relevant & allowed).any(axis=1), hits, np.nan)


def summary(shares: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """Returns the mean and interval of shares (clips,), ignoring NaN."""
    queries = ~np.isnan(shares)
    numbers = np.unique(np.array(groups)[queries], return_inverse=True)[1]
    sums, counts = np.bincount(numbers, shares[queries]), np.bincount(numbers)
    draws = np.random.default_rng(0).integers(0, len(sums), (BOOTSTRAP_SAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(shares[queries].mean()), "low": float(low), "high": float(high)}


def measure(vectors: np.ndarray, clips: Sequence[Clip]) -> dict[str, dict[str, float]]:
    """Returns the scores of vectors (clips, features)."""
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


def reference_scores(clips: Sequence[Clip]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the scores of chance and of a perfect ranking, and the number of queries."""
    others = ~np.eye(len(clips), dtype=bool)
    by_track = same([clip.track for clip in clips]) & others
    elsewhere = ~same([clip.album for clip in clips])
    by_artist = same([clip.artist for clip in clips]) & elsewhere
    scores: dict[str, dict[str, dict[str, float]]] = {"chance": {}, "possible": {}, "questions": {}}
    for name, relevant, allowed, count in (
        ("track_hit_at_1", by_track, others, 1),
        ("artist_precision_at_1", by_artist, elsewhere, 1),
        ("artist_precision_at_10", by_artist, elsewhere, NEAREST),
    ):
        queries = relevant.any(axis=1)
        numbers = relevant[queries].sum(axis=1)
        scores["chance"][name] = {"mean": float((numbers / allowed[queries].sum(axis=1)).mean())}
        scores["possible"][name] = {"mean": float((np.minimum(numbers, count) / count).mean())}
        scores["questions"][name] = {"mean": float(queries.sum())}
    return scores


def mfcc_means(clips: Sequence[Clip]) -> np.ndarray:
    """Returns (clips, NUM_MFCCS), each column with mean 0 and standard deviation 1."""
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
    """Returns embeddings (clips, features); raises UserError if a clip cannot be processed."""
    rows = []
    for outputs in infer_files(loading.load(source), [clip.path for clip in clips], embed=True):
        if outputs.error:
            raise UserError(outputs.error)
        rows.append(embed.song_vector(outputs))
    return np.stack(rows)


def table(scores: dict[str, dict[str, dict[str, float]]]) -> str:
    """Returns the scores as Markdown, one line per kind of vectors."""
    names = list(next(iter(scores.values())))
    lines = [["vectors", *names], ["---"] * (1 + len(names))]
    for name, row in scores.items():
        cells = [
            f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
            if "low" in score
            else f"{score['mean']:.3g}"
            for score in row.values()
        ]
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str]) -> None:
    """Measures, prints the table and writes --output."""
    try:
        clips = read_clips(Path(_DATA_DIR.value))
        if len(clips) <= NEAREST:
            raise UserError(f"--data_dir: has {len(clips)} clips; more than {NEAREST} are required")
        extractors: dict[str, Callable[[], np.ndarray]] = {"MFCC means": lambda: mfcc_means(clips)}
        for source in _WEIGHTS.value:
            extractors[source] = lambda source=source: embeddings(source, clips)
        scores: dict[str, Any] = reference_scores(clips)
        scores |= {name: measure(extract(), clips) for name, extract in extractors.items()}
    except UserError as error:
        sys.exit(f"similar_songs: {error}")
    print(table(scores))
    if _OUTPUT.value:
        with replacing(Path(_OUTPUT.value)) as path:
            path.write_text(json.dumps({"clips": len(clips), **scores}, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)

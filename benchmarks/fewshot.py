"""What few-shot heads are worth on the embeddings of each network.

    python benchmarks/fewshot.py --examples=gtzan.csv --weights=mtt_musicnn,msd_musicnn,mtt_vgg
    python benchmarks/fewshot.py --examples=tags.csv --weights=mtt_musicnn --least=10

`examples` as in mode `fewshot`: a manifest with the columns path, labels and artist. Prints a JSON
object per weights: accuracy of left-out artists, and of left-out songs whose artist is among the
other songs (too high); of tags, ROC-AUC and average precision, macro over tags with `least`
positive songs. Intervals are 95 % bootstrap intervals that resample artists. Genres also: the share
of songs of an unknown class that are called unknown, where each class in turn has no examples.

    python benchmarks/fewshot.py --gtzan_audio=FOLDER --gtzan_artists=FILE.csv --write=gtzan.csv
    python benchmarks/fewshot.py --mtat=FOLDER --write=tags.csv

write such a manifest of GTZAN's clips (<genre>/<genre>.NUMBER.wav) and of MagnaTagATune. Embeddings
are kept in --cache between calls.
"""

import csv
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from deepgenre.data.clip import Clip
from deepgenre.data.datasets import mtat
from deepgenre.data.datasets.manifest import write_manifest
from deepgenre.fewshot import examples, report
from deepgenre.fewshot.examples import Examples
from deepgenre.inference.aggregation import UNFAMILIAR_BELOW
from deepgenre.inference.infer import infer_files
from deepgenre.training import logistic
from deepgenre.weights import loading
from deepgenre.weights.digest import model_digest

_EXAMPLES = flags.DEFINE_string("examples", "", "Manifest of labelled songs.")
_WEIGHTS = flags.DEFINE_list("weights", ["gtzan"], "Weights by name.")
_LEAST = flags.DEFINE_integer("least", 10, "Positive songs, and artists, of a tag.")
_CACHE = flags.DEFINE_string("cache", "data/fewshot", "Folder of embeddings.")
_WRITE = flags.DEFINE_string("write", "", "Manifest to write.")
_GTZAN_AUDIO = flags.DEFINE_string("gtzan_audio", "", "Folder of GTZAN's genres.")
_GTZAN_ARTISTS = flags.DEFINE_string("gtzan_artists", "", "CSV with columns name and artist.")
_MTAT = flags.DEFINE_string("mtat", "", "Folder of MagnaTagATune.")


def gtzan_clips(audio: Path, artists: Path) -> list[Clip]:
    """Returns the clips of GTZAN; the group of each is its artist, if unknown the clip itself."""
    with artists.open(encoding="utf-8", newline="") as stream:
        artist_of = {row["name"]: row["artist"] for row in csv.DictReader(stream)}
    return [
        Clip(str(path), path, (path.parent.name,), artist_of.get(path.stem) or str(path))
        for path in sorted(audio.glob("*/*.wav"))
    ]


def embedded(name: str, given: Examples) -> dict[str, np.ndarray]:
    """Returns the embeddings of the windows of each song that can be decoded, by key."""
    weights = loading.load(name)
    path = Path(_CACHE.value) / f"{name}-{model_digest(weights)[:12]}.npz"
    known = dict(np.load(path)) if path.exists() else {}
    todo = [clip.path for clip in given.clips if str(clip.path) not in known]
    for outputs in infer_files(weights, todo, embed=True):
        if not outputs.error and outputs.embeddings is not None:
            known[str(outputs.path)] = outputs.embeddings
    if todo:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **known)
    return {clip.key: known[str(clip.path)] for clip in given.clips if str(clip.path) in known}


def with_frequent_labels(given: Examples, least: int) -> Examples:
    """Returns the examples with the tags only that `least` songs and two artists have."""
    songs = Counter(label for clip in given.clips for label in clip.labels)
    artists = Counter(
        label for _, label in {(c.group, name) for c in given.clips for name in c.labels}
    )
    kept = tuple(name for name in given.classes if songs[name] >= least and artists[name] > 1)
    clips = tuple(
        dataclasses.replace(clip, labels=tuple(name for name in clip.labels if name in kept))
        for clip in given.clips
    )
    return dataclasses.replace(given, clips=clips, classes=kept)


def measure(given: Examples, vectors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the metrics of heads on these embeddings."""
    clips = tuple(clip for clip in given.clips if clip.key in vectors)
    given = dataclasses.replace(given, clips=clips)
    songs = [vectors[clip.key] for clip in clips]
    targets = np.array([[name in clip.labels for name in given.classes] for clip in clips], float)
    alone = tuple(dataclasses.replace(clip, group=clip.key) for clip in clips)
    result: dict[str, Any] = {"songs": len(clips), "classes": len(given.classes)}
    for way, members in (("artist_out", clips), ("song_out", alone)):
        started = time.process_time()
        fitted = logistic.fit(songs, targets, members, given.multi_label)
        seconds = time.process_time() - started
        grouped = dataclasses.replace(given, clips=members)
        metrics = report.measure(fitted, targets, grouped)
        names = report.SHOWN[given.multi_label]
        chosen = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
        result[way] = {name: round(metrics[name], 4) for name in chosen}
        result[way] |= {"tested": int(fitted.testable.sum()), "strength": fitted.strength}
        result[way]["cpu_seconds"] = round(seconds, 2)
        if given.multi_label:
            break  # by artist only
    if not given.multi_label:
        result["unknown_recognised"] = round(unknown_recognised(songs, targets, alone), 4)
    return result


def unknown_recognised(
    songs: Sequence[np.ndarray], targets: np.ndarray, members: Sequence[Clip]
) -> float:
    """Returns the share of songs called unknown by heads without examples of their class."""
    classes, num_unknown = targets.argmax(axis=1), 0
    for index in range(targets.shape[1]):
        kept = np.flatnonzero(classes != index).tolist()
        others = np.flatnonzero(classes == index).tolist()
        inside = [songs[i] for i in kept]
        without = np.delete(targets[kept], index, axis=1)
        fitted = logistic.fit(inside, without, [members[i] for i in kept], False)
        limit = np.quantile(fitted.familiarity, UNFAMILIAR_BELOW)
        num_unknown += sum(fitted.head.familiarity(songs[i]) < limit for i in others)
    return num_unknown / len(songs)


def main(argv: Sequence[str]) -> None:
    """Writes a manifest, or prints a line of JSON per weights."""
    if _WRITE.value:
        folder = Path(_MTAT.value)
        clips = mtat.read(folder).clips if _MTAT.value else gtzan_clips(
            Path(_GTZAN_AUDIO.value), Path(_GTZAN_ARTISTS.value)
        )  # fmt: skip
        write_manifest(Path(_WRITE.value), clips)
        return
    given = examples.read([_EXAMPLES.value])
    given = with_frequent_labels(given, _LEAST.value) if given.multi_label else given
    for name in _WEIGHTS.value:
        print(json.dumps({"weights": name, **measure(given, embedded(name, given))}), flush=True)


if __name__ == "__main__":
    app.run(main)

"""A user's own genres in the worker: embeddings of examples, and the head that is fitted to them.

What is fitted, measured and written is that of mode `fewshot`.
"""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepgenre.data.clip import Clip
from deepgenre.errors import UserError
from deepgenre.fewshot import learning, report
from deepgenre.fewshot.examples import Examples, with_artist
from deepgenre.inference import embed, windows
from deepgenre.inference.infer import infer_files
from deepgenre.server.analysis import Json, Network, Watch
from deepgenre.weights import weight_file
from deepgenre.weights.spec import Spec, Weights


class Example(NamedTuple):
    """A song of a genre."""

    path: Path
    genre: str
    artist: str  # of a manifest; '': that in the file's tags
    embeddings: np.ndarray  # of its windows, float32 (windows, features)


def window_embeddings(network: Network, path: Path, watch: Watch) -> Json:
    """Returns 'embeddings' of the windows of a song, float32 (windows, features).

    Raises UserError as `analysis.analyse` does.
    """

    def read(path: Path, specs: Sequence[Spec]) -> Iterator[tuple[int, windows.Windows]]:
        return windows.file_windows(path, specs, watch.observe)

    (outputs,) = infer_files(
        network.weights, [path], embed=True, infer_batch=network.infer_batch, read=read
    )
    embed.song_vector(outputs)  # raises where it failed
    return {"embeddings": outputs.embeddings}


def learn(body: Weights, sources: Sequence[str], examples: Sequence[Example]) -> Json:
    """Returns what the head of the examples is worth, 'head' itself, and its 'file' in base64.

    sources: of the body. Raises UserError where these weights cannot be named in the file.
    """
    if len(sources) > 1:
        raise UserError(
            "several weights that form an ensemble cannot be the base of own genres; serve one, or "
            "write the ensemble as a file with deepgenre export"
        )
    name = learning.body_name(body, sources[0])
    vectors = {str(one.path): one.embeddings for one in examples}
    found = learning.learn(body, name, _examples(examples), vectors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.safetensors"
        weight_file.write(path, found.weights, dtype="float32")
        content = path.read_bytes()
    return {
        "base": name,
        "head": found.fitted.head,
        "file": base64.b64encode(content).decode(),
        "songs": len(found.given.clips),
        "tested": int(found.fitted.testable.sum()),
        "how": report.how(found.given),
        "untested": report.untested(found.fitted, found.targets, found.given),
        "genres": _genres(found),
        **{name: found.results.get(name) for name in ACCURACY},
    }


ACCURACY = ("accuracy", "accuracy_low", "accuracy_high", "accuracy_chance")


def _examples(given: Sequence[Example]) -> Examples:
    clips = [
        Clip(str(one.path), one.path, (one.genre,), one.artist or str(one.path)) for one in given
    ]
    classes = tuple(sorted({one.genre for one in given}))
    return Examples(tuple(map(with_artist, clips)), classes, multi_label=False)


def _genres(found: learning.Learned) -> list[dict[str, Any]]:
    values = report.class_values(found.fitted, found.targets, found.given)
    counts = found.targets.sum(axis=0).astype(int)
    return [
        {"name": name, "songs": int(counts[index])}
        | {one: float(values[one][index]) for one in ("recall", "precision") if one in values}
        for index, name in enumerate(found.given.classes)
    ]

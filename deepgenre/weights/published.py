"""What imports of published weights have in common: a user's own copy of the files, and the spec.

Nothing is downloaded or shipped. A file is accepted only where its SHA-256 is that of the published
one, so that what was measured about the weights holds for every user's copy.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepgenre import config as defaults
from deepgenre.audio.frontend import FrontEnd
from deepgenre.errors import UserError
from deepgenre.weights.spec import Spec


def read(path: Path, sha256: str, source: str) -> bytes:
    """Returns the bytes of a published file; raises UserError where it is missing or another."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the folder of your copy of {source} "
            "as --folder"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise UserError(
            f"{path}: is not the published file of {source} (sha256 {digest[:12]}..., expected "
            f"{sha256[:12]}...); copy or download it again"
        )
    return content


def check_folder(folder: Path | None, source: str, contents: str) -> Path:
    """Returns the folder; raises UserError where none is given or it does not exist."""
    if folder is None:
        raise UserError(
            f"--folder: give the folder of your own copy of {contents}; --source={source} "
            "downloads nothing"
        )
    if not folder.is_dir():
        raise UserError(f"--folder: {folder} is no folder; give that with {contents}")
    return folder


def spec(
    model: str,
    classes: Sequence[str],
    frontend: FrontEnd,
    *,
    window_frames: int,
    hop_frames: int,
    clip_seconds: float,
    dataset: tuple[str, str] = ("folder", "group_random"),
    mean: float = 0.0,
    deviation: float = 1.0,
    network: Mapping[str, object] | None = None,
) -> Spec:
    """Returns the spec that a run of deepgenre on the same data would have; tags, not genres.

    dataset: name in `data.datasets` and split, for evaluation.
    """
    config = defaults.get_config()
    config.dataset, config.split = dataset
    config.multi_label, config.model = True, model
    config.frontend.update(dataclasses.asdict(frontend))
    config.window_seconds = window_frames / frontend.frames_per_second
    return Spec(
        model=model,
        network=network or {},
        classes=tuple(classes),
        multi_label=True,
        frontend=frontend,
        mean=mean,
        deviation=deviation,
        window_frames=window_frames,
        hop_frames=hop_frames,
        clip_seconds=clip_seconds,
        config=config.to_dict(),
    )

"""Set-up of all tests: four fake CPU devices, a cache of compiled code, and shared fixtures."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
import serving
import tiny
from absl import flags

from deepgenre.data import prepare
from deepgenre.data.clip import Dataset
from deepgenre.data.datasets import mtat

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_compilation_cache_dir", str(tiny.COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_numpy_rank_promotion", "raise")
flags.FLAGS.mark_as_parsed()  # Grain's worker processes read absl flags

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_record_of_retagged_files(tmp_path_factory, monkeypatch):
    """Keeps the record of a user's retagged files (`files.record_retagged`) out of the tests."""
    record = tmp_path_factory.mktemp("retagged") / "retagged.jsonl"
    monkeypatch.setenv("DEEPGENRE_RETAGGED", str(record))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real music, not part of the project; tests skip where it is missing."""
    folder = Path(os.environ.get("DEEPGENRE_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set DEEPGENRE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of *synthetic* tones, one folder per genre: the dataset of `tiny.SETTINGS`."""
    folder = tmp_path_factory.mktemp("tones")
    return tiny.compose(folder / "music", clips_per_genre=8, seconds=2.0)


@pytest.fixture(scope="session")
def trained(tones: Path) -> Path:
    """The workdir of a finished run on `tones`; read-only."""
    workdir = tones.parent / "run"
    with pytest.MonkeyPatch.context() as patch:
        assert tiny.call(patch, *tiny.settings(tones), f"--workdir={workdir}") == 0
    return workdir


@pytest.fixture(scope="session")
def server(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    """A running server with the weights of `trained`, a small library and its index."""
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason="pip install 'deepgenre[serve]'")
    with serving.serving(trained, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list that records the keys of the clips that `prepare` decodes."""
    keys: list[str] = []
    clip_levels = prepare.clip_levels

    def recording(clip, frontend, scale):
        keys.append(clip.key)
        return clip_levels(clip, frontend, scale)

    monkeypatch.setattr(prepare, "clip_levels", recording)
    return keys


@pytest.fixture(scope="session")
def real_mtat(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Returns MagnaTagATune by its real annotations, whole, with one empty mp3."""
    folder = tmp_path_factory.mktemp("mtat")
    for file in (shared_data / "mtat_annotations").iterdir():
        (folder / file.name).symlink_to(file)
    mp3 = folder / "mp3/f/american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria-30-59.mp3"
    mp3.parent.mkdir(parents=True)
    mp3.touch()
    return mtat.read(folder)

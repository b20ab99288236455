"""Training steps with every file in configs/."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from deepgenre import models
from deepgenre.audio.frontend import FrontEnd
from deepgenre.data.datasets import dataset_kind
from deepgenre.errors import look_up
from deepgenre.training import optimizer
from deepgenre.training.loop import recipe_of
from deepgenre.training.step import compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec
from deepgenre.weights.state import initial_state

CONFIGS = Path(__file__).parents[2] / "configs"
ARGUMENTS = {"folder": ["genre", "tags"], "collection": ["fma,small"], "mtat_won": ["adam", "sgd"]}
CASES = [
    (path, argument)
    for path in sorted(CONFIGS.glob("*.py"))
    for argument in ARGUMENTS.get(path.stem, [None])
]
NUM_CLASSES = 3


def load(path: Path, argument: str | None):
    module_spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module.get_config() if argument is None else module.get_config(argument)


@pytest.mark.parametrize(("path", "argument"), CASES, ids=lambda case: getattr(case, "stem", case))
def test_training_step_with_config(path, argument):
    config = load(path, argument)
    kind = dataset_kind(config.dataset)
    look_up(kind.splits, config.split, "config.split")
    multi_label = config.multi_label if kind.multi_label is None else kind.multi_label
    frontend = FrontEnd(**config.frontend)
    # The shortest input of the network, for speed.
    window_frames = max(models.network(config.model).min_frames, 32)
    spec = Spec(
        model=config.model,
        network=config.network.to_dict(),
        classes=("a", "b", "c"),
        multi_label=multi_label,
        frontend=frontend,
        mean=100.0,
        deviation=50.0,
        window_frames=window_frames,
        hop_frames=window_frames,
        clip_seconds=1.0,
        config=config.to_dict(),
    )
    schedule = optimizer.make_schedule(config, 10, 10 * config.num_epochs)
    tx = optimizer.make_optimizer(config, schedule)
    shape = (1, window_frames, frontend.num_bands)
    state = initial_state(
        specs.build(spec), tx, shape, seed=config.seed, averaged=config.ema_decay > 0
    )
    before = jax.device_get(state.params)
    step = compile_train_step(spec, tx, recipe_of(config), num_devices=1)
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (2, window_frames, frontend.stored_bands))
    labels = np.eye(NUM_CLASSES, dtype=np.uint8)[:2] if multi_label else np.arange(2)
    state, scalars = step(
        state,
        {"levels": levels.astype(frontend.stored_dtype), "labels": labels},
    )
    # With warm-up, the learning rate of the first step is 0.
    state, scalars = step(state, {"levels": levels.astype(frontend.stored_dtype), "labels": labels})
    assert np.isfinite(scalars["loss"])
    changed = jax.tree.map(
        lambda old, new: np.any(old != new), before, jax.device_get(state.params)
    )
    assert any(jax.tree.leaves(changed))
    assert path.read_text().startswith('"""')

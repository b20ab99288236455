"""What pretraining, distillation and stacking add to the kernel recipe, in cross-validation.

    python benchmarks/pretraining.py --data_dir=FOLDER/gtzan_mel_dev.npz --cache=FOLDER \\
        --unlabelled_dir=FOLDER_OF_MAGNATAGATUNE

The folds are those of benchmarks/kernel_folds.py: artist-disjoint, of GTZAN's train and valid
parts. Compared with kernel ridge regression on the large feature set:

- its features and an embedding as one more group: the encoder (a small CNN on crops of 5 s) is
  untrained, as a control; or pretrained without labels to recognise another augmented crop of the
  same clip (T. Chen et al., "A simple framework for contrastive learning", 2020); or to predict
  hidden patches of the spectrogram (K. He et al., "Masked autoencoders", 2021);
- a CNN with this encoder, trained on the classes and the kernel machine's scores of the training
  folds and its scores of unlabelled clips (G. Hinton et al., "Distilling the knowledge", 2015);
- logistic regression on the scores of the kernel machine, of the machine of each group alone, and
  of logistic regression: all out of inner folds (D. Wolpert, "Stacked generalization", 1992).

Filters and encoders are learnt without labels from all clips, thus from the audio of the held-out
folds too, but never from their labels. Prints a Markdown table: accuracy and loss out of fold, mean
and deviation over the seeds of the folds. What is learnt is kept in --cache.
"""

import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import kernel_folds
import numpy as np
import optax
import scipy.special
from absl import app, flags
from sklearn.linear_model import LogisticRegression

from deepgenre import config as defaults
from deepgenre import log
from deepgenre.data import pipeline, sampling
from deepgenre.data.augmentation import Augmentation, augment
from deepgenre.data.folds import assign_folds
from deepgenre.data.prepare import Prepared, prepare
from deepgenre.data.store import Records
from deepgenre.evaluation.metrics import evaluate
from deepgenre.models.convolution import convolve
from deepgenre.models.feature_groups import FEATURE_SETS, banks_of
from deepgenre.training import kernel
from deepgenre.training.plan import Plan, make_plan
from deepgenre.training.pretrain import describe_clips, learn_banks, training_windows
from deepgenre.weights.spec import config_of, features_of

_CACHE = flags.DEFINE_string("cache", None, "Folder of what is learnt.", required=True)
_UNLABELLED_DIR = flags.DEFINE_string("unlabelled_dir", "", "MagnaTagATune's folder; '': none.")
_STEPS = flags.DEFINE_integer("steps", 600, "Steps of pretraining.")
_BATCH = flags.DEFINE_integer("batch", 96, "Crops per step; twice as many if contrastive.")
_DISTILLED_STEPS = flags.DEFINE_integer("distilled_steps", 300, "Steps of distillation per fold.")
_DISTILLED_SEEDS = flags.DEFINE_list("distilled_seeds", ["0"], "Seeds of folds, of distillation.")

FRAMES = 370  # of a clip: 29 s, the length of MagnaTagATune's
CROP_FRAMES = 64  # 5 s
HOP_FRAMES = 32
GRID, PATCH = (8, 8), (8, 16)  # patches of a crop; frames and bands of each
HIDDEN = 0.6  # share of the patches
TEMPERATURE = 0.1
STACKING_C = 0.1  # inverse penalty of the logistic regression
LABEL_SHARE = 0.5  # of a distilled clip's target; the rest is the kernel machine's
AUGMENTATION = Augmentation(
    time_stretch=0.1, pitch_shift_bands=2.0, gain_db=6.0, equaliser_db=4.0, num_masks=1
)
Loss = Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]


class Encoder(nn.Module):
    """(batch, CROP_FRAMES, 128) -> (batch, 8, 8, 96): three convolutions with group norm."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns a vector per patch of GRID."""
        sizes = ((32, PATCH, (4, 8)), (64, (3, 3), (2, 2)), (96, (3, 3), (1, 1)))
        x = x[..., None]
        for features, size, strides in sizes:
            x = nn.Conv(features, size, strides, conv_general_dilated=convolve)(x)
            x = nn.relu(nn.GroupNorm(8)(x))
        return x


class Network(nn.Module):
    """The encoder with the heads of all tasks."""

    num_classes: int

    def setup(self) -> None:
        """Defines the layers."""
        self.encoder = Encoder()
        self.projection = nn.Sequential([nn.Dense(128), nn.relu, nn.Dense(64)])
        self.patches = nn.Dense(PATCH[0] * PATCH[1])
        self.logits = nn.Dense(self.num_classes)

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Returns the output of each head, and the embedding (batch, 192)."""
        maps = self.encoder(x)
        embedding = jnp.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=-1)
        return {
            "embedding": embedding,
            "projection": self.projection(embedding),
            "patches": self.patches(maps),
            "logits": self.logits(embedding),
        }


NETWORK = Network(num_classes=10)


def network(params: Any, x: jax.Array) -> Any:
    """Returns the outputs of `Network`."""
    return NETWORK.apply({"params": params}, x)


def standardised(levels: jax.Array) -> jax.Array:
    """Returns levels 0..255 as about -2..2."""
    return (levels.astype(jnp.float32) - 128) / 64


def crops(levels: jax.Array, key: jax.Array) -> jax.Array:
    """Returns an augmented crop of each clip, (clips, CROP_FRAMES, bands)."""
    targets = jnp.zeros((levels.shape[0], 1))
    changed, _ = augment(levels.astype(jnp.float32), targets, key, AUGMENTATION, CROP_FRAMES)
    return standardised(changed)


def contrastive_loss(params: Any, levels: jax.Array, _: jax.Array, key: jax.Array) -> jax.Array:
    """Returns the cross-entropy of finding the other crop of each clip among all crops."""
    first, second = jax.random.split(key)
    both = jnp.concatenate([crops(levels, first), crops(levels, second)])
    z = network(params, both)["projection"]
    z = z / (jnp.linalg.norm(z, axis=-1, keepdims=True) + 1e-6)
    similarities = z @ z.T / TEMPERATURE - 1e9 * jnp.eye(len(z))
    partners = jnp.roll(jnp.arange(len(z)), levels.shape[0])
    return optax.softmax_cross_entropy_with_integer_labels(similarities, partners).mean()


def masked_loss(params: Any, levels: jax.Array, _: jax.Array, key: jax.Array) -> jax.Array:
    """Returns the mean squared error of the hidden patches."""
    crop_key, mask_key = jax.random.split(key)
    x = crops(levels, crop_key)
    hidden = jax.random.bernoulli(mask_key, HIDDEN, (x.shape[0], *GRID))
    of_values = jnp.repeat(jnp.repeat(hidden, PATCH[0], axis=1), PATCH[1], axis=2)
    predicted = network(params, jnp.where(of_values, 0, x))["patches"]
    cut = x.reshape(-1, GRID[0], PATCH[0], GRID[1], PATCH[1]).swapaxes(2, 3)
    errors = jnp.square(predicted - cut.reshape(predicted.shape)).mean(axis=-1)
    return (errors * hidden).sum() / hidden.sum()


def distillation_loss(
    params: Any, levels: jax.Array, targets: jax.Array, key: jax.Array
) -> jax.Array:
    """Returns the cross-entropy with the targets: probabilities, (clips, classes)."""
    logits = network(params, crops(levels, key))["logits"]
    return optax.softmax_cross_entropy(logits, targets).mean()


def fitted(loss: Loss, levels: np.ndarray, targets: np.ndarray, steps: int) -> Any:
    """Returns the params after AdamW steps on random batches of the clips."""
    tx = optax.adamw(optax.warmup_cosine_decay_schedule(0, 2e-3, steps // 10, steps), 0.9, 0.98)
    batch = min(_BATCH.value, len(levels))

    @jax.jit
    def step(params: Any, state: Any, data: Any, key: jax.Array) -> tuple[Any, Any, jax.Array]:
        chosen = jax.random.choice(key, data[0].shape[0], (batch,), replace=False)
        value, gradients = jax.value_and_grad(loss)(
            params, data[0][chosen], data[1][chosen], jax.random.fold_in(key, 1)
        )
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    params = initial()
    data, state = (jnp.asarray(levels), jnp.asarray(targets)), tx.init(params)
    for number in range(steps):
        params, state, value = step(params, state, data, jax.random.key(number))
        if number % 100 == 0 or number == steps - 1:
            log.info("step %d: loss %.4f", number, float(value))
    return jax.device_get(params)


def outputs(params: Any, levels: np.ndarray, name: str) -> np.ndarray:
    """Returns an output of the network for crops of each clip, (clips, crops, values)."""
    starts = sampling.window_starts(levels.shape[1], CROP_FRAMES, HOP_FRAMES)

    @jax.jit
    def apply(clip: jax.Array) -> jax.Array:
        cut = jnp.stack([clip[start : start + CROP_FRAMES] for start in starts])
        return network(params, standardised(cut))[name]

    return np.stack([jax.device_get(apply(clip)) for clip in levels])


def embeddings(params: Any, levels: np.ndarray) -> np.ndarray:
    """Returns mean and deviation over crops of the embedding, (clips, 384)."""
    values = outputs(params, levels, "embedding")
    return np.concatenate([values.mean(axis=1), values.std(axis=1)], axis=1)


def initial() -> Any:
    """Returns untrained params."""
    return NETWORK.init(jax.random.key(0), jnp.zeros((1, CROP_FRAMES, 128)))["params"]


def cached(name: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the arrays of <cache>/<name>.npz, computed if it is missing."""
    path = Path(_CACHE.value) / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **compute())
    with np.load(path) as arrays:
        return dict(arrays)


def plan_of_clips() -> tuple[Plan, Prepared]:
    """Returns the plan of the kernel recipe for GTZAN's train and valid parts, and their store."""
    given = flags.FLAGS
    config = runpy.run_path(str(kernel_folds.CONFIG))["get_config"]()
    config.split, config.store_dir = "fault_filtered_all", given.store_dir
    prepared = prepare(config, Path(given.data_dir))
    return make_plan(config, prepared), prepared


def levels_of(prepared: Prepared, rows: Any, frames: int = FRAMES) -> np.ndarray:
    """Returns the first frames of stored levels, uint8 (clips, frames, bands)."""
    records = Records(prepared.folder, rows, np.uint8)
    return np.stack([sampling.window(records[i], 0, frames) for i in range(len(rows))])


def unlabelled(store_dir: str) -> np.ndarray:
    """Returns the levels of clips of MagnaTagATune, (clips, FRAMES, 128); none without them."""
    if not _UNLABELLED_DIR.value:
        return np.zeros((0, FRAMES, 128), np.uint8)
    config = defaults.get_config()
    config.dataset = "mtat"
    config.store_dir = str(Path(store_dir) / "mtat") if store_dir else ""
    config.frontend.hop_length = 1712
    prepared = prepare(config, Path(_UNLABELLED_DIR.value))
    return levels_of(prepared, prepared.rows)


def described(plan: Plan, others: np.ndarray) -> tuple[dict[str, np.ndarray], kernel.Groups]:
    """Returns the groups of features of the clips, and of others; filters are of the clips."""
    config = config_of(plan.spec)
    windows = features_of(training_windows(plan, config.seed), plan.spec)
    banks = cached("banks", lambda: learn_banks(banks_of("large"), windows, config))
    of_others = features_of(jnp.asarray(others), plan.spec)
    return (
        cached("features", lambda: describe_clips(windows, banks, "large")),
        cached("others", lambda: describe_clips(of_others, banks, "large")) if len(others) else {},
    )


def stacked(features: kernel.Groups, labels: np.ndarray, held_out: np.ndarray, rows: Any) -> Any:
    """Returns log-probabilities of the held-out clips by stacking."""
    kept = ~held_out
    inner_of = assign_folds([rows[i] for i in np.flatnonzero(kept)], kernel.NUM_FOLDS, 0)
    inner = np.array([inner_of[rows[i].key] for i in np.flatnonzero(kept)])
    own = {name: values[kept] for name, values in features.items()}
    level_1: dict[str, np.ndarray] = {}
    for fold in range(kernel.NUM_FOLDS):
        for name, scores in base_scores(own, labels[kept], inner == fold).items():
            level_1.setdefault(name, np.zeros((kept.sum(), scores.shape[1])))
            level_1[name][inner == fold] = scores
    new = base_scores(features, labels, held_out)
    scales = {name: values.std() for name, values in level_1.items()}
    x, z = (
        np.concatenate([values[name] / scales[name] for name in sorted(scales)], axis=1)
        for values in (level_1, new)
    )
    model = LogisticRegression(C=STACKING_C, max_iter=1000).fit(x, labels[kept])
    return model.predict_log_proba(z)


def by_machine(
    features: kernel.Groups, labels: np.ndarray, held_out: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """Returns logits of the held-out clips by kernel ridge regression on some groups."""
    kept = {name: features[name][~held_out] for name in names}
    machine = kernel.fit(kept, np.eye(10)[labels[~held_out]])
    return machine.logits({name: features[name][held_out] for name in names})


def base_scores(
    features: kernel.Groups, labels: np.ndarray, held_out: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the scores of the held-out clips by each model that is stacked."""
    sets = {name: (name,) for name in FEATURE_SETS["large"]} | {"all": FEATURE_SETS["large"]}
    scores = {name: by_machine(features, labels, held_out, used) for name, used in sets.items()}
    basic = [{n: features[n][m] for n in FEATURE_SETS["basic"]} for m in (~held_out, held_out)]
    probabilities = kernel_folds.logistic(basic[0], labels[~held_out], basic[1])
    return {**scores, "logistic regression": np.log(probabilities)}


def distilled(
    features: kernel.Groups,
    labels: np.ndarray,
    held_out: np.ndarray,
    rows: Any,
    levels: np.ndarray,
    others: tuple[kernel.Groups, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns log-probabilities by the distilled CNN, and mean ones of it and the kernel machine.

    others: features and levels of unlabelled clips.
    """
    kept, targets = ~held_out, np.eye(10)[labels]
    own = {name: features[name][kept] for name in FEATURE_SETS["large"]}
    own_rows = [rows[i] for i in np.flatnonzero(kept)]
    logits, _ = kernel.out_of_fold(own, targets[kept], own_rows, 0)
    scale = kernel.fit_scale(logits, labels[kept], multi_label=False)
    machine = kernel.fit(own, targets[kept]).scaled(scale)
    soft = scipy.special.softmax(scale * logits, axis=1)
    soft = LABEL_SHARE * targets[kept] + (1 - LABEL_SHARE) * soft
    of_others, unlabelled_levels = others
    if len(unlabelled_levels):
        logits = machine.logits({name: of_others[name] for name in own})
        soft = np.concatenate([soft, scipy.special.softmax(logits, axis=1)])
    used = np.concatenate([levels[kept], unlabelled_levels])
    params = fitted(distillation_loss, used, soft, _DISTILLED_STEPS.value)
    probabilities = scipy.special.softmax(outputs(params, levels[held_out], "logits"), axis=-1)
    student = np.log(probabilities.mean(axis=1))
    left_out = {name: features[name][held_out] for name in own}
    teacher = scipy.special.log_softmax(machine.logits(left_out), axis=1)
    return student, (student + teacher) / 2


def out_of_fold(plan: Plan, seed: int, recipe: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Returns logits by name of all clips; the recipe gives those of a mask of held-out clips."""
    rows = plan.parts["train"]
    fold_of = assign_folds(rows, kernel_folds.NUM_FOLDS, seed)
    folds = np.array([fold_of[row.key] for row in rows])
    logits: dict[str, Any] = {}
    for fold in range(kernel_folds.NUM_FOLDS):
        for name, values in recipe(folds == fold).items():
            logits.setdefault(name, np.zeros((len(rows), values.shape[1])))
            logits[name][folds == fold] = values
    return logits


def scored(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns accuracy, and loss at the best scale."""
    scale = kernel.fit_scale(logits, labels, multi_label=False)
    found = evaluate(scipy.special.softmax(scale * logits, axis=1), labels, multi_label=False)
    return {"accuracy": found["accuracy"], "loss": found["loss"]}


def print_rows(plan: Plan, seeds: list[str], recipe: Callable[[np.ndarray], Any]) -> None:
    """Prints a row of the table per name that the recipe returns."""
    labels = pipeline.encode_labels(plan.parts["train"], plan.spec.classes, multi_label=False)
    per_seed = [out_of_fold(plan, int(seed), recipe) for seed in seeds]
    for name in per_seed[0]:
        results = [scored(logits[name], labels) for logits in per_seed]
        accuracies = [result["accuracy"] for result in results]
        spread = f" ± {np.std(accuracies, ddof=1):.3f}" if len(seeds) > 1 else ""
        each = " ".join(f"{accuracy:.3f}".lstrip("0") for accuracy in accuracies)
        loss = np.mean([result["loss"] for result in results])
        print(f"| {name} | {np.mean(accuracies):.3f}{spread} ({each}) | {loss:.3f} |", flush=True)


def main(_: list[str]) -> None:
    """Prints the rows in the order of the docstring."""
    given = flags.FLAGS
    plan, prepared = plan_of_clips()
    rows = plan.parts["train"]
    labels = pipeline.encode_labels(rows, plan.spec.classes, multi_label=False)
    levels, others = levels_of(prepared, rows), unlabelled(given.store_dir)
    features, of_others = described(plan, others)
    everything = np.concatenate([levels, others])
    large = FEATURE_SETS["large"]
    losses = {"untrained": None, "masked": masked_loss, "contrastive": contrastive_loss}
    for name, loss in losses.items():

        def learn(loss: Loss | None = loss) -> dict[str, np.ndarray]:
            targets = np.zeros((len(everything), 1))
            params = fitted(loss, everything, targets, _STEPS.value) if loss else initial()
            return {"clips": embeddings(params, levels)}

        features[name] = cached(name, learn)["clips"]
    sets = {"kernel ridge, large": large}
    sets |= {f"and {name} encoder": (*large, name) for name in losses}
    sets |= {f"{name} encoder alone": (name,) for name in losses}
    print("| recipe | accuracy (each seed) | loss |\n| --- | --- | --- |")

    def machines(mask: np.ndarray) -> dict[str, np.ndarray]:
        return {title: by_machine(features, labels, mask, names) for title, names in sets.items()}

    print_rows(plan, given.seeds, machines)
    print_rows(plan, given.seeds, lambda mask: {"stacking": stacked(features, labels, mask, rows)})

    def distil(mask: np.ndarray) -> dict[str, np.ndarray]:
        student, both = distilled(features, labels, mask, rows, levels, (of_others, others))
        return {"distilled CNN": student, "distilled CNN and kernel machine": both}

    print_rows(plan, _DISTILLED_SEEDS.value, distil)


if __name__ == "__main__":
    app.run(main)

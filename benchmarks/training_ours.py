"""Times our training steps on a batch in memory, for `train_speed.py`.

    training_ours.py JSON

JSON has the fields of `train_speed.Case`. Prints one JSON object: 'seconds' of each step, peak
memory of the steps in 'bytes', 'gflop_a_clip' (operations of a step per clip), 'matrix_gflops'
(measured rate of matrix products in the same type), and the 'device'.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr

from deepgenre import config as defaults
from deepgenre import devices
from deepgenre.audio.frontend import FrontEnd
from deepgenre.training.loop import recipe_of
from deepgenre.training.optimizer import make_optimizer, make_schedule
from deepgenre.training.step import compile_train_step
from deepgenre.weights import spec as specs
from deepgenre.weights.spec import Spec
from deepgenre.weights.state import initial_state

BANDS = 128
MATRIX_SIZE = 4096


def spec_of(case: dict[str, Any]) -> Spec:
    """Returns the spec of the case's network: log-mel bands as input, numbered classes."""
    config = defaults.get_config()
    config.dtype = case["dtype"]
    return Spec(
        model=case["network"],
        network={},
        classes=tuple(map(str, range(case["classes"]))),
        multi_label=case["multi_label"],
        frontend=FrontEnd(),
        mean=128.0,
        deviation=64.0,
        window_frames=case["frames"],
        hop_frames=case["frames"],
        clip_seconds=30.0,
        config=config.to_dict(),
    )


def random_batch(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns random stored levels and labels."""
    random = np.random.default_rng(0)
    shape = (case["batch"], case["frames"], BANDS)
    labels = random.integers(0, case["classes"], case["batch"]).astype(np.int32)
    if case["multi_label"]:
        labels = (random.random((case["batch"], case["classes"])) < 0.06).astype(np.uint8)
    return {"levels": random.integers(0, 256, shape).astype(np.uint8), "labels": labels}


def gflop_per_clip(spec: Spec) -> float:
    """Returns the GFLOP of a training step per clip; a multiply-add counts as two operations.

    Convolutions and dense layers only, by their definition, independent of the platform's
    implementation: three times the forward pass, except the first layer, which needs no gradient
    with respect to its input.
    """
    module = specs.build(spec)
    x = jax.ShapeDtypeStruct((1, spec.window_frames, BANDS), jnp.float32)
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(x.shape), False))
    forward = jax.make_jaxpr(lambda v, x: module.apply(v, x, train=False))(variables, x)
    layers = operations(forward.jaxpr)
    return (3 * sum(layers) - layers[0]) / 1e9


def operations(jaxpr: Jaxpr) -> list[float]:
    """Returns the operations of each convolution and matrix product, in order.

    If the lowering depends on the platform, counts the default one, which is the last.
    """
    counts = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cond":
            counts += operations(equation.params["branches"][-1].jaxpr)
        elif equation.primitive.name in ("conv_general_dilated", "dot_general"):
            out, right = equation.outvars[0].aval, equation.invars[1].aval
            counts.append(2.0 * out.size * right.size / out.shape[-1])  # pyright: ignore
        else:
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)  # of a closed one
                counts += operations(inner) if isinstance(inner, Jaxpr) else []
    return counts


def timed(function: Callable[[], Any], times: int) -> list[float]:
    """Returns the seconds of each call, after a first call that compiles."""
    jax.block_until_ready(function())
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - start)
    return seconds


def matrix_gflops(dtype: str) -> float:
    """Returns the GFLOP per second of the device in matrix products of this type."""
    left = jnp.ones((MATRIX_SIZE, MATRIX_SIZE), dtype)
    product = jax.jit(lambda left: left @ left)
    return 2 * MATRIX_SIZE**3 / min(timed(lambda: product(left), 3)) / 1e9


def peak_bytes() -> int:
    """Returns the peak memory so far, of the device if it reports it, otherwise of the process."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics:
        return statistics["peak_bytes_in_use"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(case: dict[str, Any]) -> None:
    """Measures the case and prints the results."""
    num_devices = case["devices"]
    spec, config = spec_of(case), defaults.get_config()
    config.learning_rate = 1e-4
    tx = make_optimizer(config, make_schedule(config, 100, 1000))
    state = initial_state(specs.build(spec), tx, (1, case["frames"], BANDS), seed=0)
    step = compile_train_step(spec, tx, recipe_of(config), num_devices=num_devices)
    batch = random_batch(case)
    if num_devices > 1:
        state, batch = devices.replicate(state), devices.shard(batch, num_devices)
    batch = jax.device_put(batch) if num_devices == 1 else batch
    before = peak_bytes()
    states = [state]  # the step donates its input

    def advance() -> jax.Array:
        states[0], scalars = step(states[0], batch)
        return scalars["loss"]

    seconds = timed(advance, case["steps"])
    results = {
        "seconds": seconds,
        "bytes": peak_bytes() - before,
        "gflop_a_clip": gflop_per_clip(spec),
        "matrix_gflops": matrix_gflops(case["dtype"]),
        "device": f"{num_devices} x {jax.devices()[0].device_kind}",
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

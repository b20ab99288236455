"""Mode `calibrate`: weights and the validation part of their data to weights that know their worth.

The temperature is fitted to songs that no weight was trained on, and to song scores as `predict`
makes them by default: means over windows.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.data.parts import part_rows
from deepgenre.data.prepare import prepare
from deepgenre.data.store import Row
from deepgenre.errors import UserError
from deepgenre.evaluation import metrics
from deepgenre.evaluation.calibration import (
    calibrate,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from deepgenre.evaluation.scoring import score_rows
from deepgenre.weights import weight_file
from deepgenre.weights.export import checked
from deepgenre.weights.spec import Weights, config_of

PART = "valid"


def run(weights: Weights, data_dir: Path, output: Path | None, dtype: str) -> int:
    """Writes the weights with a temperature; prints it with the calibration errors; returns 0."""
    output = checked(output)
    config = config_of(weights.spec)
    prepared = prepare(config, data_dir)
    rows = part_rows(config, prepared.rows, weights.spec.classes, weights.spec.multi_label, PART)
    calibrated, found = fitted(weights, prepared.folder, rows)
    weight_file.write(output, calibrated, dtype=dtype)
    log.info("calibrated on %d clips; wrote %s", len(rows), output)
    print(json.dumps(found))
    return 0


def fitted(weights: Weights, store: Path, rows: Sequence[Row]) -> tuple[Weights, dict[str, float]]:
    """Returns the weights with the temperature that fits these clips, and what it changes.

    Their metrics are then those of these clips, at that temperature.
    """
    spec = weights.spec
    if not rows:
        raise UserError(f"--data_dir: its part {PART!r} holds no clip to calibrate on")
    scores, labels = score_rows(weights, store, rows)
    kind: dict[str, bool] = {"multi_label": spec.multi_label}
    temperature = fit_temperature(scores, labels, **kind)
    after = calibrate(scores, temperature, **kind)
    found = {
        "temperature": temperature,
        "calibration_loss_before": negative_log_likelihood(scores, labels, **kind),
        "calibration_loss": negative_log_likelihood(after, labels, **kind),
        "calibration_error_before": calibration_error(scores, labels, **kind),
        "calibration_error": calibration_error(after, labels, **kind),
    }
    measured = metrics.evaluate(calibrate(scores, temperature, **kind), labels, **kind)
    spec = dataclasses.replace(spec, temperature=temperature)
    return dataclasses.replace(weights, spec=spec, metrics={**measured, **found}), found

"""Mode `calibrate`: fits a temperature to the scores of weights on the validation part.

The weights were not trained on these songs. The scores are means over windows, as `predict`
returns them by default.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from deepgenre import log
from deepgenre.data.store import Row
from deepgenre.errors import UserError
from deepgenre.evaluation import metrics
from deepgenre.evaluation.calibration import (
    calibrate,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from deepgenre.evaluation.clips import num_trained_on, own_clips
from deepgenre.evaluation.scoring import score_rows
from deepgenre.files import updating
from deepgenre.weights import weight_file
from deepgenre.weights.export import check_output
from deepgenre.weights.spec import Weights

PART = "valid"


def run(weights: Weights, data_dir: Path, output: Path | None, dtype: str) -> int:
    """Writes the weights with a temperature, prints the report as JSON; returns exit code 0."""
    output = check_output(output)
    with updating(output):
        clips = own_clips(weights.spec, data_dir, PART, exclude_unknown=False)
        if num_trained_on(clips):
            raise UserError(
                f"--data_dir: the weights were trained on clips of part {PART!r}: a temperature "
                "fitted to them would be too low for other songs"
            )
        calibrated, report = with_fitted_temperature(weights, clips.store, clips.rows)
        weight_file.write(output, calibrated, dtype=dtype)
    log.info("calibrated on %s; wrote %s", log.counted(len(clips.rows), "clip"), output)
    print(json.dumps(report))
    return 0


def with_fitted_temperature(
    weights: Weights, store: Path, rows: Sequence[Row]
) -> tuple[Weights, dict[str, float]]:
    """Returns the weights with the temperature fitted to these clips, and a report.

    The report gives the temperature, and loss and calibration error before and after. The returned
    weights' metrics are those of these clips at that temperature. Raises UserError without clips.
    """
    spec = weights.spec
    if not rows:
        raise UserError(f"--data_dir: part {PART!r} contains no clips to calibrate on")
    scores, labels = score_rows(weights, store, rows)
    task: dict[str, bool] = {"multi_label": spec.multi_label}
    temperature = fit_temperature(scores, labels, **task)
    calibrated = calibrate(scores, temperature, **task)
    report = {
        "temperature": temperature,
        "calibration_loss_before": negative_log_likelihood(scores, labels, **task),
        "calibration_loss": negative_log_likelihood(calibrated, labels, **task),
        "calibration_error_before": calibration_error(scores, labels, **task),
        "calibration_error": calibration_error(calibrated, labels, **task),
    }
    results = metrics.evaluate(calibrated, labels, **task)
    spec = dataclasses.replace(spec, temperature=temperature)
    return dataclasses.replace(weights, spec=spec, metrics={**results, **report}), report

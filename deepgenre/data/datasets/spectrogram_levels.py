"""Stored arrays of spectrograms to levels: their orientation and their scale.

Integers (uint8) are levels already. Floats are dB, or power, which is converted; `SCALES` names
both. Which of them a file holds is not written in it: arrays that cannot be dB are refused.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from deepgenre.audio.frontend import quantise
from deepgenre.audio.mel import power_to_db
from deepgenre.errors import UserError, look_up

# Of a clip: compressed or standardised values cover less, and natural logarithms of 100 dB. Music
# covers 70 and more, white noise 25.
LEAST_RANGE_DB = 24.0
MOST_DB = 250.0  # above a floor of 0: power is larger
LEAST_MEDIAN = 0.02  # of the maximum: power is far more skewed than dB above a floor of 0


def as_decibels(values: np.ndarray) -> np.ndarray:
    """Returns float32 dB that are given as such."""
    return values.astype(np.float32)


def from_doubled(values: np.ndarray) -> np.ndarray:
    """Returns float32 dB of 20 log10 of power, twice what dB are, as MTG-Jamendo publishes it."""
    return values.astype(np.float32) / 2


def from_natural_log(values: np.ndarray) -> np.ndarray:
    """Returns float32 dB of the natural logarithm of power."""
    return values.astype(np.float32) * np.float32(10 / math.log(10))


def from_power(values: np.ndarray) -> np.ndarray:
    """Returns float32 dB of power; raises ValueError where a value is negative."""
    if values.min() < 0:
        raise ValueError("contains negative power")
    return power_to_db(values.astype(np.float64)).astype(np.float32)


def detect(values: np.ndarray) -> np.ndarray:
    """Returns float32 dB that are given as such; raises ValueError where they cannot be dB."""
    least, most = float(values.min()), float(values.max())
    median = float(np.median(values))
    doubt = ""
    if 0 < most - least < LEAST_RANGE_DB:
        doubt = f"covers {least:.3g} to {most:.3g} only"
    elif least >= 0 and most > MOST_DB:
        doubt = f"covers {least:.3g} to {most:.3g}"
    elif least >= 0 and 0 < median < LEAST_MEDIAN * most:
        doubt = f"is never negative, with a median of {median:.3g} and a maximum of {most:.3g}"
    if doubt:
        raise ValueError(
            f"{doubt}, which is no spectrogram in dB; save dB (librosa.power_to_db), or set "
            "--config.spectrogram_scale=power where it is power, =natural_log where it is the "
            "natural logarithm of power, =db where it is dB after all"
        )
    return as_decibels(values)


# By name: from the floats of a file to dB. '' refuses what is probably not in dB.
SCALES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "": detect,
    "db": as_decibels,
    "power": from_power,
    "natural_log": from_natural_log,
    "double_db": from_doubled,
}


def levels_of(values: np.ndarray, *, range_db: float, scale: str, where: str) -> np.ndarray:
    """Returns uint8 levels of an array: as they are, or of dB relative to the maximum.

    scale: of floats, a name in SCALES. Raises UserError, beginning with `where`, for another type,
    for values that are not finite, and for a scale that the values cannot have.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f":
        raise UserError(f"{where}: is {values.dtype}; save dB as float32, or levels as uint8")
    if not np.isfinite(values).all():
        raise UserError(
            f"{where}: contains NaN or infinity; clip power to a floor before its logarithm"
        )
    try:
        decibels = look_up(SCALES, scale, "config.spectrogram_scale")(values)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    return quantise(decibels - decibels.max(), range_db)


def bands_axis(shape: tuple[int, ...], num_bands: int) -> int | None:
    """Returns the axis (0 or 1) of the bands in clips of this shape, (bands, frames) by default.

    The first axis of length `num_bands`; where there is none, the first one if it is the shorter
    one; None where neither tells.
    """
    if num_bands in shape:
        return shape.index(num_bands)
    return 0 if shape[0] < shape[1] else None

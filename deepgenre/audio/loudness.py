"""Loudness by ITU-R BS.1770-4 and EBU R 128, and the gain of ReplayGain 2.0.

The integrated loudness is the mean power of K-weighted blocks of 400 ms that are above -70 LUFS and
not more than 10 LU below the mean of those. K-weighting is a shelf and a high-pass filter; their
coefficients at any sample rate follow from the analogue filters that give the coefficients of the
recommendation at 48 kHz. The true peak is that of the signal at four times the sample rate.
"""

import dataclasses
import functools
import math

import numpy as np

STEP_SECONDS = 0.1  # blocks of 400 ms overlap by 75 %
BLOCK_STEPS = 4
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
OFFSET_LUFS = -0.691  # the loudness of unit power after the filters
REPLAYGAIN_LUFS = -18.0  # the loudness that ReplayGain 2.0 brings songs to
SURROUND_WEIGHT = 1.41  # about 1.5 dB
# Weight of each channel by their number, in the order of wav files; more channels: as surround.
FRONT = {1: (1.0,), 2: (1.0, 1.0), 3: (1.0, 1.0, 1.0), 4: (1.0, 1.0), 5: (1.0, 1.0, 1.0)}
FRONT_AND_LFE = (1.0, 1.0, 1.0, 0.0)  # of six and more channels; the LFE channel is left out
TAPS_PER_PHASE = 12  # of the interpolation filter, as in BS.1770-4, annex 2
SEGMENT_SAMPLES = 1024  # in which the true peak is searched, or skipped


@dataclasses.dataclass(frozen=True)
class Loudness:
    """The loudness of a recording."""

    integrated_lufs: float | None  # None: no block of 400 ms is above -70 LUFS
    true_peak_dbtp: float  # dB relative to full scale; -inf for digital silence

    @property
    def replaygain_db(self) -> float | None:
        """The gain to -18 LUFS, in dB."""
        return None if self.integrated_lufs is None else REPLAYGAIN_LUFS - self.integrated_lufs


class Meter:
    """Measures the loudness of a recording that arrives in blocks."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        """Starts a measurement of `channels` channels at `rate_hz`."""
        self.channels = channels
        self._filter = k_weighting(rate_hz)
        self._state = np.zeros((len(self._filter), channels, 2))
        self._weights = channel_weights(channels)
        self._step_samples = round(STEP_SECONDS * rate_hz)
        self._rest = np.zeros(0)  # weighted power per sample, of an incomplete step
        self._steps: list[np.ndarray] = []  # mean power
        self._oversampling = 4 if rate_hz < 96_000 else 2 if rate_hz < 192_000 else 1
        self._tail = np.zeros((TAPS_PER_PHASE, channels), np.float32)
        self._peak = 0.0

    def add(self, samples: np.ndarray) -> None:
        """Adds a block, float32 (samples, channels)."""
        import scipy.signal

        channels = np.ascontiguousarray(samples.T, np.float64)  # filtered six times as fast
        filtered, self._state = scipy.signal.sosfilt(self._filter, channels, zi=self._state)
        power = np.concatenate([self._rest, self._weights @ np.square(filtered, out=filtered)])
        num_steps = power.size // self._step_samples
        complete = power[: num_steps * self._step_samples]
        self._steps.append(complete.reshape(num_steps, self._step_samples).mean(axis=1))
        self._rest = power[complete.size :]
        joined = np.concatenate([self._tail, samples])
        self._peak = true_peak(joined, self._oversampling, self._peak)
        self._tail = joined[-TAPS_PER_PHASE:]

    def result(self) -> Loudness:
        """Returns the loudness of the blocks so far."""
        ended = np.concatenate([self._tail, np.zeros_like(self._tail)])
        peak = true_peak(ended, self._oversampling, self._peak)
        steps = np.concatenate([*self._steps, np.zeros(0)])
        return Loudness(gated_loudness(steps), 20 * math.log10(peak) if peak else -math.inf)


def channel_weights(channels: int) -> np.ndarray:
    """Returns the weight of each channel's power, float64 (channels,)."""
    front = FRONT.get(channels, FRONT_AND_LFE)
    return np.array([*front, *[SURROUND_WEIGHT] * (channels - len(front))])


def k_weighting(rate_hz: int) -> np.ndarray:
    """Returns the K-weighting filter at a sample rate as second-order sections, float64 (2, 6).

    The analogue parameters are those of libebur128; at 48 kHz they give the recommendation's table.
    """
    k, q = math.tan(math.pi * 1681.974450955533 / rate_hz), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (high + band * k / q + k * k) / a0, 2 * (k * k - high) / a0,
        (high - band * k / q + k * k) / a0, 1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0,
    ]  # fmt: skip
    k, q = math.tan(math.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    a0 = 1 + k / q + k * k
    return np.array([shelf, [1, -2, 1, 1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]])


def gated_loudness(step_power: np.ndarray) -> float | None:
    """Returns LUFS of the mean K-weighted power of successive steps of 100 ms, (steps,)."""
    if step_power.size < BLOCK_STEPS:
        return None
    blocks = np.convolve(step_power, np.full(BLOCK_STEPS, 1 / BLOCK_STEPS), "valid")
    blocks = blocks[blocks > _power(ABSOLUTE_GATE_LUFS)]
    if not blocks.size:
        return None
    gate = max(_power(ABSOLUTE_GATE_LUFS), blocks.mean() * 10 ** (RELATIVE_GATE_LU / 10))
    return OFFSET_LUFS + 10 * math.log10(blocks[blocks > gate].mean())


def _power(lufs: float) -> float:
    return 10 ** ((lufs - OFFSET_LUFS) / 10)


def true_peak(samples: np.ndarray, oversampling: int, known: float = 0.0) -> float:
    """Returns the largest magnitude of samples (samples, channels) at a multiple of their rate.

    The interpolated signal is not evaluated within TAPS_PER_PHASE / 2 samples of either end, where
    it depends on the samples beyond. Not below `known`, a peak found before: segments that cannot
    exceed it are skipped, as the interpolated magnitude is at most the largest sample times the sum
    of the filter's magnitudes.
    """
    peak = max(known, float(np.abs(samples).max(initial=0)))
    if oversampling == 1:
        return peak
    for channel in samples.T:
        peak = _interpolated_peak(np.ascontiguousarray(channel), oversampling, peak)
    return peak


def _interpolated_peak(channel: np.ndarray, oversampling: int, peak: float) -> float:
    import scipy.signal

    taps, bound = _interpolation_filter(oversampling)
    margin = TAPS_PER_PHASE // 2
    starts = np.arange(margin, channel.size - margin, SEGMENT_SAMPLES)
    if not starts.size:
        return peak
    magnitude = np.abs(channel)
    largest = np.array(
        [magnitude[start - margin : start + SEGMENT_SAMPLES + margin].max() for start in starts]
    )
    for index in np.argsort(-largest):
        if largest[index] * bound <= peak:
            break
        start = starts[index]
        segment = channel[start - margin : start + SEGMENT_SAMPLES + margin]
        raised = scipy.signal.upfirdn(taps, segment, oversampling)
        skipped = 2 * margin * oversampling  # delay of the filter, and the margin
        peak = max(peak, float(np.abs(raised[skipped:-skipped]).max(initial=0)))
    return peak


@functools.lru_cache(maxsize=2)
def _interpolation_filter(oversampling: int) -> tuple[np.ndarray, float]:
    """Returns a windowed sinc, float32 (taps,), and the largest gain of any signal by it."""
    half = oversampling * TAPS_PER_PHASE // 2
    positions = np.arange(-half, half + 1)
    taps = np.sinc(positions / oversampling) * np.hanning(2 * half + 3)[1:-1]
    phases = [np.abs(taps[phase::oversampling]).sum() for phase in range(oversampling)]
    return taps.astype(np.float32), float(max(phases))

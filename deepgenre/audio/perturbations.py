"""Changes of a waveform that do not change its genre: noise, pitch, tempo, loudness, coding.

Noise, pitch, tempo and dynamic compression follow the protocol of M. Won, A. Ferraro, D. Bogdanov
and X. Serra, "Evaluation of CNN-based automatic music tagging models", SMC 2020. Time stretch and
pitch shift are librosa's phase vocoder; compression and mp3 are done by the program ffmpeg. The
settings of the compressor are those that muda (McFee, Humphrey and Bello, ISMIR 2015) takes from
Dolby's standards: pairs of input and output levels in dB.
"""

import dataclasses
import subprocess
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from deepgenre.errors import UserError

# (waveform float32 (samples,), rate in Hz, generator) -> waveform float32 (samples,)
Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
COMPRESSORS = {
    "music standard": "-90/-90|-70/-58|-55/-43|-31/-31|-21/-21|0/-20",
    "speech": "-90/-90|-70/-55|-50/-35|-31/-31|-21/-21|0/-20",
}
FILTER_ORDER = 8


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """A change, and the family it belongs to."""

    family: str
    change: Change
    needs_ffmpeg: bool = False


def _unchanged(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    return waveform


def noise(share: float) -> Change:
    """Returns the mix (1 - share) x + share n, n being white noise with the peak of x."""

    def change(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        white = rng.standard_normal(waveform.size, np.float32)
        white *= np.abs(waveform).max() / np.abs(white).max()
        return (1 - share) * waveform + share * white

    return change


def pitch(semitones: float) -> Change:
    """Returns the shift of the pitch, at unchanged tempo."""

    def change(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        import librosa  # slow to import

        return librosa.effects.pitch_shift(waveform, sr=rate_hz, n_steps=semitones)

    return change


def tempo(factor: float) -> Change:
    """Returns the change of the tempo, at unchanged pitch; above 1 is faster."""

    def change(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        import librosa  # slow to import

        return librosa.effects.time_stretch(waveform, rate=factor)

    return change


def gain(decibels: float) -> Change:
    """Returns the gain; samples beyond full scale are clipped."""

    def change(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        return np.clip(waveform * np.float32(10 ** (decibels / 20)), -1, 1)

    return change


def low_pass(cutoff_hz: float) -> Change:
    """Returns the Butterworth low-pass of order 8."""

    def change(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        import scipy.signal  # slow to import

        if cutoff_hz >= rate_hz / 2:
            return waveform
        sections = scipy.signal.butter(FILTER_ORDER, cutoff_hz, fs=rate_hz, output="sos")
        return np.asarray(scipy.signal.sosfilt(sections, waveform), np.float32)

    return change


def compression(setting: str) -> Change:
    """Returns the dynamic compression of a setting in COMPRESSORS."""

    def change(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        points = COMPRESSORS[setting]
        effect = f"compand=attacks=0.1:decays=0.3:points={points}:delay=0.1"
        raw = _raw(rate_hz)
        command = [*raw, "-i", "pipe:0", "-af", effect, *raw, "pipe:1"]
        return _fitted(_ffmpeg(command, waveform.astype("<f4").tobytes()), waveform.size)

    return change


def mp3(kilobits: int) -> Change:
    """Returns what remains after coding as mp3 at this bitrate, in kbit/s."""

    def change(waveform: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        raw = _raw(rate_hz)
        samples = np.clip(waveform, -1, 1).astype("<f4").tobytes()
        rate = ["-b:a", f"{kilobits}k", "-f", "mp3", "pipe:1"]
        coded = _ffmpeg([*raw, "-i", "pipe:0", *rate], samples)
        decoded = _ffmpeg(["-f", "mp3", "-i", "pipe:0", *raw, "pipe:1"], coded)
        return _fitted(decoded, waveform.size)

    return change


def _raw(rate_hz: int) -> list[str]:
    return ["-f", "f32le", "-ar", str(rate_hz), "-ac", "1"]


def _ffmpeg(arguments: Sequence[str], data: bytes) -> bytes:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        reason = " ".join(done.stderr.decode(errors="replace").split()[-20:])
        raise UserError(f"ffmpeg: cannot change the audio ({reason}); install a complete ffmpeg")
    return done.stdout


def _fitted(data: bytes, num_samples: int) -> np.ndarray:
    """Returns samples, cut or padded with silence: coders delay and pad."""
    samples = np.frombuffer(data, "<f4")[:num_samples].astype(np.float32)
    return np.pad(samples, (0, num_samples - samples.size))


PERTURBATIONS: Mapping[str, Perturbation] = {
    "unchanged": Perturbation("unchanged", _unchanged),
    "noise 0.1": Perturbation("noise", noise(0.1)),
    "noise 0.4": Perturbation("noise", noise(0.4)),
    "pitch -1 semitone": Perturbation("pitch", pitch(-1)),
    "pitch +1 semitone": Perturbation("pitch", pitch(1)),
    "tempo x 0.71": Perturbation("tempo", tempo(2**-0.5)),
    "tempo x 1.41": Perturbation("tempo", tempo(2**0.5)),
    "compression, music": Perturbation("compression", compression("music standard"), True),
    "compression, speech": Perturbation("compression", compression("speech"), True),
    "mp3 32 kbit/s": Perturbation("mp3", mp3(32), True),
    "mp3 16 kbit/s": Perturbation("mp3", mp3(16), True),
    "low-pass 4 kHz": Perturbation("low-pass", low_pass(4000)),
    "low-pass 2 kHz": Perturbation("low-pass", low_pass(2000)),
    "gain -20 dB": Perturbation("gain", gain(-20)),
    "gain +12 dB, clipped": Perturbation("gain", gain(12)),
}

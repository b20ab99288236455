"""What the musicnn networks hear: their log-mel spectrogram, and the constants of it."""

import numpy as np

SAMPLE_RATE_HZ = 16_000
N_FFT = 512
HOP_LENGTH = 256
N_MELS = 96
WINDOW_FRAMES = 187  # 3 s: the networks' input


def musicnn_log_mel(waveform: np.ndarray) -> np.ndarray:
    """Returns log10(1 + 10000 mel power), float32 (frames, 96), of float32 (samples,) at 16 kHz.

    frames = 1 + samples // 256. Equal to the `batch_data` of musicnn 0.1.0 under the NumPy it was
    released for: power rounded to float16, compressed in float32. (NumPy 2 would compress in
    float16, overflow above a power of 6.55, and make every loud window sound the same.) Samples
    are clipped at full scale, as the 16-bit decoding that the networks were trained on clipped
    them; frames at both ends are padded by reflection, the default of librosa before 0.10.
    """
    import librosa  # slow to import, and needed only where audio is heard

    power = librosa.feature.melspectrogram(
        y=np.clip(waveform, -1.0, 1.0),
        sr=SAMPLE_RATE_HZ,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        n_mels=N_MELS,
        pad_mode="reflect",
    ).T
    rounded = power.astype(np.float16).astype(np.float32)
    return np.log10(10_000 * rounded + 1)

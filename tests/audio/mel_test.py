import librosa
import numpy as np
import pytest

from deepgenre.audio import mel


@pytest.mark.parametrize(
    ("sample_rate_hz", "n_fft", "n_mels", "fmin_hz", "fmax_hz"),
    [
        (22_050, 2048, 128, 0.0, 11_025.0),  # the paper's
        (16_000, 512, 96, 0.0, 8_000.0),  # musicnn's
        (16_000, 400, 64, 125.0, 7_500.0),  # VGGish's
        (12_000, 512, 96, 0.0, 6_000.0),  # Choi's
        (44_100, 1023, 20, 1_000.0, 1_500.0),  # odd, and all above the break
        (8_000, 256, 10, 50.0, 900.0),  # all below it
    ],
)
def test_filters_equal_librosa(
    sample_rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float
):
    expected = librosa.filters.mel(
        sr=sample_rate_hz, n_fft=n_fft, n_mels=n_mels, fmin=fmin_hz, fmax=fmax_hz
    )
    filters = mel.mel_filters(sample_rate_hz, n_fft, n_mels, fmin_hz, fmax_hz)
    assert filters.dtype == expected.dtype
    np.testing.assert_array_equal(filters, expected)


@pytest.mark.parametrize("num_samples", [400, 512, 1023, 2048])
def test_window_equals_librosa(num_samples: int):
    expected = librosa.filters.get_window("hann", num_samples, fftbins=True).astype(np.float32)
    np.testing.assert_array_equal(mel.hann_window(num_samples), expected)

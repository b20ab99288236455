"""Reading of TensorFlow checkpoints, written here according to the published format."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_files import bitwise_crc32c, write

from deepgenre.errors import UserError
from deepgenre.weights.tf_checkpoint import crc32c, read_checkpoint

TENSORS = {
    "conv2d/bias": np.arange(3, dtype=np.float32),
    "conv2d/kernel": np.random.default_rng(0).normal(size=(7, 5, 1, 3)).astype(np.float32),
    "conv2d/kernel/Adam": np.zeros((7, 5, 1, 3), np.float32),
    "conv2d_1/kernel": np.random.default_rng(1).normal(size=(30, 4)),
    "empty": np.zeros((0, 4), np.float32),
    "global_step": np.asarray(70_000, np.int64),
    "half": np.asarray([1.5, -2.0], np.float16),
}


def test_names_shapes_types_and_values() -> None:
    read = read_checkpoint(*WRITTEN, "x")
    assert list(read) == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        np.testing.assert_array_equal(read[name], tensor)


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c_of_standard_vectors(data: bytes, crc: int) -> None:
    """From RFC 3720, section B.4."""
    assert crc32c(data) == crc


@settings(deadline=None)
@given(st.binary(max_size=700))
def test_crc32c_matches_its_definition(data: bytes) -> None:
    assert crc32c(data) == bitwise_crc32c(data)


WRITTEN = write(TENSORS)


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_truncated_file_is_a_user_error(fraction: float, in_index: bool) -> None:
    index, data = WRITTEN
    if in_index:
        index = index[: int(fraction * len(index))]
    else:
        data = data[: int(fraction * len(data))]
    with pytest.raises(UserError, match="footer" if in_index else "ends before tensor"):
        read_checkpoint(index, data, "weights")


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.booleans())
def test_changed_byte_is_a_user_error(fraction: float, change: int, in_index: bool) -> None:
    index, data = map(bytearray, WRITTEN)
    changed = index if in_index else data
    # The footer's padding has no content and no checksum.
    offset = int(fraction * (len(changed) - (48 if in_index else 0)))
    changed[offset] ^= change
    with pytest.raises(UserError, match="checksum"):
        read_checkpoint(bytes(index), bytes(data), "x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" * 40, b'{"a": 1}' * 20, bytes(500)])
def test_other_format_is_a_user_error(content: bytes) -> None:
    with pytest.raises(UserError, match="footer"):
        read_checkpoint(content, b"", "x")


def test_unsupported_features_are_user_errors() -> None:
    with pytest.raises(UserError, match="one data file"):
        read_checkpoint(*write(TENSORS, num_files=2), "x")
    with pytest.raises(UserError, match="compressed"):
        read_checkpoint(*write(TENSORS, compression=1), "x")
    with pytest.raises(UserError, match="one data file"):
        read_checkpoint(*write(TENSORS, header=False), "x")

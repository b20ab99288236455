"""Test helpers: TensorFlow checkpoints, written according to the published format."""

import struct

import numpy as np

from deepgenre.weights.tf_checkpoint import DTYPES, MAGIC


def bitwise_crc32c(data: bytes) -> int:
    """Computes the CRC by its definition, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = bitwise_crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    out, previous = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        delta = key[shared:]
        out += varint(shared) + varint(len(delta)) + varint(len(value)) + delta + value
        previous = key
    return out + struct.pack("<II", 0, 1)


def entry(array: np.ndarray, offset: int) -> bytes:
    number = next(n for n, dtype in DTYPES.items() if np.dtype(dtype) == array.dtype)
    shape = b"".join(field(2, field(1, size)) for size in array.shape)
    stored = array.tobytes()
    message = field(1, number) + field(2, shape) + field(4, offset) + field(5, len(stored))
    return message + varint(6 << 3 | 5) + struct.pack("<I", masked(stored))


def write(
    tensors: dict[str, np.ndarray],
    *,
    num_files: int = 1,
    compression: int = 0,
    header: bool = True,
) -> tuple[bytes, bytes]:
    """Returns the bytes of the index, with two entries per block, and of the data file."""
    entries, data = [(b"", field(1, num_files))] if header else [], b""
    for name in sorted(tensors):
        entries.append((name.encode(), entry(tensors[name], len(data))))
        data += tensors[name].tobytes()
    return table(entries, compression), data


def table(entries: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """Returns the bytes of an index, with two entries per block."""
    index, handles = b"", []

    def append(content: bytes) -> bytes:
        nonlocal index
        handle = varint(len(index)) + varint(len(content))
        stored = content + bytes([compression])
        index += stored + struct.pack("<I", masked(stored))
        return handle

    for start in range(0, len(entries), 2):
        chunk = entries[start : start + 2]
        handles.append((chunk[-1][0], append(block(chunk))))
    footer = append(block([])) + append(block(handles))
    return index + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)

"""Reads tensors from a TensorFlow V2 checkpoint without TensorFlow; it executes nothing.

A checkpoint is a sorted string table (`.index`, LevelDB's format) from tensor names to
`BundleEntryProto` messages, and the tensors' bytes (`.data-00000-of-00001`). Formats:
tensorflow/core/protobuf/tensor_bundle.proto and LevelDB's doc/table_format.md. The CRC-32C of every
block and tensor is checked.
"""

import functools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from deepgenre.errors import UserError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
TRAILER_BYTES = 5  # after each block: compression, CRC-32C
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
CRC_LANE_BYTES = 128
# What damaged bytes raise; TypeError: a number where a message has bytes, or the reverse.
DAMAGE = (ValueError, IndexError, TypeError, OverflowError, MemoryError, struct.error)


def read_checkpoint(index: bytes, data: bytes, source: str) -> dict[str, np.ndarray]:
    """Returns the tensors by name from the bytes of the index file and of the one data file.

    `source` names the checkpoint in errors. Raises UserError where a file has another format, is
    truncated or damaged, or uses unsupported features (several data files, compressed blocks,
    strings, partitioned variables).
    """
    try:
        entries = dict(_table(index))
        header = _fields(entries.pop(b"", b""))
        if header.get(1) != [1] or header.get(2, [0]) != [0]:
            raise ValueError("only one data file, little-endian, is supported")
        return {key.decode(): _tensor(key, entry, data) for key, entry in entries.items()}
    except DAMAGE as error:
        raise UserError(
            f"{source}: is not a complete TensorFlow V2 checkpoint ({error}); download it again"
        ) from error


def _tensor(key: bytes, entry: bytes, data: bytes) -> np.ndarray:
    fields = _fields(entry)
    dtype = DTYPES.get(fields.get(1, [0])[0])
    if dtype is None or 7 in fields or fields.get(3, [0]) != [0]:
        raise ValueError(f"tensor {key!r} has an unsupported type or layout")
    dimensions = _fields(fields.get(2, [b""])[0]).get(2, [])
    shape = [_fields(dimension).get(1, [0])[0] for dimension in dimensions]
    start, size = fields.get(4, [0])[0], fields.get(5, [0])[0]
    stored = data[start : start + size]
    if len(stored) != size:
        raise ValueError(f"the data file ends before tensor {key!r}")
    if masked_crc32c(stored) != fields.get(6, [0])[0]:
        raise ValueError(f"wrong checksum of tensor {key!r}")
    return np.frombuffer(stored, dtype).reshape(shape)


def _table(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a sorted string table."""
    if len(index) < FOOTER_BYTES or struct.unpack("<Q", index[-8:])[0] != MAGIC:
        raise ValueError("the index does not end with a table footer")
    footer = index[-FOOTER_BYTES:]
    _block(index, footer, 0)  # the metaindex: always empty, but checked
    _, offset = _varint(footer, 0)
    _, offset = _varint(footer, offset)
    for _, handle in _block_entries(_block(index, footer, offset)):
        yield from _block_entries(_block(index, handle, 0))


def _block(index: bytes, handle: bytes, offset: int) -> bytes:
    """Returns the checked block of the handle (varint start, varint size) at `offset`."""
    start, offset = _varint(handle, offset)
    size, _ = _varint(handle, offset)
    stored = index[start : start + size + TRAILER_BYTES]
    if len(stored) != size + TRAILER_BYTES:
        raise ValueError("the index ends within a block")
    if masked_crc32c(stored[:-4]) != struct.unpack("<I", stored[-4:])[0]:
        raise ValueError("wrong checksum of an index block")
    if stored[size] != 0:
        raise ValueError("compressed index blocks are not supported")
    return stored[:size]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (key, value); stored keys omit the prefix that they share with the previous key."""
    (num_restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (num_restarts + 1)
    key, offset = b"", 0
    while offset < end:
        shared, offset = _varint(block, offset)
        added, offset = _varint(block, offset)
        size, offset = _varint(block, offset)
        key = key[:shared] + block[offset : offset + added]
        offset += added
        yield key, block[offset : offset + size]
        offset += size


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Returns a protobuf message's values by field number: int, or bytes if length-delimited."""
    fields: dict[int, list[Any]] = {}
    offset = 0
    while offset < len(message):
        tag, offset = _varint(message, offset)
        wire_type = tag & 7
        if wire_type == 0:
            value, offset = _varint(message, offset)
        elif wire_type == 2:
            size, offset = _varint(message, offset)
            value, offset = message[offset : offset + size], offset + size
        elif wire_type == 5:
            (value,) = struct.unpack_from("<I", message, offset)
            offset += 4
        else:
            raise ValueError(f"unsupported wire type {wire_type} in a message")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Returns the variable-length integer at `offset`, and the offset after it."""
    value = shift = 0
    while data[offset] & 0x80:
        value |= (data[offset] & 0x7F) << shift
        shift += 7
        offset += 1
    return value | data[offset] << shift, offset + 1


def masked_crc32c(data: bytes) -> int:
    """Returns the CRC-32C of `data`, masked (rotated, plus a constant) as LevelDB stores it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C (Castagnoli, RFC 3720) of `data`.

    A CRC is linear, so lanes of CRC_LANE_BYTES are processed in parallel and then combined with the
    linear map "followed by a lane of zeros": far faster than byte by byte in Python.
    """
    head = len(data) % CRC_LANE_BYTES
    crc = int(_lane_crcs(np.frombuffer(data[:head], np.uint8)[None], 0xFFFFFFFF)[0])
    lanes = np.frombuffer(data[head:], np.uint8).reshape(-1, CRC_LANE_BYTES)
    for lane_crc in _lane_crcs(lanes, 0).tolist():
        crc = _followed_by_zeros(crc) ^ lane_crc
    return crc ^ 0xFFFFFFFF


def _lane_crcs(lanes: np.ndarray, initial: int | np.ndarray) -> np.ndarray:
    """Returns the raw CRC register after each row of uint8 (lanes, bytes), from `initial`."""
    crcs = np.zeros(lanes.shape[0], np.uint32) ^ np.asarray(initial, np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        crcs = _byte_table()[(crcs ^ column) & 0xFF] ^ (crcs >> 8)
    return crcs


def _followed_by_zeros(crc: int) -> int:
    first, second, third, fourth = _zeros_table()
    return first[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ fourth[crc >> 24]


@functools.cache
def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = table >> 1 ^ (table & 1) * np.uint32(0x82F63B78)
    return table


@functools.cache
def _zeros_table() -> list[list[int]]:
    """Returns the registers after a lane of zeros: one row per byte of the register, 256 values."""
    registers = np.arange(256, dtype=np.uint32) << 8 * np.arange(4, dtype=np.uint32)[:, None]
    zeros = np.zeros((registers.size, CRC_LANE_BYTES), np.uint8)
    return _lane_crcs(zeros, registers.ravel()).reshape(4, 256).tolist()

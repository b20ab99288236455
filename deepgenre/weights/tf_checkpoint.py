"""Reads tensors from a TensorFlow V2 checkpoint without TensorFlow; nothing in it is executed.

A checkpoint is a sorted string table (`.index`, LevelDB's format) from tensor names to
`BundleEntryProto` messages, and the tensors' bytes (`.data-00000-of-00001`). Formats:
tensorflow/core/protobuf/tensor_bundle.proto and LevelDB's doc/table_format.md. Every block and
tensor carries a CRC-32C, and all of them are checked.
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


def read_checkpoint(index: bytes, data: bytes, source: str) -> dict[str, np.ndarray]:
    """Returns the tensors by name from the bytes of the index file and of the one data file.

    `source` names the checkpoint in errors. Raises UserError where a file is not of this format,
    cut short or damaged, or holds what is not supported (several data files, compressed blocks,
    strings, partitioned variables).
    """
    try:
        entries = dict(_table(index))
        header = _fields(entries.pop(b"", b""))
        if header.get(1) != [1] or header.get(2, [0]) != [0]:
            raise ValueError("needs one data file, little-endian")
        return {key.decode(): _tensor(key, entry, data) for key, entry in entries.items()}
    except (ValueError, IndexError, struct.error) as error:
        raise UserError(
            f"{source}: is not a whole TensorFlow V2 checkpoint ({error}); download it again"
        ) from error


def _tensor(key: bytes, entry: bytes, data: bytes) -> np.ndarray:
    fields = _fields(entry)
    dtype = DTYPES.get(fields.get(1, [0])[0])
    if dtype is None or 7 in fields or fields.get(3, [0]) != [0]:
        raise ValueError(f"tensor {key!r} has a type or a layout that is not supported")
    dimensions = _fields(fields.get(2, [b""])[0]).get(2, [])
    shape = [_fields(dimension).get(1, [0])[0] for dimension in dimensions]
    start, size = fields.get(4, [0])[0], fields.get(5, [0])[0]
    stored = data[start : start + size]
    if len(stored) != size:
        raise ValueError(f"the data file ends before tensor {key!r}")
    if masked_crc32c(stored) != fields.get(6, [0])[0]:
        raise ValueError(f"checksum of tensor {key!r}")
    return np.frombuffer(stored, dtype).reshape(shape)


def _table(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a sorted string table."""
    if len(index) < FOOTER_BYTES or struct.unpack("<Q", index[-8:])[0] != MAGIC:
        raise ValueError("the index does not end in a table's footer")
    footer = index[-FOOTER_BYTES:]
    _block(index, footer, 0)  # the metaindex: always empty, and checked all the same
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)
    for _, handle in _block_entries(_block(index, footer, at)):
        yield from _block_entries(_block(index, handle, 0))


def _block(index: bytes, handle: bytes, at: int) -> bytes:
    """Returns the block that a handle (varint offset, varint size) points to, checked."""
    start, at = _varint(handle, at)
    size, _ = _varint(handle, at)
    stored = index[start : start + size + TRAILER_BYTES]
    if len(stored) != size + TRAILER_BYTES:
        raise ValueError("the index ends within a block")
    if masked_crc32c(stored[:-4]) != struct.unpack("<I", stored[-4:])[0]:
        raise ValueError("checksum of an index block")
    if stored[size] != 0:
        raise ValueError("compressed index blocks are not supported")
    return stored[:size]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (key, value); a key holds only what differs from the one before it."""
    (num_restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (num_restarts + 1)
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + added]
        at += added
        yield key, block[at : at + size]
        at += size


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Returns a protobuf message's values by field number: int, or bytes where it has a length."""
    fields: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire_type = tag & 7
        if wire_type == 0:
            value, at = _varint(message, at)
        elif wire_type == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif wire_type == 5:
            (value,) = struct.unpack_from("<I", message, at)
            at += 4
        else:
            raise ValueError(f"wire type {wire_type} in a message")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns the variable-length integer at `at`, and the position after it."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1


def masked_crc32c(data: bytes) -> int:
    """Returns the CRC-32C (Castagnoli) of `data`, rotated and offset as LevelDB stores it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C (Castagnoli, RFC 3720) of `data`.

    A CRC is linear, so lanes of CRC_LANE_BYTES are taken side by side and then chained with the
    linear map "followed by a lane of zeros": far faster than byte by byte in Python.
    """
    head = len(data) % CRC_LANE_BYTES
    crc = int(_lane_crcs(np.frombuffer(data[:head], np.uint8)[None], 0xFFFFFFFF)[0])
    lanes = np.frombuffer(data[head:], np.uint8).reshape(-1, CRC_LANE_BYTES)
    for lane_crc in _lane_crcs(lanes, 0).tolist():
        crc = _followed_by_zeros(crc) ^ lane_crc
    return crc ^ 0xFFFFFFFF


def _lane_crcs(lanes: np.ndarray, initial: int | np.ndarray) -> np.ndarray:
    """Returns the raw register after each row of uint8 (lanes, bytes), started at `initial`."""
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
    """Returns, per byte of the register, where each of its 256 values goes over a lane of zeros."""
    registers = np.arange(256, dtype=np.uint32) << 8 * np.arange(4, dtype=np.uint32)[:, None]
    zeros = np.zeros((registers.size, CRC_LANE_BYTES), np.uint8)
    return _lane_crcs(zeros, registers.ravel()).reshape(4, 256).tolist()

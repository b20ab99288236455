"""Lines with a checksum: any single bit that changes is found."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from deepgenre.sealed_lines import sealed, unsealed

ROW = {"path": "ä\udcff.mp3", "step": 3, "loss": 0.125}


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), min_size=1))
def test_values_return(value):
    line = sealed(value).encode()
    assert line.endswith(b'"}\n')
    assert line.count(b"\n") == 1
    assert unsealed(line) == unsealed(line.rstrip()) == value


def test_names_that_are_not_utf_8_return():
    assert unsealed(sealed(ROW).encode()) == ROW


def test_every_single_bit_is_covered():
    line = sealed(ROW).encode().rstrip(b"\n")
    for place in range(8 * len(line)):
        damaged = bytearray(line)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError):
            unsealed(bytes(damaged))


@pytest.mark.parametrize("line", [b"", b"[" * 100_000, b"\xff", b'{"a": 1', b'", "crc32": ""}'])
def test_what_is_no_line_is_a_value_error(line):
    with pytest.raises(ValueError):
        unsealed(line)


def test_lines_of_versions_without_checksums_are_read():
    assert unsealed(json.dumps(ROW).encode()) == ROW
    assert unsealed(b'{"a": "crc32"}') == {"a": "crc32"}
    assert unsealed(b"3") == 3

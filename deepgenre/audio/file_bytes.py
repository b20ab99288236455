"""The bytes of an open file, read as they are needed.

Not an mmap: a file that is truncated while it is mapped would end the process (SIGBUS).
"""

import os

WINDOW_BYTES = 1 << 20


class FileBytes:
    """A file's bytes: slices and search as of `bytes`. Shorter where the file was truncated."""

    def __init__(self, descriptor: int) -> None:
        """Takes a descriptor, whose offset is neither used nor changed."""
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._first, self._window = 0, b""

    def __len__(self) -> int:
        """Returns the size of the file when it was opened."""
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        """Returns the bytes of a slice with a step of 1."""
        start, stop, _ = span.indices(self._size)
        at = start - self._first
        if at < 0 or stop > self._first + len(self._window):
            if stop - start > WINDOW_BYTES // 2:
                return self._read(start, stop - start)
            self._first, self._window, at = start, self._read(start, WINDOW_BYTES), 0
        return self._window[at : at + max(0, stop - start)]

    def _read(self, start: int, count: int) -> bytes:
        parts = []
        while count and (part := os.pread(self._descriptor, count, start)):
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return b"".join(parts)

    def find(self, pattern: bytes, start: int = 0, end: int | None = None) -> int:
        """Returns the first offset of a pattern within start..end, -1 where there is none."""
        end = self._size if end is None else min(end, self._size)
        overlap = len(pattern) - 1
        while start + len(pattern) <= end:
            window = self[start : min(start + WINDOW_BYTES // 2, end)]
            at = window.find(pattern)
            if at >= 0:
                return start + at
            if len(window) <= overlap:
                return -1
            start += len(window) - overlap
        return -1

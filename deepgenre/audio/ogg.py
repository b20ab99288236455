"""Ogg files as libsndfile decodes them: chained streams one by one (RFC 3533)."""

import dataclasses

from deepgenre.audio.file_bytes import FileBytes

HEADER_BYTES = 27
FIRST, LAST = 2, 4  # bits of a page's type: first and last page of a stream


@dataclasses.dataclass(frozen=True)
class Chain:
    """The streams of a file, one after another."""

    parts: tuple[tuple[int, int], ...]  # (first byte, end) of each
    is_cut: bool  # the last page is incomplete, or not marked as the last of its stream


def read_chain(file: FileBytes) -> Chain:
    """Returns the chained streams of an Ogg file.

    Multiplexed streams (whose first pages precede all others) are one part. Bytes between pages are
    skipped.
    """
    starts, at, page_type, in_headers, is_whole = [], 0, 0, False, True
    while (at := file.find(b"OggS", at)) >= 0:
        head = file[at : at + HEADER_BYTES]
        if len(head) < HEADER_BYTES:
            is_whole = False
            break
        sizes = file[at + HEADER_BYTES : at + HEADER_BYTES + head[26]]
        end = at + HEADER_BYTES + len(sizes) + sum(sizes)
        page_type = head[5]
        if page_type & FIRST and not in_headers:
            starts.append(at)
        in_headers = bool(page_type & FIRST)
        is_whole = len(sizes) == head[26] and end <= len(file)
        at = end
    ends = [*starts[1:], len(file)][: len(starts)]  # none where no page begins a stream
    return Chain(tuple(zip(starts, ends, strict=True)), not is_whole or not page_type & LAST)

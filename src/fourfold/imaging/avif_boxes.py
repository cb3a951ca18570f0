"""The boxes that an AVIF file consists of."""

from collections.abc import Iterator
from typing import Any

#: Boxes of boxes that begin with four bytes of version and flags.
_FULL = (b"meta", b"iref")
#: A file with more boxes than this has been made to keep somebody busy.
_MAX_BOXES = 1000


def within(data: Any, path: tuple[bytes, ...]) -> Iterator[tuple[bytes, int, int]]:
    """Yields what :func:`boxes` does of what lies within a box, none where there is no such box."""
    start, end = 0, len(data)
    for wanted in path:
        found = next(((a, b) for kind, a, b in boxes(data, start, end) if kind == wanted), None)
        if found is None:
            return
        start, end = found[0] + 4 * (wanted in _FULL), found[1]
    yield from boxes(data, start, end)


def boxes(data: Any, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and end of the contents of the boxes between two places."""
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        size, start = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:  # the size follows, in 64 bits
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        size = size or end - at  # 0: up to the end
        if size < start - at:
            return
        yield bytes(data[at + 4 : at + 8]), start, min(end, at + size)
        at += size

"""How an AVIF file without a colour profile says that its numbers are meant as colours: libvips does not tell."""

from collections.abc import Iterator
from typing import Any

#: Boxes that lead to the properties of the file's pictures, each inside the one before; "meta" begins with 4 flags.
_PATH = (b"meta", b"iprp", b"ipco")
#: A file with more boxes than this has been made to keep somebody busy.
_MAX_BOXES = 1000
#: Code points of sRGB, and of "not said", which is taken for sRGB everywhere.
_SRGB_PRIMARIES, _SRGB_TRANSFERS = (1, 2), (13, 2)


def unheard_colour(data: Any) -> list[str]:
    """Returns a note if an AVIF file says by code points, not by a profile, that its colours are not sRGB's.

    Source: ISO/IEC 14496-12, section 12.1.5 (colr); ITU-T H.273 (the code points).

    Args:
        data: the file's bytes, or a memory map of it.
    """
    start, end = 0, len(data)
    for wanted in _PATH:
        found = next(((a, b) for kind, a, b in _boxes(data, start, end) if kind == wanted), None)
        if found is None:
            return []
        start, end = found[0] + 4 * (wanted == b"meta"), found[1]
    said = [bytes(data[a : min(b, a + 8)]) for kind, a, b in _boxes(data, start, end) if kind == b"colr"]
    points = next((text for text in said if text[:4] == b"nclx"), b"")
    if len(points) < 8 or any(text[:4] in (b"prof", b"rICC") for text in said):
        return []
    primaries, transfer = int.from_bytes(points[4:6], "big"), int.from_bytes(points[6:8], "big")
    if primaries in _SRGB_PRIMARIES and transfer in _SRGB_TRANSFERS:
        return []
    return [f"colours by code points (primaries {primaries}, transfer {transfer}) were taken for sRGB"]


def _boxes(data: Any, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
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

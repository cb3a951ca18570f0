"""How the container of an AVIF file turns its picture: the decoder does it, and libvips does not tell."""

from collections.abc import Iterator
from typing import Any

from fourfold.imaging.avif_boxes import within

#: Boxes that lead to the properties of the file's pictures, and what turns a picture, or mirrors it.
_PROPERTIES, _ROTATION, _MIRROR = (b"meta", b"iprp"), b"irot", b"imir"
#: The list of which properties a picture has takes a few bytes; a longer one has been made to keep somebody busy.
_MAX_BYTES = 65_536
#: EXIF's orientations by quarters to the left: as they are, and mirrored left to right afterwards.
_ORIENTATIONS = ((1, 8, 3, 6), (2, 7, 4, 5))


def turned_by(data: Any) -> int:
    """Returns what the container of an AVIF file turns its main picture by, as EXIF counts it, 1 to 8.

    Source: ISO/IEC 23008-12, sections 6.5.10 (irot) and 6.5.12 (imir).

    Args:
        data: the file's bytes, or a memory map of it.
    """
    properties = [(kind, bytes(data[a : min(b, a + 1)])) for kind, a, b in within(data, (*_PROPERTIES, b"ipco"))]
    quarters, mirrored = 0, False
    for index in _of_main_picture(data):
        kind, value = properties[index - 1] if 1 <= index <= len(properties) else (b"", b"")
        if kind == _ROTATION and value:
            quarters += (value[0] & 3) * (-1 if mirrored else 1)
        elif kind == _MIRROR and value:
            # 1 exchanges left and right; 0 top and bottom, which is that and half a turn
            quarters += 0 if value[0] & 1 else 2
            mirrored = not mirrored
    return _ORIENTATIONS[mirrored][quarters % 4]


def _of_main_picture(data: Any) -> list[int]:
    """Returns the numbers of the main picture's properties, counted from 1, in the order in which they apply."""
    main = next((bytes(data[a : min(b, a + 8)]) for kind, a, b in within(data, (b"meta",)) if kind == b"pitm"), b"")
    number = int.from_bytes(main[4:6] if main[:1] == b"\0" else main[4:8], "big")
    lists = [bytes(data[a : min(b, a + _MAX_BYTES)]) for kind, a, b in within(data, _PROPERTIES) if kind == b"ipma"]
    return next((indices for text in lists for picture, indices in _associations(text) if picture == number), [])


def _associations(text: bytes) -> Iterator[tuple[int, list[int]]]:
    """Yields pictures with the numbers of their properties (ISO/IEC 23008-12, section 9.3.1: ipma)."""
    number_bytes, index_bytes = (2 if text[:1] == b"\0" else 4), 1 + (text[3:4] != b"" and text[3] & 1)
    at = 8  # version and flags, and how many pictures follow
    while at + number_bytes < len(text):
        start = at + number_bytes + 1
        end = start + index_bytes * text[start - 1]
        parts = [text[k : k + index_bytes] for k in range(start, end, index_bytes)]
        # the first bit says whether a reader has to know the property
        indices = [int.from_bytes(part, "big") & (0x7F if index_bytes == 1 else 0x7FFF) for part in parts]
        yield int.from_bytes(text[at : at + number_bytes], "big"), indices
        at = end

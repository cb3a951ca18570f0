"""How the container of an AVIF file turns and crops its picture: the decoder does it, and libvips does not tell."""

from collections.abc import Iterator
from typing import Any

from fourfold.imaging.avif_boxes import boxes, within

#: Boxes that lead to the properties of the file's pictures, and what turns a picture, mirrors it, or crops it.
_PROPERTIES, _ROTATION, _MIRROR, _CROP = (b"meta", b"iprp"), b"irot", b"imir", b"clap"
#: What a picture is to another one, such as its alpha; how its property, and the name in that, begin and end.
_AUXILIARY, _AUXILIARY_KIND, _ALPHAS = b"auxl", b"auxC", (b"alpha", b"auxid:1")
#: The list of which properties a picture has takes a few bytes; a longer one has been made to keep somebody busy.
_MAX_BYTES = 65_536
#: So much of a property is looked at: all of what crops, and the names of what is beside a picture.
_PROPERTY_BYTES = 64
#: EXIF's orientations by quarters to the left: as they are, and mirrored left to right afterwards.
_ORIENTATIONS = ((1, 8, 3, 6), (2, 7, 4, 5))


def turned_by(data: Any) -> int:
    """Returns what the container of an AVIF file turns its main picture by, as EXIF counts it, 1 to 8.

    Source: ISO/IEC 23008-12, sections 6.5.10 (irot) and 6.5.12 (imir).

    Args:
        data: the file's bytes, or a memory map of it.
    """
    quarters, mirrored = 0, False
    for kind, value in _properties(data, _main_picture(data)):
        if kind == _ROTATION and value:
            quarters += (value[0] & 3) * (-1 if mirrored else 1)
        elif kind == _MIRROR and value:
            # 1 exchanges left and right; 0 top and bottom, which is that and half a turn
            quarters += 0 if value[0] & 1 else 2
            mirrored = not mirrored
    return _ORIENTATIONS[mirrored][quarters % 4]


def alpha_lies_apart(data: Any) -> bool:
    """Returns whether the main picture of an AVIF file is turned or cropped otherwise than its alpha.

    libavif has long written, and reads, alpha that follows the picture without saying so; libheif leaves it as it lies
    and stretches it over the picture.

    Source: ISO/IEC 23008-12, section 6.4.4 (auxl); ISO/IEC 14496-12, section 8.11.12 (iref).

    Args:
        data: the file's bytes, or a memory map of it.
    """
    main = _main_picture(data)
    moved = _moves(_properties(data, main))
    beside = [_properties(data, picture) for picture in _auxiliaries(data, main)]
    alphas = [found for found in beside if any(kind == _AUXILIARY_KIND and _is_alpha(text) for kind, text in found)]
    return any(_moves(found) != moved for found in alphas)


def _moves(properties: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    by_nothing = (_ROTATION, b"\0")
    return [one for one in properties if one[0] in (_ROTATION, _MIRROR, _CROP) and one != by_nothing]


def _is_alpha(text: bytes) -> bool:
    return text[4:].partition(b"\0")[0].endswith(_ALPHAS)


def _main_picture(data: Any) -> int:
    main = next((bytes(data[a : min(b, a + 8)]) for kind, a, b in within(data, (b"meta",)) if kind == b"pitm"), b"")
    return int.from_bytes(main[4:6] if main[:1] == b"\0" else main[4:8], "big")


def _auxiliaries(data: Any, main: int) -> list[int]:
    """Returns the numbers of the pictures that say that they belong to the main one."""
    found = []
    for start, end in ((a, b) for kind, a, b in within(data, (b"meta",)) if kind == b"iref"):
        size = 2 if data[start : start + 1] == b"\0" else 4
        for kind, a, b in boxes(data, start + 4, end):
            text = bytes(data[a : min(b, a + _MAX_BYTES)])
            numbers = [int.from_bytes(text[k : k + size], "big") for k in range(size + 2, len(text), size)]
            if kind == _AUXILIARY and main in numbers:
                found.append(int.from_bytes(text[:size], "big"))
    return found


def _properties(data: Any, picture: int) -> list[tuple[bytes, bytes]]:
    """Returns kind and beginning of a picture's properties, in the order in which they apply."""
    stored = within(data, (*_PROPERTIES, b"ipco"))
    properties = [(kind, bytes(data[a : min(b, a + _PROPERTY_BYTES)])) for kind, a, b in stored]
    lists = [bytes(data[a : min(b, a + _MAX_BYTES)]) for kind, a, b in within(data, _PROPERTIES) if kind == b"ipma"]
    indices = next((found for text in lists for number, found in _associations(text) if number == picture), [])
    return [properties[index - 1] for index in indices if 1 <= index <= len(properties)]


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

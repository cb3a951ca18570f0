"""EXIF blocks, as little of them as a faithful copy needs: read, correct, write.

An EXIF block is a small TIFF file: a header, then lists of tags ("IFDs"), of which one may point at the next and
some tags point at lists of their own. The values of all tags are carried as bytes; only the few tags that describe
the pixels themselves are understood; see :mod:`fourfold.imaging.exif_corrections`.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

PREFIX = b"Exif\0\0"

ORIENTATION = 0x0112
X_RESOLUTION = 0x011A
Y_RESOLUTION = 0x011B
RESOLUTION_UNIT = 0x0128
PIXEL_WIDTH = 0xA002
PIXEL_HEIGHT = 0xA003
MAKER_NOTE = 0x927C
EXIF_IFD = 0x8769
GPS_IFD = 0x8825
INTEROP_IFD = 0xA005
_INTEROP_INDEX = 0x0001

#: A tag type's size in bytes, by its number; BigTIFF's 16 to 18 and EXIF 3.0's text included.
TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
    129: 1,
}
#: The tags that point at lists of their own, and what these hold.
SUB_IFDS = {EXIF_IFD: "camera settings", GPS_IFD: "GPS data", INTEROP_IFD: "interoperability"}
#: The types that a pointer to a list may have, and how it is read.
_POINTER_CODES = {4: "I", 13: "I", 16: "Q", 18: "Q"}
_IFD8 = 18
#: What is said where a file's own list of tags takes the EXIF or gave it: the offsets in these notes are the maker's.
MAKER_NOTE_MOVED = "the camera's own notes (MakerNote) moved: what they refer to by its place may not be found"
#: What is said where the EXIF is left out that is all that tells of a camera's Adobe RGB.
ADOBE_RGB_UNSAID = "without EXIF nothing says that the colours are Adobe RGB: they will look paler"
#: Nothing can lie before it.
HEAD_BYTES = 8
#: Lists below lists beyond this are damage, a circle perhaps.
DEEPEST = 3
#: More tags than this in one list is damage.
MAX_TAGS = 2000


@dataclass(frozen=True)
class _Shape:
    """How wide the numbers in a list are."""

    count_code: str
    count_bytes: int
    offset_code: str
    offset_bytes: int
    entry_bytes: int


_CLASSIC = _Shape("H", 2, "I", 4, 12)
_BIG = _Shape("Q", 8, "Q", 8, 20)


@dataclass
class Tag:
    """One tag.

    Attributes:
        kind: number of its type.
        count: how many values.
        data: their bytes, in the block's byte order.
        in_place: ``data`` is the value field as it stands, be it values or an offset.
    """

    kind: int
    count: int
    data: bytes
    in_place: bool = False


@dataclass
class Ifd:
    """A list of tags, with the lists that some of them point at.

    Attributes:
        tags: by number.
        children: the lists, by the number of the tag that points there.
        damaged: tags that point at lists which cannot be read.
        passed: tags that are there and were not asked for.
    """

    tags: dict[int, Tag] = field(default_factory=dict)
    children: dict[int, "Ifd"] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)

    def notes(self) -> list[str]:
        """Returns a sentence for every list, here and below, that cannot be read and is left out."""
        own = [f"EXIF: the list of {SUB_IFDS[tag]} is damaged and was left out" for tag in sorted(self.damaged)]
        return own + [note for child in self.children.values() for note in child.notes()]


@dataclass
class Exif:
    """A parsed block: byte order (``<`` or ``>``) and the first list; the thumbnail's list is left out."""

    order: str
    main: Ifd


def parse_exif(block: bytes) -> Exif:
    """Returns a parsed EXIF block, with or without its prefix.

    Raises:
        ValueError: if it is damaged.
    """
    data = block[len(PREFIX) :] if block.startswith(PREFIX) else block
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        raise ValueError("an EXIF block begins with a TIFF header")
    (offset,) = struct.unpack_from(order + "I", data, 4)
    return Exif(order, read_ifd(data, order, offset))


def read_ifd(
    data: Any, order: str, offset: int, *, big: bool = False, depth: int = 0, wanted: Collection[int] | None = None
) -> Ifd:
    """Returns a list of tags, and the EXIF, GPS and interoperability lists that it points at.

    A list below that is damaged does not take the others with it.

    Args:
        data: all bytes that offsets count in; anything that slices like bytes.
        order: ``<`` or ``>``.
        offset: where the list begins.
        big: BigTIFF, whose counts and offsets have 64 bits.
        depth: how many lists pointed here.
        wanted: the tags of this list that are read, if not all: others may be as large as the file.

    Raises:
        ValueError: if the list is damaged.
    """
    shape = _BIG if big else _CLASSIC
    if depth > DEEPEST or not HEAD_BYTES <= offset <= len(data) - shape.count_bytes:
        raise ValueError("a list of tags lies outside the file")
    (count,) = struct.unpack_from(order + shape.count_code, data, offset)
    if count > MAX_TAGS or offset + shape.count_bytes + shape.entry_bytes * count > len(data):
        raise ValueError("a list of tags is truncated")
    ifd = Ifd()
    for k in range(count):
        at = offset + shape.count_bytes + shape.entry_bytes * k
        tag, kind, values = struct.unpack_from(order + "HH" + shape.offset_code, data, at)
        at += 4 + shape.offset_bytes
        if wanted is not None and tag not in wanted and tag not in SUB_IFDS:
            ifd.passed.add(tag)
            continue
        if tag in SUB_IFDS and kind in _POINTER_CODES and TYPE_BYTES[kind] <= shape.offset_bytes:
            (pointed,) = struct.unpack_from(order + _POINTER_CODES[kind], data, at)
            try:
                ifd.children[tag] = read_ifd(data, order, pointed, big=big, depth=depth + 1)
            except ValueError:
                ifd.damaged.add(tag)
            continue
        size = TYPE_BYTES.get(kind, 0) * values
        start = at if size <= shape.offset_bytes else struct.unpack_from(order + shape.offset_code, data, at)[0]
        if size > 0 and start + size <= len(data):  # a damaged or empty tag does not take the others with it
            ifd.tags[tag] = Tag(kind, values, bytes(data[start : start + size]))
    return ifd


def build_exif(exif: Exif) -> bytes:
    """Returns the bytes of an EXIF block, prefix included."""
    head = (b"II*\0" if exif.order == "<" else b"MM\0*") + struct.pack(exif.order + "I", 8)
    return PREFIX + head + write_ifd(exif.main, exif.order, 8)


def write_ifd(ifd: Ifd, order: str, offset: int, *, big: bool = False, following: int = 0) -> bytes:
    """Returns the bytes of a list and of everything it points at.

    Args:
        ifd: the list.
        order: ``<`` or ``>``.
        offset: where the bytes will stand in the file or block.
        big: as BigTIFF writes it.
        following: where the next list is, 0 for none.
    """
    shape = _BIG if big else _CLASSIC
    numbers = sorted({*ifd.tags, *ifd.children})
    entries = b""
    tail = b""
    tail_at = offset + shape.count_bytes + shape.entry_bytes * len(numbers) + shape.offset_bytes
    for number in numbers:
        if number in ifd.children:
            at = tail_at + len(tail)
            child = write_ifd(ifd.children[number], order, at, big=big)
            entries += struct.pack(order + "HH" + shape.offset_code * 2, number, _IFD8 if big else 4, 1, at)
            tail += child + b"\0" * (len(child) % 2)
            continue
        tag = ifd.tags[number]
        entries += struct.pack(order + "HH" + shape.offset_code, number, tag.kind, tag.count)
        if tag.in_place:
            entries += tag.data
        elif len(tag.data) <= shape.offset_bytes:
            entries += tag.data.ljust(shape.offset_bytes, b"\0")
        else:
            entries += struct.pack(order + shape.offset_code, tail_at + len(tail))
            tail += tag.data + b"\0" * (len(tag.data) % 2)
    count = struct.pack(order + shape.count_code, len(numbers))
    return count + entries + struct.pack(order + shape.offset_code, following) + tail


def resolution(block: bytes) -> tuple[float, float] | None:
    """Returns the horizontal and vertical dots per inch that the block states, or None; without a unit they are none.

    Raises:
        ValueError: if the block is damaged.
    """
    exif = parse_exif(block)
    found = [rational(exif.main.tags.get(tag), exif.order) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    unit = exif.main.tags.get(RESOLUTION_UNIT)
    inch, centimetre = (struct.pack(exif.order + "H", value) for value in (2, 3))
    stated = inch if unit is None else unit.data[:2]  # EXIF's own default
    if found[0] is None or found[1] is None or stated not in (inch, centimetre):
        return None
    per_inch = 2.54 if stated == centimetre else 1.0
    return rounded_dpi(found[0] * per_inch), rounded_dpi(found[1] * per_inch)


def rounded_dpi(value: float) -> float:
    """Returns dots per inch without the traces of metres and centimetres: 72 for 72.009; below 1 with three digits."""
    return round(value, 1) if value >= 1.0 else float(f"{value:.3g}")


def orientation(block: bytes) -> int:
    """Returns how the picture lies, 1 to 8; 1, upright, where the block does not say or is damaged."""
    try:
        exif = parse_exif(block)
        (stated,) = struct.unpack(exif.order + "H", exif.main.tags[ORIENTATION].data[:2])
    except (KeyError, ValueError, struct.error):
        return 1
    return int(stated) if 1 <= stated <= 8 else 1


def has_maker_note(block: bytes | None) -> bool:
    """Says whether a block holds the camera's own notes; a damaged block holds none."""
    try:
        settings = None if block is None else parse_exif(block).main.children.get(EXIF_IFD)
    except ValueError:
        return False
    return settings is not None and MAKER_NOTE in settings.tags


def is_adobe_rgb(block: bytes | None) -> bool:
    """Says whether a block is that of a camera's Adobe RGB picture (DCF 2.0, 2010): interoperability index R03."""
    try:
        exif = None if block is None else parse_exif(block)
    except ValueError:
        return False
    settings = Ifd() if exif is None else exif.main.children.get(EXIF_IFD, Ifd())
    index = settings.children.get(INTEROP_IFD, Ifd()).tags.get(_INTEROP_INDEX)
    return index is not None and index.data.startswith(b"R03")


def fraction(value: float) -> tuple[int, int]:
    """Returns a number as EXIF writes it: in thousandths, where 32 bits hold them, else whole."""
    below = 1000 if value * 1000 < 2**32 else 1
    return min(round(value * below), 2**32 - 1), below


def rational(tag: Tag | None, order: str) -> float | None:
    """Returns the first of a tag's fractions; None where there is none, or it is 0 or damaged."""
    if tag is None or tag.kind != 5 or len(tag.data) < 8:
        return None
    above, below = struct.unpack_from(order + "II", tag.data)
    return above / below if above and below else None

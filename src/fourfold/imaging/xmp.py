"""XMP packets, as little of them as upright, enlarged and lone pixels need."""

import re
from collections.abc import Callable

from fourfold.imaging.xmp_patterns import element_pattern, number_pattern
from fourfold.imaging.xmp_places import enlarged_places, turned_places

_ORIENTATION = number_pattern("tiff:Orientation", "[2-8]")
_WIDTH = number_pattern("tiff:ImageWidth|exif:PixelXDimension", "[0-9]+")
_HEIGHT = number_pattern("tiff:ImageLength|exif:PixelYDimension", "[0-9]+")
#: The size of the picture that regions were marked in (Metadata Working Group, Guidelines for Handling Image Metadata
#: 2.0, 2010, section 5.9).
_MARKED_IN = element_pattern("mwg-rs:AppliedToDimensions")
_MARKED_WIDTH, _MARKED_HEIGHT = number_pattern("stDim:w", "[0-9.]+"), number_pattern("stDim:h", "[0-9.]+")
#: Android's motion photos: a video lies behind the picture (Google, Motion Photo format 1.0, and MicroVideo before it).
_MOTION = number_pattern("G?Camera:(?:MotionPhoto|MicroVideo)", "1")
#: A gain map behind the picture, as attribute or element (Adobe, Gain Map 1.0, 2023; Google, Ultra HDR 1.0, 2023), and
#: the list of what lies in the file; the rest of a packet that was too long for one segment (XMP, part 3, 1.1.3.1).
_GAIN_MAP = re.compile(rb"""\bhdrgm:Version\s*=\s*(["'])[^"'<]*\1|<hdrgm:Version>[^<]*</hdrgm:Version>""")
_CONTENTS = element_pattern("G?Container:Directory")
_MORE = re.compile(
    rb"""\bxmpNote:HasExtendedXMP\s*=\s*(["'])[^"'<]*\1|<xmpNote:HasExtendedXMP>[^<]*</xmpNote:HasExtendedXMP>"""
)

#: How a packet begins that is not UTF-8 without a mark, and the encoding that keeps the mark as a character (Adobe, XMP
#: Specification, part 1); the longer beginnings first.
_BEGINNINGS = {
    b"\xff\xfe\0\0": "utf-32-le",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\0\0\0<": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"<\0": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
    b"\0<": "utf-16-be",
}


def xmp_encoding(packet: bytes) -> str:
    """Returns the encoding of a packet, as its first bytes tell it; a byte order mark is its first character then."""
    return next((name for start, name in _BEGINNINGS.items() if packet.startswith(start)), "utf-8")


def upright_xmp(packet: bytes, orientation: int, width: int, height: int) -> tuple[bytes, list[str]]:
    """Returns the packet with orientation 1 where it states another one, and places where they are once it is turned.

    Args:
        packet: in any encoding.
        orientation: that the pixels were turned by, as EXIF counts them, 1 to 8.
        width: of the picture before it was turned.
        height: likewise.

    Returns:
        The packet, and notes on what was not turned.
    """
    notes: list[str] = []

    def upright(text: bytes) -> bytes:
        text = _ORIENTATION.sub(rb"\g<1>1", text)
        if orientation == 1:
            return text
        text, left = turned_places(text, orientation, width, height)
        notes.extend(left)
        return text

    return _changed(packet, upright), notes


def enlarged_xmp(packet: bytes, scale: int) -> bytes:
    """Returns the packet for the picture made ``scale`` times as large: what it counts in pixels."""
    return _changed(packet, lambda text: enlarged_places(text, scale))


def sized_xmp(packet: bytes, width: int, height: int) -> bytes:
    """Returns the packet with a picture's size where it states one."""

    def sized(text: bytes) -> bytes:
        text = _HEIGHT.sub(rb"\g<1>%d" % height, _WIDTH.sub(rb"\g<1>%d" % width, text))
        return _MARKED_IN.sub(
            lambda size: _MARKED_HEIGHT.sub(rb"\g<1>%d" % height, _MARKED_WIDTH.sub(rb"\g<1>%d" % width, size[0])), text
        )

    return _changed(packet, sized)


def alone_xmp(packet: bytes) -> tuple[bytes, list[str]]:
    """Returns the packet without what it says of further contents of the file, and notes on these."""
    notes = []

    def alone(text: bytes) -> bytes:
        if _MOTION.search(text):
            notes.append("only the still picture of a motion photo: its video was left out")
        if _GAIN_MAP.search(text):
            notes.append("only the picture in the ordinary range of brightness: its gain map (HDR) was left out")
        return _MORE.sub(b"", _CONTENTS.sub(b"", _GAIN_MAP.sub(b"", _MOTION.sub(rb"\g<1>0", text))))

    return _changed(packet, alone), notes


def _changed(packet: bytes, change: Callable[[bytes], bytes]) -> bytes:
    encoding = xmp_encoding(packet)
    if encoding == "utf-8":
        return change(packet)
    try:
        text = packet.decode(encoding).encode()
    except UnicodeDecodeError:
        return packet  # damaged; nothing here can be trusted
    return change(text).decode().encode(encoding)

"""XMP packets, as little of them as upright, enlarged and lone pixels need."""

import re
from collections.abc import Callable

from fourfold.imaging.exif_corrections import QUARTER_TURNS, turned_point


def _number(names: str, values: str) -> re.Pattern[bytes]:
    """Returns what finds numbers as attributes or as elements, after the prefix that their namespace has usually."""
    return re.compile(rf"""(\b(?:{names})\s*(?:=\s*["']|>)\s*){values}(?=\s*["'<])""".encode())


_ORIENTATION = _number("tiff:Orientation", "[2-8]")
_WIDTH = _number("tiff:ImageWidth|exif:PixelXDimension", "[0-9]+")
_HEIGHT = _number("tiff:ImageLength|exif:PixelYDimension", "[0-9]+")
#: An element that is closed, or closed within so many bytes: a packet that opens it a hundred thousand times over shall
#: keep nobody busy.
_ELEMENT = r"<({name})\b(?:[^<>]{{0,2000}}/>|.{{0,4000}}?</\1>)"


def _element(name: str) -> re.Pattern[bytes]:
    return re.compile(_ELEMENT.format(name=name).encode(), re.DOTALL)


#: Regions, such as faces, in parts of the picture's sides: the middle, and the size (Metadata Working Group, Guidelines
#: for Handling Image Metadata 2.0, 2010, section 5.9); and the size of the picture that they were marked in.
_REGION, _MARKED_IN = _element("mwg-rs:Area"), _element("mwg-rs:AppliedToDimensions")
_OF_REGION = {name: _number(f"stArea:{name}", "([0-9]*\\.?[0-9]+(?:[eE][+-]?[0-9]+)?)") for name in "xywh"}
_MARKED_WIDTH, _MARKED_HEIGHT = _number("stDim:w", "[0-9.]+"), _number("stDim:h", "[0-9.]+")
#: Android's motion photos: a video lies behind the picture (Google, Motion Photo format 1.0, and MicroVideo before it).
_MOTION = _number("G?Camera:(?:MotionPhoto|MicroVideo)", "1")
#: A gain map behind the picture, as attribute or element (Adobe, Gain Map 1.0, 2023; Google, Ultra HDR 1.0, 2023), and
#: the list of what lies in the file; the rest of a packet that was too long for one segment (XMP, part 3, 1.1.3.1).
_GAIN_MAP = re.compile(rb"""\bhdrgm:Version\s*=\s*(["'])[^"'<]*\1|<hdrgm:Version>[^<]*</hdrgm:Version>""")
_CONTENTS = _element("G?Container:Directory")
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


def upright_xmp(packet: bytes, orientation: int) -> bytes:
    """Returns the packet with orientation 1 where it states another one, and regions where they are once it is turned.

    Args:
        packet: in any encoding.
        orientation: that the pixels were turned by, as EXIF counts them, 1 to 8.
    """

    def upright(text: bytes) -> bytes:
        text = _ORIENTATION.sub(rb"\g<1>1", text)
        return _REGION.sub(lambda region: _turned(region[0], orientation), text) if orientation != 1 else text

    return _changed(packet, upright)


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


def _turned(region: bytes, orientation: int) -> bytes:
    """Returns a region where it lies in the upright picture; as it is where it is no rectangle of numbers."""
    found = {name: match[2] for name, pattern in _OF_REGION.items() if (match := pattern.search(region))}
    if not {"x", "y"} <= found.keys():
        return region
    from_start = found["x"], found["y"]
    right, below = (b"%.6g" % (1.0 - float(value)) for value in from_start)
    across, down = turned_point(orientation, from_start, (right, below))
    put = {"x": across, "y": down}
    if orientation in QUARTER_TURNS and {"w", "h"} <= found.keys():
        put |= {"w": found["h"], "h": found["w"]}
    for name, value in put.items():
        region = _OF_REGION[name].sub(rb"\g<1>" + value, region)
    return region


def _changed(packet: bytes, change: Callable[[bytes], bytes]) -> bytes:
    encoding = xmp_encoding(packet)
    if encoding == "utf-8":
        return change(packet)
    try:
        text = packet.decode(encoding).encode()
    except UnicodeDecodeError:
        return packet  # damaged; nothing here can be trusted
    return change(text).decode().encode(encoding)

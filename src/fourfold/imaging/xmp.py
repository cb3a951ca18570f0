"""XMP packets, as little of them as upright, enlarged and lone pixels need."""

import re
from collections.abc import Callable

from fourfold.imaging.exif_corrections import QUARTER_TURNS, turned_area, turned_point


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
#: A region of Microsoft's: its left upper corner and its sides, in parts of the picture's (Microsoft, People Tagging).
_RECTANGLE = _number("MPReg:Rectangle", r"\s*,\s*".join(["([0-9.eE+-]{1,30})"] * 4))
#: Where the subject is, in pixels (Adobe, XMP Specification, part 2, section 3.3), two to four numbers as EXIF has it.
_SUBJECT = re.compile(
    rb"<exif:Subject(?:Area|Location)\b[^<>]{0,200}>\s*<rdf:Seq>\s*(?:<rdf:li>\s*[0-9]{1,9}\s*</rdf:li>\s*){2,4}</rdf:Seq>"
)
_ITEM = re.compile(rb"(<rdf:li>\s*)([0-9]+)")
#: Dots per length, across and down.
_RESOLUTIONS = [_number(f"tiff:{axis}Resolution", "([0-9]{1,10}(?:/[0-9]{1,10})?)") for axis in "XY"]
#: A panorama's size, and that of what it is cut from (Google, Photo Sphere XMP Metadata).
_PANORAMA = _number("GPano:[A-Za-z]{1,40}Pixels", "([0-9]{1,9})")
#: IPTC's image regions, in parts or in pixels (IPTC Photo Metadata Standard 2019.1).
_BOUNDARY, _IN_PIXELS = _element("Iptc4xmpExt:RegionBoundary"), _number("Iptc4xmpExt:rbUnit", "pixel")
_OF_BOUNDARY = _number("Iptc4xmpExt:rb(?:[XYWH]|Rx)", "([0-9]{1,9})")
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
    notes = []

    def upright(text: bytes) -> bytes:
        text = _ORIENTATION.sub(rb"\g<1>1", text)
        if orientation == 1:
            return text
        if b"Iptc4xmpExt:RegionBoundary" in text:
            notes.append("IPTC's image regions in XMP stay those of the picture before it was turned")
        if orientation in QUARTER_TURNS:
            text = _exchanged(text, *_RESOLUTIONS)
        text = _REGION.sub(lambda region: _turned(region[0], orientation), text)
        text = _RECTANGLE.sub(lambda rectangle: _turned_rectangle(rectangle, orientation), text)
        return _with_subjects(text, lambda numbers: turned_area(numbers, orientation, width, height))

    return _changed(packet, upright), notes


def enlarged_xmp(packet: bytes, scale: int) -> bytes:
    """Returns the packet for the picture made ``scale`` times as large: what it counts in pixels."""

    def multiplied(number: re.Match[bytes]) -> bytes:
        return number[1] + b"%d" % (int(number[2]) * scale)

    def enlarged(text: bytes) -> bytes:
        text = _with_subjects(text, lambda numbers: [number * scale for number in numbers])
        if _IN_PIXELS.search(text):
            text = _BOUNDARY.sub(
                lambda part: _OF_BOUNDARY.sub(multiplied, part[0]) if _IN_PIXELS.search(part[0]) else part[0], text
            )
        return _PANORAMA.sub(multiplied, text)

    return _changed(packet, enlarged)


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


def _turned_rectangle(rectangle: re.Match[bytes], orientation: int) -> bytes:
    """Returns a rectangle, by its corner and its sides, where it lies in the upright picture."""
    try:
        x, y, w, h = (float(value) for value in rectangle.groups()[1:])
    except ValueError:
        return rectangle[0]
    corner = turned_point(orientation, (x, y), (1.0 - x - w, 1.0 - y - h))
    sides = (h, w) if orientation in QUARTER_TURNS else (w, h)
    return rectangle[1] + b", ".join(b"%.6g" % (round(value, 6) + 0.0) for value in (*corner, *sides))


def _with_subjects(text: bytes, change: Callable[[list[int]], list[int]]) -> bytes:
    """Returns the text with other numbers for where the subject is, as many of them."""

    def changed(subject: re.Match[bytes]) -> bytes:
        numbers = iter(change([int(item[2]) for item in _ITEM.finditer(subject[0])]))
        return _ITEM.sub(lambda item: item[1] + b"%d" % next(numbers), subject[0])

    return _SUBJECT.sub(changed, text)


def _exchanged(text: bytes, first: re.Pattern[bytes], second: re.Pattern[bytes]) -> bytes:
    """Returns the text with what two properties say exchanged, where both are there."""
    across, down = first.search(text), second.search(text)
    if across is None or down is None:
        return text
    return second.sub(rb"\g<1>" + across[2], first.sub(rb"\g<1>" + down[2], text))


def _changed(packet: bytes, change: Callable[[bytes], bytes]) -> bytes:
    encoding = xmp_encoding(packet)
    if encoding == "utf-8":
        return change(packet)
    try:
        text = packet.decode(encoding).encode()
    except UnicodeDecodeError:
        return packet  # damaged; nothing here can be trusted
    return change(text).decode().encode(encoding)

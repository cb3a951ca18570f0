"""XMP packets, as little of them as upright, enlarged and still pixels need."""

import re


def _number(names: str, values: str) -> re.Pattern[bytes]:
    """Returns what finds numbers as attributes or as elements, after the prefix that their namespace has usually."""
    return re.compile(rf"""(\b(?:{names})\s*(?:=\s*["']|>)\s*){values}(?=\s*["'<])""".encode())


_ORIENTATION = _number("tiff:Orientation", "[2-8]")
_WIDTH = _number("tiff:ImageWidth|exif:PixelXDimension", "[0-9]+")
_HEIGHT = _number("tiff:ImageLength|exif:PixelYDimension", "[0-9]+")
#: Android's motion photos: a video lies behind the picture (Google, Motion Photo format 1.0, and MicroVideo before it).
_MOTION = _number("G?Camera:(?:MotionPhoto|MicroVideo)", "1")

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


def upright_xmp(packet: bytes) -> bytes:
    """Returns the packet with orientation 1 where it states another one, for the pixels have been turned."""
    return _with(packet, _ORIENTATION, 1)


def sized_xmp(packet: bytes, width: int, height: int) -> bytes:
    """Returns the packet with a picture's size where it states one."""
    return _with(_with(packet, _WIDTH, width), _HEIGHT, height)


def still_xmp(packet: bytes) -> bytes:
    """Returns the packet with 0 where it says that a video lies behind the picture."""
    return _with(packet, _MOTION, 0)


def _with(packet: bytes, what: re.Pattern[bytes], value: int) -> bytes:
    encoding, put = xmp_encoding(packet), rb"\g<1>%d" % value
    if encoding == "utf-8":
        return what.sub(put, packet)
    try:
        text = packet.decode(encoding).encode()
    except UnicodeDecodeError:
        return packet  # damaged; nothing here can be trusted
    return what.sub(put, text).decode().encode(encoding)

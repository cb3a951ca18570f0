"""XMP packets, as little of them as upright pixels need."""

import re

#: The orientation as an attribute or as an element, after whatever prefix stands for the TIFF namespace usually.
_ORIENTATION = re.compile(rb"""(\btiff:Orientation\s*(?:=\s*["']|>)\s*)[2-8](?=\s*["'<])""")

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
    encoding = xmp_encoding(packet)
    if encoding == "utf-8":
        return _ORIENTATION.sub(rb"\g<1>1", packet)
    try:
        text = packet.decode(encoding).encode()
    except UnicodeDecodeError:
        return packet  # damaged; nothing here can be trusted
    return _ORIENTATION.sub(rb"\g<1>1", text).decode().encode(encoding)

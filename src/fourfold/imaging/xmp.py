"""XMP packets, as little of them as upright pixels need."""

import re

#: The orientation as an attribute or as an element, after whatever prefix stands for the TIFF namespace usually.
_ORIENTATION = re.compile(rb"""(\btiff:Orientation\s*(?:=\s*["']|>)\s*)[2-8](?=\s*["'<])""")

#: How a packet that is not UTF-8 begins, with or without a byte order mark (Adobe, XMP Specification, part 1).
_WIDE = {b"\xff\xfe": "utf-16-le", b"<\0": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\0<": "utf-16-be"}


def upright_xmp(packet: bytes) -> bytes:
    """Returns the packet with orientation 1 where it states another one, for the pixels have been turned."""
    encoding = _WIDE.get(packet[:2])
    if encoding is None:
        return _ORIENTATION.sub(rb"\g<1>1", packet)
    try:
        text = packet.decode(encoding).encode()
    except UnicodeDecodeError:
        return packet  # damaged; nothing here can be trusted
    return _ORIENTATION.sub(rb"\g<1>1", text).decode().encode(encoding)

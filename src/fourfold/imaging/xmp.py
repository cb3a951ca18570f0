"""XMP packets, as little of them as upright pixels need."""

import re

#: The orientation as an attribute or as an element, after whatever prefix stands for the TIFF namespace usually.
_ORIENTATION = re.compile(rb"""(\btiff:Orientation\s*(?:=\s*["']|>)\s*)[2-8](?=\s*["'<])""")


def upright_xmp(packet: bytes) -> bytes:
    """Returns the packet with orientation 1 where it states another one, for the pixels have been turned."""
    return _ORIENTATION.sub(rb"\g<1>1", packet)

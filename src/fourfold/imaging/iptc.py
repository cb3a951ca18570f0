"""IPTC blocks: bare in TIFF files, wrapped in a Photoshop resource in JPEG files, where others stand beside it."""

import struct
from collections.abc import Iterator

#: What the segment of a JPEG file begins with.
WRAPPER = b"Photoshop 3.0\0"
#: Longer blocks libvips leaves out of JPEG files, where a segment holds 64 KB.
MAX_JPEG_BYTES = 65_500
_RESOURCE = b"8BIM"
_IPTC_NUMBER = 0x0404


def bare(block: bytes) -> bytes | None:
    """Returns the IPTC records of a block, wrapped or not; None if a wrapper holds none."""
    if not block.startswith(WRAPPER):
        return block
    return next((content for number, content in _resources(block) if number == _IPTC_NUMBER), None)


def holds_others(block: bytes) -> bool:
    """Returns whether Photoshop's other resources, such as clipping paths, are wrapped with the IPTC records."""
    return block.startswith(WRAPPER) and any(number != _IPTC_NUMBER for number, _ in _resources(block))


def _resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    at = len(WRAPPER)
    while block[at : at + 4] == _RESOURCE and at + 7 < len(block):
        (number,) = struct.unpack_from(">H", block, at + 4)
        at += 6
        name_bytes = 1 + block[at]
        at += name_bytes + name_bytes % 2
        if at + 4 > len(block):
            break
        (size,) = struct.unpack_from(">I", block, at)
        yield number, block[at + 4 : at + 4 + size]
        at += 4 + size + size % 2


def wrapped(block: bytes) -> bytes:
    """Returns the block as JPEG holds it."""
    if block.startswith(WRAPPER):
        return block
    head = WRAPPER + _RESOURCE + struct.pack(">HHI", _IPTC_NUMBER, 0, len(block))
    return head + block + b"\0" * (len(block) % 2)

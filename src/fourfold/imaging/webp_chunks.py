"""The chunks of WebP files, for what libvips does not tell of them."""

from typing import Any

_LOSSY, _FRAME = b"VP8 ", b"ANMF"
#: A frame's place, size, time and flags come before its own chunks.
_FRAME_HEADER_BYTES = 16
#: A file with more chunks than this has been made to keep somebody busy.
_MAX_CHUNKS = 10_000


def is_lossy(data: Any) -> bool:
    """Returns whether a WebP file's picture, or its first frame, was stored with losses; no, where that cannot be seen.

    Source: RFC 9649, sections 2.3 to 2.7.

    Args:
        data: the file's bytes, or a memory map of it.
    """
    at = 12
    for _ in range(_MAX_CHUNKS):
        kind = bytes(data[at : at + 4])
        if kind in (_LOSSY, b"VP8L", b""):
            return kind == _LOSSY
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + (_FRAME_HEADER_BYTES if kind == _FRAME else size + size % 2)
    return False

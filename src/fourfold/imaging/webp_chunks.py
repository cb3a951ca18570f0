"""The chunks of WebP files, for what libvips does not tell of them."""

from typing import Any

_LOSSY, _FRAME = b"VP8 ", b"ANMF"
#: A frame's place, size, time and flags come before its own chunks.
_FRAME_HEADER_BYTES = 16
#: What libvips reads, and what makes up pictures; C2PA's is Content Credentials (C2PA specification 2.1, appendix A).
_READ = (_LOSSY, b"VP8L", b"VP8X", b"ALPH", b"ANIM", _FRAME, b"ICCP", b"EXIF", b"XMP ")
_CREDENTIALS = b"C2PA"
#: So many names of others are told.
_MAX_OTHERS = 10
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


def passed_chunks(data: Any) -> tuple[bool, list[str]]:
    """Returns whether a WebP file holds Content Credentials (C2PA), and the names of chunks that nobody here reads.

    Source: RFC 9649, sections 2.3 and 2.7.1.6.

    Args:
        data: the file's bytes, or a memory map of it.
    """
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    found: dict[bytes, None] = {}
    for _ in range(_MAX_CHUNKS):
        if at + 8 > end:
            break
        kind, size = bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8], "little")
        if kind not in _READ:
            found[kind] = None
        at += 8 + size + size % 2
    others = [kind.decode("latin-1").strip() for kind in found if kind != _CREDENTIALS]
    return _CREDENTIALS in found, others[:_MAX_OTHERS]

"""Animated PNG, which libvips reads as a still picture without saying so."""

import io
from pathlib import Path
from typing import BinaryIO


def frames_of(source: str | Path | bytes) -> int:
    """Returns the number of frames that a PNG file announces; 1 where it is not animated, or damaged.

    Source: PNG specification, third edition (W3C 2025), section 11.3.4.1: ``acTL`` lies before the first ``IDAT`` and
    begins with the number of frames.

    Args:
        source: the file's path, or its bytes.
    """
    if isinstance(source, bytes):
        return _count(io.BytesIO(source))
    with Path(source).open("rb") as file:
        return _count(file)


def _count(file: BinaryIO) -> int:
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        if head[4:] == b"acTL":
            return max(int.from_bytes(file.read(4), "big"), 1)
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    return 1

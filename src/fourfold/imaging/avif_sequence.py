"""Animated AVIF, which libvips reads as a still picture without saying so."""

import io
from pathlib import Path
from typing import BinaryIO

#: Boxes that lead to the table of a track's frames, each inside the one before.
_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz")
#: A file with more boxes than this before the table has been made to keep somebody busy.
_MAX_BOXES = 1000


def frames_of(source: str | Path | bytes) -> int:
    """Returns the number of frames that an AVIF file announces; 1 where it is not animated, or damaged.

    Source: ISO/IEC 14496-12, section 8.7.3.2: the sample size box of the first track holds their number.

    Args:
        source: the file's path, or its bytes.
    """
    if isinstance(source, bytes):
        return _count(io.BytesIO(source), len(source))
    with Path(source).open("rb") as file:
        return _count(file, Path(source).stat().st_size)


def _count(file: BinaryIO, end: int) -> int:
    wanted, at = 0, 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:  # the size follows, in 64 bits
            size, start = int.from_bytes(head[8:16], "big"), at + 16
        size = size or end - at  # 0: up to the end of the file
        if size < start - at:
            break
        if head[4:8] != _PATH[wanted]:
            at += size
        elif wanted + 1 < len(_PATH):
            wanted, at = wanted + 1, start
        else:
            file.seek(start + 8)  # version and flags, and the size that all frames may have
            return max(int.from_bytes(file.read(4), "big"), 1)
    return 1

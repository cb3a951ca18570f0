"""EXIF blocks put into finished files as they are: libvips rewrites them and loses the tags that it does not know.

libvips is given a stand-in of at least the same size instead, one tag with a mark in it. Wherever it ends up in the
file, be it PNG, JPEG, WebP or AVIF, the block itself then takes its place.
"""

import os
import zlib
from typing import Any

from fourfold.errors import PictureError
from fourfold.imaging.exif import EXIF_IFD, MAKER_NOTE, PREFIX, Exif, Ifd, Tag, build_exif

#: A longer block does not pass through libvips; the limit is 64 KB with the stand-in's own tags.
MAX_EXIF_BYTES = 65_000

_UNDEFINED = 7
_MARK_BYTES = 16
#: How far before the mark the stand-in begins, at most.
_REACH_BYTES = 4096


class ExifPlace:
    """A place for an EXIF block in a file that libvips is going to write.

    Args:
        block: the block, prefix included, no longer than :data:`MAX_EXIF_BYTES`.
        behind_pixels: where the format has it; only decides from which end of a large file it is looked for.

    Attributes:
        stand_in: the block for libvips to write.
    """

    def __init__(self, block: bytes, *, behind_pixels: bool) -> None:
        self._behind_pixels = behind_pixels
        self._body = block.removeprefix(PREFIX)
        self._mark = os.urandom(_MARK_BYTES)  # nothing that a file brings along may be taken for it
        self._note_bytes = max(len(self._body), _MARK_BYTES)
        note = Tag(_UNDEFINED, self._note_bytes, self._mark.ljust(self._note_bytes, b"\0"))
        self.stand_in = build_exif(Exif("<", Ifd(children={EXIF_IFD: Ifd({MAKER_NOTE: note})})))

    def patch(self, data: Any) -> tuple[int, bytes]:
        """Returns where in the finished file the block belongs, and the bytes to write there.

        Args:
            data: the file's bytes, or a memory map of it.

        Raises:
            PictureError: if libvips has not written the stand-in.
        """
        at = data.rfind(self._mark) if self._behind_pixels else data.find(self._mark)
        start = data.rfind(b"II*\0", max(0, at - _REACH_BYTES), max(0, at))
        if start < 0:
            raise PictureError("the encoder has not written the EXIF block")
        if data[start - 4 : start] != b"eXIf":
            return start, self._body.ljust(at + self._note_bytes - start, b"\0")
        content = self._body.ljust(int.from_bytes(data[start - 8 : start - 4], "big"), b"\0")  # the chunk's size
        return start, content + zlib.crc32(content, zlib.crc32(b"eXIf")).to_bytes(4, "big")

"""What libvips cannot write rightly, put into the finished file: text fields, EXIF, IPTC."""

import mmap
import os
from dataclasses import replace

from fourfold.imaging import iptc
from fourfold.imaging.atomic import write_at
from fourfold.imaging.exif_corrections import corrected, resolution_alone
from fourfold.imaging.exif_place import MAX_EXIF_BYTES, ExifPlace
from fourfold.imaging.formats import Format
from fourfold.imaging.jpeg_segments import comment_segment, end_of_application_segments
from fourfold.imaging.picture import Metadata
from fourfold.imaging.png_text import text_chunks, without_resolution
from fourfold.imaging.tiff_tags import Added, append_tags, insert_tags
from fourfold.imaging.xmp import sized_xmp

#: libvips writes no more dots per inch than this into TIFF files; a nanometre per pixel is 25 times as many.
MAX_TIFF_DPI = 1_000_000.0
#: A PNG file's signature and its first chunk, which is always IHDR.
_PNG_HEAD_BYTES = 33


class Finish:
    """Completes one file: what libvips is to write, and what comes into the file afterwards.

    Args:
        format: the format to write.
        metadata: of the picture.
        width: of one frame.
        height: of one frame.

    Attributes:
        metadata: for libvips to write.
    """

    def __init__(self, format: Format, metadata: Metadata, width: int, height: int) -> None:
        exif = None if metadata.exif is None else corrected(metadata.exif, width, height, metadata.dpi)
        self._place: ExifPlace | None = None
        self._tiff: Added | None = None
        self._is_png = format.name == "png"
        text = {"png": text_chunks, "jpg": comment_segment}.get(format.name)
        self._text = text(metadata.comments) if text else b""
        self._square = self._is_png and metadata.dpi is None  # libvips always states some resolution
        if format.name == "tiff":
            bare = None if metadata.iptc is None else iptc.bare(metadata.iptc)
            beyond = metadata.dpi if max(metadata.dpi or (0.0,)) > MAX_TIFF_DPI else None
            added = Added(exif, bare, metadata.georeference, beyond)
            self._tiff = added if any(part is not None for part in added) else None
        elif "exif" in format.holds:
            exif = None if exif is None or len(exif) > MAX_EXIF_BYTES else exif
            if exif is None and metadata.dpi is not None and format.name != "png":  # these state it nowhere else
                exif = resolution_alone(metadata.dpi)
            self._place = None if exif is None else ExifPlace(exif, behind_pixels=not format.streamed)
        xmp = None if metadata.xmp is None else sized_xmp(metadata.xmp, width, height)
        self.metadata = replace(metadata, exif=None if self._place is None else self._place.stand_in, xmp=xmp)

    def begin(self, descriptor: int) -> None:
        """Leaves room at the file's start, so that nothing large has to be moved later.

        Raises:
            OSError: if the disk has no room for what comes there.
        """
        write_at(descriptor, bytes(len(self._text)), 0)  # no hole: to fill one, a full disk may have no room left
        os.lseek(descriptor, len(self._text), os.SEEK_SET)

    def complete(self, descriptor: int) -> None:
        """Completes the file that libvips has written to the descriptor.

        Raises:
            OSError: if the disk refuses.
        """
        if self._text:
            # the head moves to the start, the text fills the gap
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
                head = data[len(self._text) : self._head_end(data, len(self._text))]
            write_at(descriptor, head + self._text, 0)
        if self._place is not None or self._square:
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
                patches = self._patches(data)
            for at, patch in patches:
                write_at(descriptor, patch, at)
        if self._tiff is not None:
            append_tags(descriptor, self._tiff)

    def completed(self, encoded: bytes) -> bytes:
        """Returns the bytes that libvips has encoded, completed."""
        for at, patch in self._patches(encoded):
            encoded = encoded[:at] + patch + encoded[at + len(patch) :]
        if self._text:
            end = self._head_end(encoded)
            encoded = encoded[:end] + self._text + encoded[end:]
        return encoded if self._tiff is None else insert_tags(encoded, self._tiff)

    def _head_end(self, data: bytes | mmap.mmap, start: int = 0) -> int:
        """Returns where what must stand before text ends, in a file that begins at ``start``."""
        return start + _PNG_HEAD_BYTES if self._is_png else end_of_application_segments(data, start)

    def _patches(self, data: bytes | mmap.mmap) -> list[tuple[int, bytes]]:
        """Returns what comes where, in place of as many bytes."""
        patches = [] if self._place is None else [self._place.patch(data)]
        return patches + [without_resolution(data, _PNG_HEAD_BYTES)] * self._square

"""What stands in a file beside its pixels and libvips does not tell, or not rightly: read here, format by format."""

import io
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from fourfold.errors import PictureError
from fourfold.imaging import avif_colour, iptc, webp_chunks
from fourfold.imaging.avif_colour import AvifSamples, read_samples, unheard_colour
from fourfold.imaging.avif_extras import passed_boxes, pixel_shape
from fourfold.imaging.avif_turn import alpha_lies_apart
from fourfold.imaging.exif import PREFIX
from fourfold.imaging.formats import Format
from fourfold.imaging.georeference import Georeference
from fourfold.imaging.gif_blocks import read_blocks
from fourfold.imaging.jpeg_segments import COMMENT_KEY, read_segments
from fourfold.imaging.png_text import read_chunks
from fourfold.imaging.tiff_tags import Samples, compare_pages, read_tags

#: From this quality on, as IJG's library counts, JPEG leaves next to nothing behind that shows when it is enlarged.
CLEAN_JPEG_QUALITY = 98

#: What is said of what Fourfold has no place for.
_CREDENTIALS = "Content Credentials (C2PA) were left out: they vouch for the pixels as they were"


@dataclass
class Beside:
    """What a file says beside its pixels.

    Attributes:
        exif: EXIF of a TIFF file, and of a PNG file, wherever in it; libvips stops looking at the pixels.
        iptc: IPTC of a TIFF file, and of a JPEG file in several segments, of which libvips sees one; empty where these
            hold none.
        georeference: where a TIFF file's pixels lie on the earth.
        icc: colour profile of a GIF file.
        xmp: XMP of a GIF and of a JPEG file, of which libvips may take the rest of a longer packet for it, and of a
            PNG file, wherever in it; libvips stops looking after 50 text fields.
        lost_xmp: why a PNG file's XMP cannot be read here, or "".
        comments: text fields by name.
        states_dpi: whether a PNG, JPEG or TIFF file gives dots per inch; libvips makes some up where none are given.
        compressed: see :class:`.Metadata`.
        samples: what a TIFF file says of its samples.
        avif: what an AVIF file says of them.
        notes: what could not be taken over.
    """

    exif: bytes | None = None
    iptc: bytes | None = None
    georeference: Georeference | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    lost_xmp: str = ""
    comments: dict[str, str] = field(default_factory=dict)
    states_dpi: bool = True
    compressed: bool = False
    samples: Samples = field(default_factory=Samples)
    avif: AvifSamples = field(default_factory=AvifSamples)
    notes: list[str] = field(default_factory=list)


def _notes(pixel_shape: tuple[float, float] | None, credentials: bool = False) -> list[str]:
    """Returns what is said of pixels that are not square, and of what vouches for them."""
    across, down = pixel_shape or (1, 1)
    shape = [f"the pixels' shape ({across:g} across to {down:g} down) was left out: they are taken for square"]
    return shape * (across != down) + [_CREDENTIALS] * credentials


def read_beside(source: str | Path | bytes, format: Format) -> Beside:
    """Returns what a file says beside its pixels.

    Raises:
        PictureError: if it is a GIF that ends too early, or an AVIF whose alpha would not lie on its picture.
    """
    if format.name == "png":
        # not mapped into memory: its chunks lie all over a file that may be larger than the memory
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            return _of_png(file)
    readers = {"jpg": _of_jpeg, "gif": _of_gif, "tiff": _of_tiff, "avif": _of_avif, "webp": _of_webp}
    if format.name not in readers:
        return Beside()
    with _contents(source) as data:
        return readers[format.name](data)


def pages_of(source: str | Path | bytes) -> tuple[bool, bool]:
    """Says of a TIFF file what :func:`.tiff_tags.compare_pages` does; of a damaged one that all pages differ."""
    with _contents(source) as data:
        try:
            return compare_pages(data)
        except (ValueError, IndexError, struct.error):
            return False, False


@contextmanager
def _contents(source: str | Path | bytes) -> Iterator[Any]:
    if isinstance(source, bytes):
        yield source
    else:
        with Path(source).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _of_png(file: BinaryIO) -> Beside:
    chunks = read_chunks(file)
    exif = None if chunks.exif is None else PREFIX + chunks.exif.removeprefix(PREFIX)
    return Beside(
        exif,
        xmp=chunks.xmp,
        lost_xmp=chunks.lost_xmp,
        comments=chunks.comments,
        states_dpi=chunks.states_dpi,
        notes=chunks.notes + _notes(chunks.pixel_shape, chunks.credentials),
    )


def _of_jpeg(data: Any) -> Beside:
    segments = read_segments(data)
    comments = _as_comment(segments.comments)
    compressed = segments.quality is None or segments.quality < CLEAN_JPEG_QUALITY
    beside = Beside(comments=comments, states_dpi=segments.states_dpi, compressed=compressed, xmp=segments.xmp)
    beside.notes += _notes(segments.pixel_shape, segments.credentials)
    if segments.pictures > 1:
        beside.notes.append(f"only the first of {segments.pictures} pictures in the file")
    if segments.unknown:
        beside.notes.append(f"segments that are not known here were left out: {', '.join(segments.unknown)}")
    for name in segments.passed:
        beside.notes.append(f"{name} is there more than once: only the first block was kept")
    if len(segments.resources) > 1:
        beside.iptc, lost = _joined(segments.resources)
        beside.notes += lost
    if segments.more_xmp:
        beside.notes.append("XMP beyond the first 64 KB (extended XMP) was left out")
    return beside


def _joined(resources: list[bytes]) -> tuple[bytes, list[str]]:
    """Returns Photoshop's resources as one block, or of those too long for one segment IPTC alone; and what is lost."""
    block = iptc.WRAPPER + b"".join(resources)
    if len(block) <= iptc.MAX_JPEG_BYTES:
        return block, []
    records = iptc.bare(block) or b""
    if records and len(iptc.wrapped(records)) >= len(block):
        return records, []
    lost = "Photoshop's resources (such as clipping paths) were left out: with IPTC they are too long for a segment"
    return records, [lost]


def _of_gif(data: Any) -> Beside:
    blocks = read_blocks(data)
    # 64ths of the height less 15, or 0 where nothing is said (GIF89a, section 18)
    shape = Fraction(data[12] + 15, 64) if data[12] else Fraction(1)
    notes = _notes(shape.as_integer_ratio())
    return Beside(comments=_as_comment(blocks.comments), xmp=blocks.xmp, icc=blocks.icc, notes=notes)


def _of_tiff(data: Any) -> Beside:
    beside = Beside()
    try:
        beside.samples, (beside.exif, beside.iptc, beside.georeference, beside.notes) = read_tags(data)
        beside.states_dpi = beside.samples.states_dpi
        beside.notes += _notes(beside.samples.pixel_shape)
    except (ValueError, IndexError, struct.error):  # a list of tags that libvips can follow and this cannot
        beside.notes.append("the list of tags is damaged: EXIF, IPTC and map coordinates were left out")
    return beside


def _of_webp(data: Any) -> Beside:
    credentials, others = webp_chunks.passed_chunks(data)
    notes = _notes(None, credentials) + [f"the chunks {', '.join(others)} were left out"] * bool(others)
    return Beside(compressed=webp_chunks.is_lossy(data), notes=notes)


def _of_avif(data: Any) -> Beside:
    if alpha_lies_apart(data):
        raise PictureError(
            "its container turns or crops the colours and not the alpha, as older programs write it, which is not read "
            "here; save it again in a current one, or as PNG, first"
        )
    credentials, others = passed_boxes(data)
    notes = unheard_colour(data) + _notes(pixel_shape(data), credentials)
    if others:
        notes.append(f"boxes that are not known here were left out: {', '.join(others)}")
    return Beside(avif=read_samples(data), notes=notes, compressed=avif_colour.is_lossy(data))


def _as_comment(texts: list[bytes]) -> dict[str, str]:
    decoded = [_decoded(text).rstrip("\0") for text in texts]
    return {COMMENT_KEY: "\n".join(decoded)} if any(decoded) else {}


def _decoded(text: bytes) -> str:
    """Returns a text whose encoding the format leaves open."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")

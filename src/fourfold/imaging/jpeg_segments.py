"""The segments of JPEG files, for what libvips does not tell of them."""

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fourfold.imaging import iptc
from fourfold.imaging.exif import parse_exif
from fourfold.imaging.jpeg_tables import LUMA_STEPS, steps_at

_APP0, _APP1, _APP2, _APP11, _APP13, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xEF
_COMMENT, _SCAN, _END, _QUANTISATION = 0xFE, 0xDA, 0xD9, 0xDB
#: What an application segment calls itself is looked for in as many bytes.
_MAX_NAME_BYTES = 24
#: Markers that stand alone, without a length.
_ALONE = {0x01, *range(0xD0, 0xD9)}
#: A file with more of them before its pixels has been made to keep somebody busy.
_MAX_SEGMENTS = 100_000
_PICTURES, _NUMBER_OF_PICTURES = b"MPF\0", 0xB001
_EXIF, _XMP = b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"

#: The name that a comment goes by among text fields: PNG's for "miscellaneous comment". JPEG's and GIF's have none.
COMMENT_KEY = "Comment"
#: A segment holds no longer one.
MAX_COMMENT_BYTES = 65_533

#: Application segments that are read here or by libvips, or mean nothing to another picture: JFIF and its thumbnail,
#: EXIF, profiles, how Photoshop stored the colours and for the web.
_KNOWN = (b"JFIF\0", b"JFXX\0", _EXIF, b"ICC_PROFILE\0", b"Adobe_CM\0", b"Ducky")
#: How the colours are stored, in APP14 alone: Photoshop 2.5's resources, in APP13, begin with that, too.
_COLOURS = b"Adobe"
#: Boxes in a JPEG (JUMBF), and the label of C2PA's among them (C2PA specification 2.1, 2024, section A.3.1).
_BOXES, _C2PA = b"JP", b"c2pa"


@dataclass
class JpegSegments:
    """What the segments before the pixels say.

    Attributes:
        comments: the comments, as stored.
        states_dpi: the density is one per inch or centimetre, not just the shape of a pixel.
        pixel_shape: the density across and down where it is only the shape of a pixel, else None.
        credentials: the file holds Content Credentials (C2PA).
        xmp: the XMP packet, or None.
        more_xmp: XMP goes on in further segments.
        resources: Photoshop's, IPTC among them, of each of the segments that they are cut into.
        quality: what the pixels were stored at, 1..100 as IJG's library counts; None where no table of luma's steps is.
            Of programs that count otherwise, the quality whose steps are about as coarse.
        passed: what there is more than one block of, EXIF or XMP, none but the first of which is read.
        unknown: names of the kinds of segments that nobody here reads.
        pictures: in the file: several where it holds views, previews or a gain map behind the first.
    """

    comments: list[bytes] = field(default_factory=list)
    states_dpi: bool = False
    pixel_shape: tuple[int, int] | None = None
    credentials: bool = False
    xmp: bytes | None = None
    more_xmp: bool = False
    resources: list[bytes] = field(default_factory=list)
    quality: int | None = None
    passed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    pictures: int = 1


def read_segments(data: Any) -> JpegSegments:
    """Returns what the segments of a JPEG file say, as far as they can be followed.

    Source: ITU-T T.81 (1992), annex B; T.871 (2011), section 10; XMP specification part 3 (2016), section 1.1.3;
    CIPA DC-007 (2009), section 5.2.3; Adobe Photoshop file formats specification (2019), "Image resources section".

    Args:
        data: the file's bytes, or a memory map of it.
    """
    found = JpegSegments()
    exif = b""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            break
        kind = data[at + 1]
        if kind == 0xFF or kind in _ALONE:  # filling, or a marker without content
            at += 1 if kind == 0xFF else 2
            continue
        if kind in (_SCAN, _END):
            break
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : at + 2 + size]
        if kind == _COMMENT:
            found.comments.append(content)
        elif kind == _APP0 and content[:5] == b"JFIF\0" and len(content) >= 12:
            found.states_dpi = content[7] in (1, 2)
            across, down = struct.unpack(">HH", content[8:12])
            # a density is dots per length: the more of them, the narrower the pixel
            found.pixel_shape = None if found.states_dpi or not (across and down) else (down, across)
        elif kind == _APP11 and content.startswith(_BOXES) and _C2PA in content:
            found.credentials = True
        elif kind == _APP1 and content.startswith(_XMP):
            packet = bytes(content[len(_XMP) :])
            found.xmp = found.xmp or packet
            _pass_over(found, "XMP", packet, found.xmp)
        elif kind == _APP1 and content.startswith(_EXIF):
            exif = exif or bytes(content)
            _pass_over(found, "EXIF", bytes(content), exif)
        elif kind == _APP1 and content.startswith(_MORE_XMP):
            found.more_xmp = True
        elif kind == _APP13 and content.startswith(iptc.WRAPPER):
            found.resources.append(bytes(content[len(iptc.WRAPPER) :]))
        elif kind == _QUANTISATION:
            found.quality = _quality(bytes(content)) or found.quality
        elif kind == _APP2 and content.startswith(_PICTURES):
            found.pictures = _count_pictures(bytes(content[len(_PICTURES) :]))
        elif _APP0 <= kind <= _APP15 and not content.startswith((*_KNOWN, _COLOURS) if kind == _APP14 else _KNOWN):
            name = _name_of(kind, bytes(content[:_MAX_NAME_BYTES]))
            found.unknown += [name] * (name not in found.unknown)
        at += 2 + size
    return found


def _pass_over(found: JpegSegments, name: str, block: bytes, kept: bytes) -> None:
    """Notes that there is a block that is not kept, unless it says the same as the one that is."""
    if block not in (b"", kept) and name not in found.passed:
        found.passed.append(name)


def _name_of(kind: int, start: bytes) -> str:
    """Returns how an application segment calls itself, or its number."""
    name = start.partition(b"\0")[0]
    return name.decode() if len(name) > 2 and name.isalnum() else f"APP{kind - _APP0}"


def _quality(tables: bytes) -> int | None:
    """Returns the quality that a segment of quantisation tables (T.81, B.2.4.1) stands for, if luma's is among them."""
    at = 0
    while at < len(tables):
        wide, number = divmod(tables[at], 16)
        size = 128 if wide else 64
        steps = tables[at + 1 : at + 1 + size]
        if number == 0 and len(steps) == size:
            coarseness = sum(struct.unpack(">64H" if wide else "64B", steps))
            return min(range(1, 101), key=lambda quality: abs(_coarseness(quality) - coarseness))
        at += 1 + size
    return None


@lru_cache(maxsize=100)
def _coarseness(quality: int) -> int:
    """Returns the sum of luma's steps at a quality."""
    return sum(steps_at(quality, LUMA_STEPS))


def _count_pictures(index: bytes) -> int:
    """Returns how many pictures a multi-picture index announces; 1 where it is damaged."""
    try:
        block = parse_exif(index)  # built alike
        return int(struct.unpack(block.order + "I", block.main.tags[_NUMBER_OF_PICTURES].data)[0])
    except (KeyError, ValueError, struct.error):
        return 1


def comment_segment(comments: dict[str, str]) -> bytes:
    """Returns a picture's comment, if it has one that fits, as it stands in a JPEG file."""
    text = comments.get(COMMENT_KEY, "").encode("utf-8", "replace")
    return b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text if 0 < len(text) <= MAX_COMMENT_BYTES else b""


def end_of_application_segments(data: Any, start: int) -> int:
    """Returns where the first segment begins that is no application's, such as JFIF's or EXIF's, which come first.

    Args:
        data: bytes, or a mapped file.
        start: where the JPEG file begins in it.
    """
    at = start + 2
    while data[at : at + 1] == b"\xff" and _APP0 <= data[at + 1] <= _APP15:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at

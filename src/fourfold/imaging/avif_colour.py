"""How an AVIF file says in what way its numbers are meant as colours: libvips does not tell."""

from typing import Any, NamedTuple

from fourfold.imaging.avif_boxes import within
from fourfold.imaging.avif_turn import turned_by

#: Boxes that lead to the properties of the file's pictures, and to what these are to each other.
_PROPERTIES, _REFERENCES = (b"meta", b"iprp", b"ipco"), (b"meta", b"iref")
#: Code points of sRGB, and of "not said", which is taken for sRGB everywhere.
_SRGB_PRIMARIES, _SRGB_TRANSFERS = (1, 2), (13, 2)


class AvifSamples(NamedTuple):
    """What an AVIF file says of its samples.

    Attributes:
        grey: the picture is monochrome; libheif gives it as red, green and blue.
        narrow_grey: it is, and from 16 for black to 235 for white of 255; libheif takes 0 and 255 for
            them, as it does for no picture in colour.
        premultiplied: the colours have been multiplied by alpha.
        turned_by: what the file turns the picture by, as EXIF counts it, 1 to 8; the decoder has done it.
    """

    grey: bool = False
    narrow_grey: bool = False
    premultiplied: bool = False
    turned_by: int = 1


def read_samples(data: Any) -> AvifSamples:
    """Returns what an AVIF file says of its samples.

    Source: AV1 codec ISO media file format binding, section 2.3.3 (av1C); ISO/IEC 14496-12, section 12.1.5 (colr);
    ISO/IEC 23000-22, section 7.3.5.2 (prem).

    Args:
        data: the file's bytes, or a memory map of it.
    """
    properties = [(kind, bytes(data[a : min(b, a + 11)])) for kind, a, b in within(data, _PROPERTIES)]
    # alpha, which is a monochrome picture as well, may be in the file, too
    coded = [text for kind, text in properties if kind == b"av1C" and len(text) >= 3]
    ranges = [text[10] >> 7 for kind, text in properties if kind == b"colr" and text[:4] == b"nclx" and len(text) > 10]
    grey = bool(coded) and all(text[2] & 0x10 for text in coded)
    premultiplied = any(kind == b"prem" for kind, _, _ in within(data, _REFERENCES))
    return AvifSamples(grey, grey and ranges[:1] == [0], premultiplied, turned_by(data))


def is_lossy(data: Any) -> bool:
    """Returns whether an AVIF file was stored with losses, as all are that do not hold red, green and blue themselves.

    Source: ITU-T H.273, table 4 (matrix coefficients; 0 is none, which is what encoders without loss need).

    Args:
        data: the file's bytes, or a memory map of it.
    """
    return _code_points(_colours(data))[8:10] != b"\0\0"


def unheard_colour(data: Any) -> list[str]:
    """Returns a note if an AVIF file says by code points, not by a profile, that its colours are not sRGB's.

    Source: ISO/IEC 14496-12, section 12.1.5 (colr); ITU-T H.273 (the code points).

    Args:
        data: the file's bytes, or a memory map of it.
    """
    said = _colours(data)
    points = _code_points(said)
    if len(points) < 8 or any(text[:4] in (b"prof", b"rICC") for text in said):
        return []
    primaries, transfer = int.from_bytes(points[4:6], "big"), int.from_bytes(points[6:8], "big")
    if primaries in _SRGB_PRIMARIES and transfer in _SRGB_TRANSFERS:
        return []
    return [f"colours by code points (primaries {primaries}, transfer {transfer}) were taken for sRGB"]


def _colours(data: Any) -> list[bytes]:
    """Returns the beginnings of what a file says of its colours: a profile, or code points."""
    return [bytes(data[a : min(b, a + 10)]) for kind, a, b in within(data, _PROPERTIES) if kind == b"colr"]


def _code_points(said: list[bytes]) -> bytes:
    """Returns kind, primaries, transfer and matrix (4, 2, 2 and 2 bytes), or nothing where there are no code points."""
    return next((text for text in said if text[:4] == b"nclx"), b"")

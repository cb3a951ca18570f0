"""The blocks of GIF files: libvips counts the frames that it finds, so one cut short looks shorter, not damaged."""

from dataclasses import dataclass, field
from typing import Any

from fourfold.errors import PictureError

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_COMMENT, _APPLICATION = 0xFE, 0xFF
#: Whose blocks they are: XMP stands there as it is, without sub-blocks, and ends with bytes that lead any reader of
#: sub-blocks to the block's end (XMP specification part 3, 2016, section 1.1.2); profiles as ICC.1's annex B.6 says.
_XMP, _PROFILE = b"\x0bXMP DataXMP", b"\x0bICCRGBG1012"
_AFTER_XMP = bytes([1, *range(255, -1, -1), 0])


@dataclass
class GifBlocks:
    """What the blocks beside the frames say.

    Attributes:
        comments: the comments, as stored.
        xmp: the XMP packet, or None.
        icc: the colour profile, or None.
    """

    comments: list[bytes] = field(default_factory=list)
    xmp: bytes | None = None
    icc: bytes | None = None


def read_blocks(data: Any) -> GifBlocks:
    """Returns what a GIF file says beside its frames, after a walk through all of its blocks.

    Source: GIF89a specification (CompuServe 1990), sections 15 to 27. What follows the trailer is nobody's business.

    Args:
        data: the file's bytes, or a memory map of it.

    Raises:
        PictureError: if the file ends, or goes wrong, before its trailer.
    """
    found = GifBlocks()
    try:
        at = 13 + _palette_bytes(data[10])
        while (kind := data[at]) != _TRAILER:
            if kind == _EXTENSION:
                start, at = at + 2, _after_sub_blocks(data, at + 2)
                _take(found, data, start, at)
            elif kind == _IMAGE:
                at = _after_sub_blocks(data, at + 11 + _palette_bytes(data[at + 9]))
            elif kind == 0:  # some encoders end a block twice
                at += 1
            else:
                raise PictureError("the file is damaged (something that is no block lies between the frames)")
    except IndexError as error:
        raise PictureError("the file is damaged or ends too early (the GIF's end mark is missing)") from error
    return found


def _take(found: GifBlocks, data: Any, start: int, end: int) -> None:
    """Takes what is to be kept from an extension whose sub-blocks go from ``start`` to ``end``."""
    label, whose = data[start - 1], bytes(data[start : start + len(_XMP)])
    if label == _COMMENT:
        found.comments.append(_joined(data, start))
    elif label == _APPLICATION and whose == _XMP:
        content = bytes(data[start + len(_XMP) : end])
        if content.endswith(_AFTER_XMP):
            found.xmp = content.removesuffix(_AFTER_XMP)
    elif label == _APPLICATION and whose == _PROFILE:
        found.icc = _joined(data, start + len(_PROFILE))


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: Any, at: int) -> int:
    while size := data[at]:
        at += 1 + size
    return at + 1


def _joined(data: Any, at: int) -> bytes:
    parts = []
    while size := data[at]:
        parts.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return b"".join(parts)

"""The blocks of GIF files: libvips counts the frames that it finds, so one cut short looks shorter, not damaged."""

from typing import Any

from fourfold.errors import PictureError

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_COMMENT = 0xFE


def read_comments(data: Any) -> list[bytes]:
    """Returns the comments of a GIF file, after a walk through all of its blocks.

    Source: GIF89a specification (CompuServe 1990), sections 15 to 27. What follows the trailer is nobody's business.

    Args:
        data: the file's bytes, or a memory map of it.

    Raises:
        PictureError: if the file ends, or goes wrong, before its trailer.
    """
    comments = []
    try:
        at = 13 + _palette_bytes(data[10])
        while (kind := data[at]) != _TRAILER:
            if kind == _EXTENSION:
                start, at = at + 2, _after_sub_blocks(data, at + 2)
                if data[start - 1] == _COMMENT:
                    comments.append(_joined(data, start))
            elif kind == _IMAGE:
                at = _after_sub_blocks(data, at + 11 + _palette_bytes(data[at + 9]))
            elif kind == 0:  # some encoders end a block twice
                at += 1
            else:
                raise PictureError("the file is damaged (something that is no block lies between the frames)")
    except IndexError as error:
        raise PictureError("the file is damaged or ends too early (the GIF's end mark is missing)") from error
    return comments


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

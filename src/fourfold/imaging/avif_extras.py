"""What stands in an AVIF file beside its picture and has no place in another: libvips does not tell."""

from typing import Any
from uuid import UUID

from fourfold.imaging.avif_boxes import boxes, within

_PROPERTIES, _SHAPE, _OWN_KIND = (b"meta", b"iprp", b"ipco"), b"pasp", b"uuid"
#: C2PA's (C2PA specification 2.1, 2024, appendix A).
_CREDENTIALS = UUID("d8fec3d6-1b0e-483c-9297-5828877ec481")
#: So many names of others are told.
_MAX_OTHERS = 10


def pixel_shape(data: Any) -> tuple[int, int] | None:
    """Returns width and height of a pixel in any unit, or None where an AVIF file does not state them.

    Source: ISO/IEC 14496-12, section 12.1.4 (pasp). Alpha, or a thumbnail, lies over the picture and can have no other.

    Args:
        data: the file's bytes, or a memory map of it.
    """
    said = [bytes(data[a : min(b, a + 8)]) for kind, a, b in within(data, _PROPERTIES) if kind == _SHAPE]
    across, down = (int.from_bytes(said[0][k : k + 4], "big") for k in (0, 4)) if said else (0, 0)
    return (across, down) if across and down else None


def passed_boxes(data: Any) -> tuple[bool, list[str]]:
    """Returns whether an AVIF file holds Content Credentials (C2PA), and the names of other boxes of somebody's own.

    Source: ISO/IEC 14496-12, section 4.2: a ``uuid`` box begins with its name of 16 bytes.

    Args:
        data: the file's bytes, or a memory map of it.
    """
    starts = [bytes(data[a : min(b, a + 16)]) for kind, a, b in boxes(data, 0, len(data)) if kind == _OWN_KIND]
    names = list(dict.fromkeys(UUID(bytes=start) for start in starts if len(start) == 16))
    return _CREDENTIALS in names, [str(name) for name in names if name != _CREDENTIALS][:_MAX_OTHERS]

"""What each format cannot hold, in words."""

import numpy as np

from fourfold.errors import PictureError
from fourfold.imaging import iptc
from fourfold.imaging.exif import ADOBE_RGB_UNSAID, MAKER_NOTE_MOVED, has_maker_note
from fourfold.imaging.exif_corrections import corrected
from fourfold.imaging.exif_place import MAX_EXIF_BYTES
from fourfold.imaging.formats import FORMATS, Format
from fourfold.imaging.jpeg_segments import COMMENT_KEY, MAX_COMMENT_BYTES
from fourfold.imaging.layout import Layout, SaveOptions
from fourfold.imaging.picture import Metadata
from fourfold.imaging.png_text import can_hold

#: Longer blocks libvips leaves out of JPEG files, where a segment holds 64 KB.
_MAX_JPEG_BYTES = {"xmp": 60_000, "iptc": iptc.MAX_JPEG_BYTES, "comment": MAX_COMMENT_BYTES}
#: libvips writes WebP frames that are shown no longer than this with 100 ms instead, as browsers show them.
_SHORTEST_WEBP_MS = 10


def losses(format: Format, layout: Layout, metadata: Metadata, options: SaveOptions) -> list[str]:
    """Returns a sentence for everything that writing in this format loses or changes; empty if nothing.

    Raises:
        PictureError: if the picture is too large for the format.
    """
    check_side(format, layout.height, layout.width, layout.frames)
    name = format.name.upper() if format.name != "webp" else "WebP"
    lost = []
    if layout.has_alpha and not format.alpha:
        lost.append(f"{name} holds no transparency: put on white")
    if layout.dtype == np.float32 and not format.floating:
        bits = max(format.depths)
        lost.append(f"{name} holds no floating point: written with {bits} bits per sample")
        if metadata.peak > 1.0:
            cut = "what is above 1" if metadata.highlights else f"{metadata.peak:g}"
            lost.append(f"values up to {metadata.peak:g}: {cut} became white")
    elif layout.dtype == np.uint16 and max(format.depths) < _depth(metadata):
        lost.append(f"{name} holds at most {max(format.depths)} bits per sample: reduced from {_depth(metadata)}")
    if layout.frames > 1:
        lost += _lost_frames(name, format, layout)
    if format.name == "gif":
        lost.append("GIF holds 256 colours per frame: reduced")
    if metadata.icc is not None and "icc" not in format.holds:
        lost.append(f"{name} holds no colour profile: converted to sRGB")
    elif is_grey_profile(metadata.icc) and not format.grey:
        lost.append(f"{name} holds no grey pictures: grey and its profile converted to sRGB")
    if options.strip and metadata.needs_exif_for_colours:
        lost.append(ADOBE_RGB_UNSAID)
    elif not options.strip:
        lost += _lost_metadata(name, format, layout, metadata)
    if metadata.dpi is not None and "dpi" not in format.holds:
        lost.append(f"{name} holds no DPI: left out")
    return lost


def _lost_frames(name: str, format: Format, layout: Layout) -> list[str]:
    if not format.frames:
        return [f"{name} holds one picture: only the first of {layout.frames} is written"]
    if format.frames == "pages" and layout.delays_ms:
        return [f"{name} holds pages, not an animation: frame times and loops left out"]
    if format.name == "webp" and any(delay <= _SHORTEST_WEBP_MS for delay in layout.delays_ms):
        return [f"frames shown for {_SHORTEST_WEBP_MS} ms or less are shown for 100 ms, as browsers show them"]
    if format.name == "gif" and any(delay % 10 for delay in layout.delays_ms):
        return ["GIF holds frame times in steps of 10 ms: rounded"]
    return []


def _depth(metadata: Metadata) -> int:
    """Returns how many bits the samples of a uint16 picture really have."""
    return metadata.bits if metadata.bits in (10, 12) else 16


def _lost_metadata(name: str, format: Format, layout: Layout, metadata: Metadata) -> list[str]:
    # a block of JPEG's may hold Photoshop's other resources alone
    records = None if metadata.iptc is None else iptc.bare(metadata.iptc)
    lost = [
        f"{name} holds no {kind.upper()}: left out"
        for kind, block in (("exif", metadata.exif), ("xmp", metadata.xmp), ("iptc", records))
        if block is not None and kind not in format.holds
    ]
    if metadata.iptc is not None and format.name != "jpg" and iptc.holds_others(metadata.iptc):
        lost.append(f"{name} is given no Photoshop resources (such as clipping paths): left out")
    if metadata.georeference is not None and format.name != "tiff":
        lost.append(f"{name} holds no map coordinates (GeoTIFF): left out")
    lost += _lost_text(name, format, metadata.comments)
    if format.name == "tiff" and metadata.format != "tiff" and has_maker_note(metadata.exif):  # else it is told already
        lost.append(f"{name}: {MAKER_NOTE_MOVED}")
    return lost + _too_long(name, format, layout, metadata)


def _lost_text(name: str, format: Format, comments: dict[str, str]) -> list[str]:
    lost = sorted(key for key in comments if not _holds_text(format, key))
    if not lost:
        return []
    what = "names text fields with 1 to 79 Latin letters"
    if "comments" not in format.holds:
        what = "holds no text fields but the comment" if "comment" in format.holds else "holds no text fields"
    return [f"{name} {what}: {', '.join(lost)} left out"]


def _holds_text(format: Format, key: str) -> bool:
    if "comments" in format.holds:
        return can_hold(key)
    return "comment" in format.holds and key == COMMENT_KEY


def _too_long(name: str, format: Format, layout: Layout, metadata: Metadata) -> list[str]:
    lengths = {"xmp": len(metadata.xmp or b""), "iptc": len(metadata.iptc or b"")}
    lengths["comment"] = len(metadata.comments.get(COMMENT_KEY, "").encode("utf-8", "replace"))
    if metadata.exif is not None:
        lengths["exif"] = len(corrected(metadata.exif, layout.width, layout.height, metadata.dpi))
    limits = {"exif": MAX_EXIF_BYTES} if format.name != "tiff" else {}
    if format.name == "jpg":
        limits |= _MAX_JPEG_BYTES
    return [
        f"{name} is given at most {limit:,} bytes of {kind if kind == 'comment' else kind.upper()}: left out"
        for kind, limit in limits.items()
        if kind in format.holds and lengths.get(kind, 0) > limit
    ]


def check_side(format: Format, height: int, width: int, frames: int = 1) -> None:
    """Raises PictureError if a picture of this size cannot be written in the format."""
    rows = height * frames if format.name == "tiff" else height
    if max(rows, width) > format.max_side_px:
        roomy = [f.name for f in FORMATS.values() if f.max_side_px >= max(rows, width)]
        raise PictureError(
            f"{width} x {height} is too large for {format.name}, which ends at {format.max_side_px:,} pixels a side; "
            f"choose {' or '.join(roomy)}"
        )


def is_grey_profile(icc: bytes | None) -> bool:
    """Says whether a colour profile is one of grey pictures."""
    return icc is not None and icc[16:20] == b"GRAY"

"""How much memory decoders and encoders take that cannot work row by row.

The figures are bytes per pixel, measured with the libvips 8.18 of pyvips-binary (libwebp, libaom, cgif) on 16 and 32
megapixels and rounded up; row-by-row formats need a few rows and count as nothing.
"""

from typing import Any

from fourfold.imaging.formats import Format
from fourfold.imaging.layout import Layout, SaveOptions
from fourfold.imaging.opening import OpenPicture

#: Turned pictures are decoded whole: in memory up to this size, beyond that libvips uses a temporary file.
_TURNED_BYTES = 100 << 20


def decoder_bytes(opened: OpenPicture) -> int:
    """Returns about how much memory decoding the picture takes, beyond a few rows."""
    pixels = opened.height * opened.width
    turned = 0
    if opened.turned:
        turned = min(_TURNED_BYTES, pixels * opened.frames * opened.bands * opened.dtype.itemsize)
    return turned + pixels * _decoder_bytes_per_px(opened) + opened.held_bytes


def _decoder_bytes_per_px(opened: OpenPicture) -> int:
    if opened.format.name == "avif":
        return 17 if opened.metadata.bits == 8 else 22
    if opened.format.name == "png":
        return opened.bands * opened.dtype.itemsize if _says(opened.image, "interlaced") else 0
    if opened.format.name == "jpg":
        return 8 if _says(opened.image, "jpeg-multiscan") else 0
    return {"webp": 9, "gif": 7}.get(opened.format.name, 0)


def _says(image: Any, field: str) -> bool:
    return image.get_typeof(field) != 0 and bool(image.get(field))


def encoder_bytes(format: Format, layout: Layout, options: SaveOptions) -> int:
    """Returns about how much memory encoding such a picture takes, beyond a few rows."""
    pixels = layout.height * layout.width
    if format.name == "avif":
        return pixels * (38 if layout.dtype.itemsize == 1 else 55)
    if format.name == "webp":
        return pixels * (38 if options.lossless else 6) * (1 if layout.frames == 1 else 2)
    return pixels * 13 if format.name == "gif" else 0

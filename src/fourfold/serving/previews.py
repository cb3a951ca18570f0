"""Pictures as every browser shows them: upright, sRGB, 8 bit, of bounded size."""

from pathlib import Path
from typing import Any

from fourfold.imaging import find_range, open_picture

#: What browsers show themselves, and how large a picture they handle well.
SHOWN = frozenset({"png", "jpg", "webp", "avif"})
SHOWN_PX = 36_000_000
SOURCE_SIDE_PX = 4096
RESULT_SIDE_PX = 6144


def needs_preview(format: str, width: int, height: int) -> bool:
    """Returns whether a browser would rather be given a preview than the picture itself."""
    return format not in SHOWN or width * height > SHOWN_PX


def write_preview(source: Path, target: Path, side_px: int) -> None:
    """Writes a WebP of at most ``side_px`` a side; colours are converted from the picture's own profile.

    Of floating-point values, highlights beyond 1 are white; of another scale, its largest value is.

    Raises:
        PictureError: if the source cannot be opened.
        pyvips.Error: if it cannot be decoded or encoded.
    """
    opened = open_picture(source, max_pixels=2**62)
    image: Any = opened.image
    if image.format == "float":
        found = find_range(open_picture(source, max_pixels=2**62))
        white = 1.0 if found.highlights else found.peak
        factors = [255.0 / white] * opened.channels + [255.0 / found.alpha_peak] * opened.has_alpha
        image = (image * factors + 0.5).cast("uchar").copy(interpretation="srgb" if opened.channels > 1 else "b-w")
    image = image.thumbnail_image(side_px, height=side_px, size="down", output_profile="srgb")
    image.webpsave(str(target), Q=90, effort=2, keep="none")

"""All frames or pages of a file in one image, below each other and upright."""

from functools import reduce
from typing import Any

import pyvips


def loaded(load: Any, frames: int, palette_pages: tuple[int, ...]) -> Any:
    """Returns all frames below each other; pages with a palette of their own are loaded by themselves.

    libvips takes one palette for all pages that it loads together.
    """
    starts = [page for page in palette_pages if page < frames]
    if len(starts) == 1:
        return load(n=-1) if frames > 1 else load()
    ends = *starts[1:], frames
    parts = [load(page=start, n=end - start) for start, end in zip(starts, ends, strict=True)]
    if len({part.bands for part in parts}) > 1:  # a palette of nothing but greys becomes one channel
        parts = [part.colourspace("srgb") for part in parts]
    image = reduce(lambda above, below: above.join(below, "vertical"), parts).copy()
    image.set_type(pyvips.GValue.gint_type, "page-height", image.height // frames)
    return image


def turned(image: Any, orientation: int, frames: int) -> Any:
    """Returns the image with every frame upright; libvips loads pages together only if they are turned alike."""
    if orientation == 1:
        return image
    if orientation == 2:
        return image.fliphor()  # of all pages at once: cut apart, their rows would be asked for out of order
    height = image.height // frames
    pages = [image.crop(0, k * height, image.width, height).autorot() for k in range(frames)]
    return pages[0] if frames == 1 else pyvips.Image.arrayjoin(pages, across=1)

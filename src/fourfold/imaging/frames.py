"""All frames or pages of a file in one image, below each other and upright."""

from typing import Any

import pyvips


def loaded(load: Any, frames: int, palettes_differ: bool) -> Any:
    """Returns all frames below each other; pages with palettes of their own are loaded one by one.

    libvips takes one palette for all pages that it loads together.
    """
    if frames == 1:
        return load()
    if not palettes_differ:
        return load(n=-1)
    pages = [load(page=page, n=1) for page in range(frames)]
    if len({page.bands for page in pages}) > 1:  # a palette of nothing but greys becomes one channel
        pages = [page.colourspace("srgb") for page in pages]
    # at once: of a chain of joins, each link would keep rows of its own
    image = pyvips.Image.arrayjoin(pages, across=1).copy()
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

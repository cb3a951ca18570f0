"""Whole pictures read into memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from fourfold.errors import PictureError
from fourfold.imaging.decoders import explain
from fourfold.imaging.float_range import Census, to_range
from fourfold.imaging.opening import MAX_PIXELS, OpenPicture, open_picture
from fourfold.imaging.picture import Picture


def read_picture(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Returns a picture with everything its file holds, upright.

    8-bit files give uint8, 16-bit files uint16, floating-point files float32. Pixel values are as stored: a colour
    profile is kept beside them, not applied. Of an animation or a file with several pages, the first is read; see
    ``metadata.notes``.

    Args:
        source: a file's path, or its bytes; PNG, JPEG, WebP, TIFF, AVIF or GIF, recognised by its content.
        max_pixels: refuse larger pictures, by their header, before anything is decoded.

    Raises:
        PictureError: if it cannot be opened, is no picture, or is damaged.
        PictureTooLargeError: if it has more pixels than the limit.
    """
    opened = open_picture(source, max_pixels=max_pixels, verify=True)
    try:
        pixels = to_array(opened.image)
    except pyvips.Error as error:
        name = "the picture" if isinstance(source, bytes) else str(source)
        raise PictureError(f"{name}: {explain(error)}") from error
    return picture_from(pixels, opened)


def to_array(image: Any) -> NDArray[Any]:
    """Returns a libvips image's pixels as a (H, W, bands) array that may be written to."""
    kinds = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
    memory = image.write_to_memory()
    return np.frombuffer(memory, kinds[image.format]).reshape(image.height, image.width, image.bands)


def picture_from(pixels: NDArray[Any], opened: OpenPicture) -> Picture:
    """Returns a picture from interleaved rows of an opened file; floating-point values are brought into 0..1."""
    metadata = opened.metadata
    if pixels.dtype == np.float32:
        census = Census(opened.channels, negative=opened.negative)
        census.add(pixels)
        metadata.set_range(census.range())
    alpha = None
    if opened.has_alpha:
        alpha = np.ascontiguousarray(pixels[:, :, -1])
        pixels = np.ascontiguousarray(pixels[:, :, :-1])
    if pixels.dtype == np.float32:
        pixels = to_range(pixels, metadata.peak, highlights=metadata.highlights, negative=opened.negative)
        alpha = None if alpha is None else to_range(alpha, metadata.alpha_peak)
    return Picture(pixels, alpha, metadata)


def read_rgb(path: str | Path) -> NDArray[Any]:
    """Returns plain RGB pixels, (H, W, 3) uint8 or uint16: alpha dropped, grey tripled; for training and benchmarks.

    Raises:
        PictureError: if the file is no picture, is damaged, or holds floating-point samples.
    """
    picture = read_picture(path, max_pixels=2**40)
    if picture.pixels.dtype == np.float32:
        raise PictureError(f"{path}: floating-point or 32-bit samples; 8- and 16-bit pictures are read here")
    if picture.pixels.shape[2] == 1:
        return np.repeat(picture.pixels, 3, axis=2)
    return picture.pixels

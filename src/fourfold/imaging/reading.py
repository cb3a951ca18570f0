"""Whole pictures read into memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from fourfold.errors import PictureError
from fourfold.imaging.opening import MAX_PIXELS, OpenPicture, explain, open_picture
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
    opened = open_picture(source, max_pixels=max_pixels)
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
    alpha = None
    if opened.has_alpha:
        alpha = np.ascontiguousarray(pixels[:, :, -1])
        pixels = np.ascontiguousarray(pixels[:, :, :-1])
    if pixels.dtype == np.float32:
        metadata.peak, metadata.alpha_peak = peaks_of(_largest(pixels), 0.0 if alpha is None else _largest(alpha))
        pixels = to_range(pixels, metadata.peak, negative=opened.negative)
        alpha = None if alpha is None else to_range(alpha, metadata.alpha_peak)
    return Picture(pixels, alpha, metadata)


#: Alpha that goes beyond 1 by no more than this has overshot in some resampling; it means 1.
_OVERSHOOT = 1.1


def peaks_of(colour: float, alpha: float) -> tuple[float, float]:
    """Returns the values of colour and of alpha that become 1.0, from the largest of each.

    Ordinary pictures have 1 for both. Where colours lie beyond, it is the largest of them; where alpha does, it counts
    as the colours do (0..255, say), so that half of that is half transparent though no pixel may be opaque.
    """
    peak = max(1.0, colour)
    return peak, max(peak, alpha) if alpha > _OVERSHOOT else 1.0


def _largest(x: NDArray[np.float32]) -> float:
    return float(np.max(x, initial=0.0, where=np.isfinite(x)))


def to_range(x: NDArray[np.float32], peak: float, *, negative: bool = False) -> NDArray[np.float32]:
    """Returns floating-point samples in 0..1: divided by the peak; NaN and what lies below zero become 0.

    Of a negative, whose peak is black, the same is 1 minus that; NaN is black there, too.
    """
    finite = np.nan_to_num(x / np.float32(peak), nan=float(negative), posinf=1.0, neginf=0.0)
    inside = np.asarray(np.clip(finite, 0.0, 1.0), dtype=np.float32)
    return np.float32(1.0) - inside if negative else inside


def read_rgb(path: str | Path) -> NDArray[Any]:
    """Returns plain RGB pixels, (H, W, 3) uint8 or uint16: alpha dropped, grey tripled; for training and benchmarks.

    Raises:
        PictureError: if the file is no picture, is damaged, or holds floating-point samples.
    """
    picture = read_picture(path, max_pixels=2**40)
    if picture.pixels.dtype == np.float32:
        raise PictureError(f"{path}: floating-point samples; 8- and 16-bit pictures are read here")
    if picture.pixels.shape[2] == 1:
        return np.repeat(picture.pixels, 3, axis=2)
    return picture.pixels

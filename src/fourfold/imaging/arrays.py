"""What arrays may be pictures: one check for all who take them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import PictureError
from fourfold.imaging.colour import FLOAT_LIMIT


def plain_array(array: Any) -> NDArray[Any]:
    """Returns a numpy array as a plain one, in this machine's byte order.

    A ``np.matrix`` would keep two axes whatever is done with it; FITS and 16-bit PGM come with the bytes exchanged.

    Raises:
        PictureError: if it is none, or masked: nobody can say what a masked pixel is to become.
    """
    if not isinstance(array, np.ndarray):
        raise PictureError(f"a picture is a numpy array, not {type(array).__name__}")
    if np.ma.is_masked(array):
        raise PictureError("a picture has no masked pixels; fill them first: array.filled(0)")
    return np.asarray(array, array.dtype.newbyteorder("="))


def checked_pixels(array: Any) -> NDArray[Any]:
    """Returns a picture's colours as (H, W, C); the range of floating-point values is not looked at.

    Args:
        array: (H, W), (H, W, 1) or (H, W, 3); uint8, uint16 or float32.

    Raises:
        PictureError: for anything else, and for an empty picture.
    """
    pixels = plain_array(array)
    given = pixels.shape
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise PictureError(f"a picture has the shape (H, W), (H, W, 1) or (H, W, 3), not {given}")
    if 0 in given:
        raise PictureError(f"an empty picture, of shape {given}")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise PictureError(f"a picture is uint8, uint16 or float32 in 0..1, not {pixels.dtype}")
    return pixels


def range_problem(values: NDArray[Any]) -> str | None:
    """Returns what is wrong with the range of a picture's values: floating point is in 0..1, but for an overshoot."""
    if values.dtype != np.float32:
        return None
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        return "the picture holds NaN or infinity; its values must lie in 0..1"
    if high > FLOAT_LIMIT or low < 1 - FLOAT_LIMIT:
        return f"float32 values from {low:g} to {high:g}; they must lie in 0..1: divide by white first"
    return None

"""The one RGB -> Y and the one rounding of the house; both serve numpy arrays and torch tensors."""

from typing import Any

import numpy as np

#: BT.601 studio range: Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 for R, G, B in 0..255.
Y_WEIGHTS = (65.481, 128.553, 24.966)
Y_OFFSET = 16.0

#: The furthest that floating values go: filters and networks overshoot 0..1 a little; beyond, the scale is another.
FLOAT_LIMIT = 1.5


def rgb_to_y(rgb: Any, axis: int = -1) -> Any:
    """Returns the luma of an RGB picture, in 16..235, without rounding.

    What MATLAB's ``rgb2ycbcr`` gives and what every table of super-resolution results is counted on.

    Args:
        rgb: floating array or tensor in **0..1**, with three channels along ``axis``.
        axis: the channel axis (-1 for HWC, -3 for NCHW). It disappears.
    """
    red, green, blue = (rgb[_channel(rgb.ndim, axis, k)] for k in range(3))
    return Y_OFFSET + Y_WEIGHTS[0] * red + Y_WEIGHTS[1] * green + Y_WEIGHTS[2] * blue


def _channel(ndim: int, axis: int, k: int) -> tuple[Any, ...]:
    index: list[Any] = [slice(None)] * ndim
    index[axis] = k
    return tuple(index)


def quantise(x: Any, levels: int = 255) -> Any:
    """Returns values in 0..1 put on the grid of a ``levels + 1``-level picture, half rounded up, still in 0..1.

    Args:
        x: floating array or tensor; values outside 0..1 are clamped.
        levels: 255 for 8 bits, 65535 for 16 bits.
    """
    if isinstance(x, np.ndarray):
        return np.floor(np.clip(x, 0.0, 1.0) * levels + 0.5) / levels
    return (x.clamp(0.0, 1.0) * levels + 0.5).floor() / levels


def to_integers(x: Any, dtype: Any = np.uint8) -> Any:
    """Returns a numpy array in 0..1 as uint8 or uint16, clamped, half rounded up.

    Raises:
        ValueError: for another ``dtype``: float32 cannot tell the values of larger ones apart.
    """
    dtype = np.dtype(dtype)  # a name, such as "uint8", is none of the types
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"to_integers makes uint8 or uint16, not {dtype}")
    top = np.iinfo(dtype).max
    return np.floor(np.clip(x, 0.0, 1.0) * np.float32(top) + 0.5).astype(dtype)


def to_unit(x: Any) -> Any:
    """Returns a numpy picture as float32 in 0..1; floating pictures are taken to be in 0..1 already."""
    if np.issubdtype(x.dtype, np.integer):
        return x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max)
    return x.astype(np.float32)

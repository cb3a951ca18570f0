"""Whether SR still says what LR said: SR shrunk again by the bicubic that made LR, compared with LR.

No original is needed. A network that invents texture may do so inside what LR leaves open; one that changes
brightness, colour or what LR shows has left it, and these two numbers tell.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.evaluation.metrics import PEAK, planes
from fourfold.imaging import resize_array


def lr_psnr(sr: NDArray[Any], lr: NDArray[Any]) -> float:
    """Returns the PSNR in dB, over RGB and the whole picture, of SR shrunk to LR's size against LR.

    The shrunk picture is not rounded; ``inf`` where it is LR exactly. An original reaches about 59 dB, because its
    LR was rounded to 8 bits.

    Args:
        sr: (H, W, 3), (H, W, 1) or (H, W); uint8, uint16, or floating in 0..1.
        lr: the picture that SR was made from, likewise.

    Raises:
        EvaluationError: if SR is not larger than LR, or values are not finite.
    """
    error = float(np.mean(_difference(sr, lr) ** 2))
    return math.inf if error == 0.0 else 10.0 * math.log10(PEAK**2 / error)


def colour_drift(sr: NDArray[Any], lr: NDArray[Any]) -> float:
    """Returns how far the mean colour of SR, shrunk to LR's size, lies from LR's, in 255ths.

    The mean over R, G and B of the absolute difference of their means over the picture: 1.0 is a shift that nobody
    sees in one picture and everybody sees when flipping between two.

    Args:
        sr: (H, W, 3), (H, W, 1) or (H, W); uint8, uint16, or floating in 0..1.
        lr: the picture that SR was made from, likewise.

    Raises:
        EvaluationError: if SR is not larger than LR, or values are not finite.
    """
    return float(np.mean(np.abs(np.mean(_difference(sr, lr), axis=(0, 1)))))


def _difference(sr: NDArray[Any], lr: NDArray[Any]) -> NDArray[np.float64]:
    """Returns SR shrunk to LR's size minus LR, (h, w, 3) in 255ths."""
    large, small = planes(sr, channel="rgb"), planes(lr, channel="rgb")
    (height, width), (h, w) = large.shape[:2], small.shape[:2]
    if h >= height or w >= width:
        raise EvaluationError(f"the result, {width}x{height}, is not larger than its LR picture, {w}x{h}")
    shrunk: NDArray[np.float64] = resize_array(large, (h, w), axes=(0, 1))
    return shrunk - small

"""Transparency: what lies under it before the network sees it, and alpha itself made larger.

The colour of a fully transparent pixel means nothing, and programs store anything there: black, white, leftovers.
A network that reads across the edge of a sprite would draw that colour into the visible part: a fringe. So hidden
pixels first take the colour of the visible ones around them, averaged with alpha as the weight (premultiplied, in
other words); then the network sees a picture without edges that are not there. Alpha itself is enlarged by the
exact bicubic: a network trained on photographs would invent texture in it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.imaging.colour import to_integers, to_unit
from fourfold.imaging.resampling import Taps, apply_taps, taps

#: Neighbourhoods that are averaged, one after the other, reach 1, 3, 7 and 15 pixels.
_LEVELS = 4
#: How far a hidden pixel looks for visible ones.
FILL_REACH_PX = 2**_LEVELS - 1
#: Rows of the bicubic's support to each side, when enlarging.
ALPHA_REACH_PX = 3


def fill_hidden(colour: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Returns the picture with its fully transparent pixels in the colours of the visible ones near them.

    Pixels with any opacity keep their colour; hidden ones further than :data:`FILL_REACH_PX` from all visible ones
    do, too. A pixel's result depends on nothing beyond that reach, so a picture may be filled band by band.

    Args:
        colour: (H, W, C) uint8, uint16 or float32 in 0..1.
        alpha: (H, W) of the same dtype.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colour
    weight = to_unit(alpha)[:, :, None]
    sums = np.concatenate([to_unit(colour) * weight, weight], axis=2)  # premultiplied colour, and its weight
    filled = colour.copy()
    missing = hidden.copy()
    for level in range(_LEVELS):
        sums = _add_neighbours(_add_neighbours(sums, 1 << level, axis=0), 1 << level, axis=1)
        found = missing & (sums[:, :, -1] > 0)
        average = sums[found][:, :-1] / sums[found][:, -1:]
        filled[found] = average if colour.dtype == np.float32 else to_integers(average, colour.dtype)
        missing &= ~found
    return filled


def _add_neighbours(x: NDArray[np.float32], distance: int, axis: int) -> NDArray[np.float32]:
    """Returns every value plus the two at a distance to either side; beyond the edges there is nothing."""
    total = x.copy()
    if x.shape[axis] > distance:
        ahead: list[slice] = [slice(None)] * x.ndim
        behind: list[slice] = [slice(None)] * x.ndim
        ahead[axis], behind[axis] = slice(distance, None), slice(None, -distance)
        total[tuple(behind)] += x[tuple(ahead)]
        total[tuple(ahead)] += x[tuple(behind)]
    return total


def alpha_rows_needed(top: int, bottom: int, height: int, scale: int) -> tuple[int, int]:
    """Returns which rows of alpha the enlarged rows ``top`` to ``bottom`` are made of."""
    return max(0, top // scale - ALPHA_REACH_PX), min(height, -(-bottom // scale) + ALPHA_REACH_PX)


def enlarge_alpha(alpha: NDArray[Any], first: int, height: int, top: int, bottom: int, scale: int) -> NDArray[Any]:
    """Returns rows of alpha enlarged by the exact bicubic, as ``imresize`` would make them from all of it.

    Args:
        alpha: rows ``first`` onwards of the picture's alpha, (rows, W), as :func:`alpha_rows_needed` says.
        first: which row of the picture the first one is.
        height: rows of the whole picture.
        top: first enlarged row wanted.
        bottom: the row behind the last one wanted.
        scale: enlargement.
    """
    whole = taps(height, height * scale)
    vertical = Taps(whole.indices[top:bottom] - first, whole.weights[top:bottom], alpha.shape[0])
    horizontal = taps(alpha.shape[1], alpha.shape[1] * scale)
    enlarged = apply_taps(apply_taps(to_unit(alpha), vertical, 0), horizontal, 1)
    if alpha.dtype == np.float32:
        return np.asarray(np.clip(enlarged, 0.0, 1.0))
    return np.asarray(to_integers(enlarged, alpha.dtype))

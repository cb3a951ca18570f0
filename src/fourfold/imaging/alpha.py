"""Transparency: what lies under it before the network sees it, and alpha itself made larger.

The colour of a fully transparent pixel means nothing, and programs store anything there: black, white, leftovers.
A network that reads across the edge of a sprite would draw that colour into the visible part: a fringe. So hidden
pixels first take the colour of the visible ones around them, averaged with alpha as the weight (premultiplied, in
other words); then the network sees a picture without edges that are not there. Alpha itself is enlarged by a network
of its own (:mod:`fourfold.upscaling.alpha`), which needs what is here: edges that are not harder than a camera's, and
bounds, so that no texture grows; or by the exact bicubic.
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
#: How far a value of alpha looks to know whether its edge is to be softened, and by how much.
SOFT_REACH_PX = 4
#: Of the Gaussian that softens edges, in pixels, and how much steeper they are afterwards: about as wide then as an
#: edge is whose pixels are as opaque as they are covered.
_SOFT_SIGMA_PX, _STEEPER = 0.8, 1.8


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


def soft_edges(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns alpha with half-transparent pixels along edges that have none: stairs become lines.

    Only where all is opaque or hidden nearby, and where both sides of the edge are at least three pixels thick: what is
    thin would fade.

    Args:
        alpha: (H, W, 1) in 0..1. A value of the result depends on nothing beyond :data:`SOFT_REACH_PX`.
    """
    opened, closed = (
        _extreme(_extreme(alpha, first), second)
        for first, second in ((np.minimum, np.maximum), (np.maximum, np.minimum))
    )
    kept = ((alpha > 0) & (alpha < 1)) | (opened != alpha) | (closed != alpha)
    for _ in range(2):
        kept = _extreme(kept, np.logical_or)
    steep = 0.5 + _STEEPER * (_smoothed(alpha) - 0.5)
    return np.where(kept, alpha, steep.clip(0, 1)).astype(np.float32)


def within_neighbours(sr: NDArray[np.float32], lr: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clips an enlarged picture, in place, to the range of the 3x3 pixels around the one that each value comes from.

    Args:
        sr: (scale * H, scale * W, C).
        lr: (H, W, C), what it was made of.
    """
    low, high = _extreme(lr, np.minimum), _extreme(lr, np.maximum)
    scale = len(sr) // len(lr)
    for row in range(scale):
        for column in range(scale):
            phase = sr[row::scale, column::scale]
            np.clip(phase, low, high, out=phase)
    return sr


def _extreme(x: NDArray[Any], of: np.ufunc) -> NDArray[Any]:
    """Returns the least or greatest of each value and its eight neighbours, channel by channel."""
    for axis in (0, 1):
        before, here, after = _beside(x, 1, axis)
        x = of(of(before, here), after)
    return x


def _smoothed(x: NDArray[np.float32]) -> NDArray[np.float32]:
    reach = SOFT_REACH_PX - 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SOFT_SIGMA_PX) ** 2).astype(np.float32)
    for axis in (0, 1):
        x = sum(w * shifted for w, shifted in zip(weights / weights.sum(), _beside(x, reach, axis), strict=True))
    return x


def _beside(x: NDArray[Any], reach: int, axis: int) -> list[NDArray[Any]]:
    """Returns the plane shifted by -reach to reach along an axis, its borders continued outward."""
    padded = np.pad(x, [(reach, reach) if axis == a else (0, 0) for a in range(x.ndim)], mode="edge")
    views = np.moveaxis(padded, axis, 0)
    return [np.moveaxis(views[k : k + x.shape[axis]], 0, axis) for k in range(2 * reach + 1)]

"""Whether pixels were a JPEG once, whatever file they are in now.

JPEG rounds the cosine coefficients of blocks of 8x8 pixels to multiples of a step that is large for fine detail. So
most of those are exactly zero, and nearly so still when the picture is decoded, rounded to 8 bits and stored as PNG.
Cut into blocks from any other row or column on, the same picture has fewer such zeros. Where one of the 64 ways to cut
stands out, JPEG has been there (Nikoukhah et al., "ZERO: a Local JPEG Grid Origin Detector Based on the Number of DCT
Zeros", Image Processing On Line 11, 2021; they count blocks' votes, here shares are compared). Resizing wipes that out.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Looked at, in the middle of the picture: at most so many pixels a side.
WINDOW_PX = 384
#: A coefficient below counts as zero: decoding to whole levels leaves some noise.
_ZERO = 0.7
#: Coefficients of slower waves than this (sum of both indices) are kept in most JPEGs.
_SLOWEST = 3
#: A block counts whose largest coefficient, its mean aside, is above: on even ground there are zeros in any case.
_ALIVE = 2.0
#: With fewer living blocks, nothing is said.
_FEWEST_BLOCKS = 24
#: By how much the best way's share of zeros must be above that of all others. docs/pictures.md has what that finds.
_MARGIN = 0.05

_WAVE, _PIXEL = np.mgrid[:8, :8]
_COSINES = (np.where(_WAVE == 0, np.sqrt(1 / 8), 0.5) * np.cos((2 * _PIXEL + 1) * _WAVE * np.pi / 16)).astype(
    np.float32
)
_FINE = np.add.outer(np.arange(8), np.arange(8)) >= _SLOWEST
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def was_jpeg(pixels: NDArray[Any]) -> bool:
    """Returns whether a picture has the traces of JPEG: of a quality up to about 95, not resized since.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8; of other kinds of numbers nothing is known, and it is False.
    """
    if pixels.dtype != np.uint8 or min(pixels.shape[:2]) < 16:
        return False
    shares = zero_shares(pixels)
    if np.isnan(shares).all():
        return False
    rest = np.delete(shares, np.nanargmax(shares))
    rest = rest[~np.isnan(rest)]
    return bool(rest.size and np.nanmax(shares) - rest.max() > _MARGIN)


def zero_shares(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the share of fine coefficients that are zero, for each of the 64 ways to cut into blocks.

    Args:
        pixels: as for :func:`was_jpeg`, 16 a side at least.

    Returns:
        (64,), by row and column that the first block begins at; NaN where too few blocks have any detail.
    """
    top, left = (max(0, side - WINDOW_PX) // 2 for side in pixels.shape[:2])
    window = pixels[top : top + WINDOW_PX, left : left + WINDOW_PX].astype(np.float32)
    luma = window @ _LUMA if window.ndim == 3 and window.shape[2] == 3 else window.reshape(window.shape[:2])
    return np.array([_zero_share(rows, column) for rows in map(_waves_down, _shifted(luma)) for column in range(8)])


def _shifted(luma: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [luma[row : row + (luma.shape[0] - row) // 8 * 8] for row in range(8)]


def _waves_down(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the coefficients along the columns: (blocks, 8, W)."""
    waves: NDArray[np.float32] = _COSINES @ luma.reshape(-1, 8, luma.shape[1])
    return waves


def _zero_share(waves: NDArray[np.float32], column: int) -> float:
    whole = (waves.shape[2] - column) // 8 * 8
    blocks = waves[:, :, column : column + whole].reshape(len(waves), 8, -1, 8) @ _COSINES.T
    coefficients = np.abs(blocks.transpose(0, 2, 1, 3)).reshape(-1, 64)
    alive = coefficients[:, 1:].max(axis=1) > _ALIVE
    fine = coefficients[:, _FINE.ravel()]
    return float((fine[alive] < _ZERO).mean()) if alive.sum() >= _FEWEST_BLOCKS else np.nan

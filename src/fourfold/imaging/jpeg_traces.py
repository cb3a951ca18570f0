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
#: With fewer living blocks that differ, nothing is said.
_FEWEST_BLOCKS = 48
#: Where another way to cut gives so many times fewer, it is a drawing with a grid of 8 pixels: tiles, a window layout.
_MOST_TIMES = 2
#: By how much the best way's share of zeros must be above that of all others, where there are very many blocks; and
#: what is added for few, over the root of their number. docs/pictures.md has what that finds.
_MARGIN, _MARGIN_OF_ONE = 0.03, 0.5

_WAVE, _PIXEL = np.mgrid[:8, :8]
_COSINES = (np.where(_WAVE == 0, np.sqrt(1 / 8), 0.5) * np.cos((2 * _PIXEL + 1) * _WAVE * np.pi / 16)).astype(
    np.float32
)
_FINE = np.add.outer(np.arange(8), np.arange(8)) >= _SLOWEST
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
#: Weights of a sum that two different blocks hardly ever have in common; of the mean it knows nothing.
_APART = np.append(0, np.random.default_rng(0).uniform(0.5, 1.5, 63)).astype(np.float32)


def was_jpeg(pixels: NDArray[Any]) -> bool:
    """Returns whether a picture has the traces of JPEG: of a quality up to about 95, not resized since.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8; of other kinds of numbers nothing is known, and it is False.
    """
    if pixels.dtype != np.uint8 or min(pixels.shape[:2]) < 16:
        return False
    shares, blocks = zero_shares(pixels)
    best = int(np.argmax(shares))
    rest = np.delete(shares, best)
    if blocks[best] < _FEWEST_BLOCKS or blocks[best] > _MOST_TIMES * blocks.min():
        return False
    return bool(shares[best] - rest.max() > margin(blocks[best]))


def margin(blocks: int) -> float:
    """Returns by how much a way to cut that gives so many blocks must stand out."""
    return float(_MARGIN + _MARGIN_OF_ONE / np.sqrt(blocks))


def zero_shares(pixels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the share of fine coefficients that are zero, and the number of blocks, for the 64 ways to cut.

    Args:
        pixels: as for :func:`was_jpeg`, 16 a side at least.

    Returns:
        (64,) each, by row and column that the first block begins at. Blocks without detail do not count, nor do second
        ones of a kind.
    """
    top, left = (max(0, side - WINDOW_PX) // 2 for side in pixels.shape[:2])
    window = pixels[top : top + WINDOW_PX, left : left + WINDOW_PX].astype(np.float32)
    luma = window @ _LUMA if window.ndim == 3 and window.shape[2] == 3 else window.reshape(window.shape[:2])
    found = [_zero_share(waves, column) for waves in map(_waves_down, _shifted(luma)) for column in range(8)]
    return np.array([share for share, _ in found]), np.array([blocks for _, blocks in found])


def _shifted(luma: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [luma[row : row + (luma.shape[0] - row) // 8 * 8] for row in range(8)]


def _waves_down(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the coefficients along the columns: (blocks, 8, W)."""
    waves: NDArray[np.float32] = _COSINES @ luma.reshape(-1, 8, luma.shape[1])
    return waves


def _zero_share(waves: NDArray[np.float32], column: int) -> tuple[float, int]:
    whole = (waves.shape[2] - column) // 8 * 8
    blocks = waves[:, :, column : column + whole].reshape(len(waves), 8, -1, 8) @ _COSINES.T
    coefficients = np.abs(blocks.transpose(0, 2, 1, 3)).reshape(-1, 64)
    alive = coefficients[coefficients[:, 1:].max(axis=1) > _ALIVE]
    # alike but for turning and mirroring: what is left of a block is told apart by one sum
    _, kinds = np.unique((alive @ _APART).round(1), return_index=True)
    return float((alive[kinds][:, _FINE.ravel()] < _ZERO).mean()) if len(kinds) else 0.0, len(kinds)

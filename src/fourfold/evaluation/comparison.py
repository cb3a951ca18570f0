"""One picture, shrunk four times and restored in several ways, each scored against the original."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.evaluation.metrics import psnr, ssim_daala, ssim_wang
from fourfold.evaluation.samples import Square
from fourfold.imaging import imresize
from fourfold.upscaling import Upscaler

Pixels = NDArray[np.uint8]

#: Larger pictures are cut: the demo shows one screen, not a gigapixel.
MAX_SIDE_PX = 1024
MIN_SIDE_PX = 64


@dataclass(frozen=True)
class Restored:
    """A picture restored by one method.

    Attributes:
        method: its name.
        pixels: (H, W, 3) uint8.
        psnr_db, ssim, ssim_wang: on luma, 4 pixels cut from the borders; ``ssim`` is the paper's, daala's.
        elapsed_s: seconds that restoring took; 0 for the original.
    """

    method: str
    pixels: Pixels
    psnr_db: float
    ssim: float
    ssim_wang: float
    elapsed_s: float


@dataclass(frozen=True)
class Comparison:
    """An original, its small version, and what the methods made of that; the original itself comes last."""

    hr: Pixels
    lr: Pixels
    restored: tuple[Restored, ...]


def compare(hr: Pixels, upscalers: Sequence[Upscaler]) -> Comparison:
    """Returns the picture shrunk by the exact bicubic and restored by nearest, bicubic and the networks.

    Args:
        hr: (H, W, 3) uint8; cut to a multiple of the scale, and to 1024 pixels about its middle.
        upscalers: the networks, in the order of the columns; all of one scale.

    Raises:
        EvaluationError: for a picture of less than 64 pixels on a side, or networks of different scales.
    """
    scale = upscalers[0].scale
    if any(upscaler.scale != scale for upscaler in upscalers):
        raise EvaluationError("the networks enlarge by different factors; compare them one at a time")
    hr = cut(hr, scale)
    lr = imresize(hr, 1.0 / scale)
    methods: dict[str, Callable[[Pixels], Pixels]] = {
        "nearest": lambda lr: imresize(lr, scale, kernel="nearest"),
        "bicubic": lambda lr: imresize(lr, scale),
    }
    for upscaler in upscalers:
        same = sum(label.split(" #")[0] == upscaler.name for label in methods)
        methods[f"{upscaler.name} #{same + 1}" if same else upscaler.name] = upscaler
    restored = []
    for method, restore in methods.items():
        restore(lr[:16, :16])  # what an engine prepares on its first call is not the network's time
        start = time.perf_counter()
        sr = restore(lr)
        restored.append(_scored(method, sr, hr, time.perf_counter() - start))
    return Comparison(hr, lr, (*restored, _scored("original", hr, hr, 0.0)))


def cut(picture: NDArray[Any], scale: int) -> NDArray[Any]:
    """Returns the middle of a picture, at most 1024 pixels on a side and a multiple of the scale."""
    height, width = (min(side, MAX_SIDE_PX) // scale * scale for side in picture.shape[:2])
    if min(height, width) < MIN_SIDE_PX:
        raise EvaluationError(
            f"a picture of {picture.shape[1]}x{picture.shape[0]} pixels is too small to shrink and compare; "
            f"give one of at least {MIN_SIDE_PX}x{MIN_SIDE_PX}"
        )
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def square_around(comparison: Comparison, middle: tuple[int, int], side_px: int) -> Square:
    """Returns the square about a point, moved inside the picture where it does not fit."""
    height, width = comparison.hr.shape[:2]
    side_px = min(side_px, height, width)
    left, top = (
        min(max(0, at - side_px // 2), size - side_px) for at, size in zip(middle, (width, height), strict=True)
    )
    return left, top, side_px


def most_lost(comparison: Comparison, side_px: int) -> Square:
    """Returns the square in which the bicubic picture is furthest from the original."""
    bicubic = next(r.pixels for r in comparison.restored if r.method == "bicubic")
    error = np.abs(comparison.hr.astype(np.float64) - bicubic).mean(axis=2)
    side_px = min(side_px, *error.shape)
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = total[side_px:, side_px:] - total[:-side_px, side_px:] - total[side_px:, :-side_px]
    sums += total[:-side_px, :-side_px]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(left), int(top), side_px


def _scored(method: str, sr: Pixels, hr: Pixels, elapsed_s: float) -> Restored:
    return Restored(method, sr, psnr(sr, hr), ssim_daala(sr, hr), ssim_wang(sr, hr), elapsed_s)

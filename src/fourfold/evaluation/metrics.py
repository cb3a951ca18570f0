"""PSNR and SSIM as pure numpy functions, with every convention in the signature.

Two programs that both say "PSNR 28.4" often measured different things: another channel, another border,
rounded or unrounded luma. Here each of those choices is an argument, and the defaults are those of the SRGAN
paper's tables (Ledig et al. 2017, section 3.1): the Y channel of BT.601 in studio range, unrounded, four pixels
cut from every border.

Two things are both called SSIM. :func:`ssim_wang` is the one of Wang et al. 2004 that most papers print;
:func:`ssim_daala` is the one of the daala project's ``dump_ssim`` tool that the SRGAN paper prints. They differ by
up to 0.04 on the same pictures, so no number should travel without its name.

Pictures are (H, W, 3) RGB, (H, W, 1) or (H, W); uint8, uint16, or floating in 0..1. Nothing here clamps.
"""

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.imaging import rgb_to_y
from fourfold.imaging.colour import FLOAT_LIMIT

Channel = Literal["y", "rgb", "y-full"]

#: Luma of JPEG (BT.601 without headroom, 0..255): what many programs call Y; not what the tables use.
FULL_RANGE_WEIGHTS = (0.299, 0.587, 0.114)

PEAK = 255.0
SSIM_K1 = 0.01
SSIM_K2 = 0.03


def psnr(
    sr: NDArray[Any],
    hr: NDArray[Any],
    *,
    channel: Channel = "y",
    border_px: int = 4,
    rounded: bool = False,
) -> float:
    """Returns the peak signal-to-noise ratio in dB; ``inf`` for identical pictures.

    Args:
        sr: the picture under test.
        hr: the original, of the same size.
        channel: "y" (studio-range luma), "y-full" (JPEG luma) or "rgb" (one error over the three channels).
        border_px: pixels cut from every border first.
        rounded: whether luma is rounded to 8 bits before it is compared.

    Raises:
        EvaluationError: for what :func:`planes` refuses, different sizes, or nothing left inside the border.
    """
    first, second = _pair(sr, hr, channel, border_px, rounded)
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0.0 else 10.0 * math.log10(PEAK**2 / error)


def ssim_wang(
    sr: NDArray[Any],
    hr: NDArray[Any],
    *,
    channel: Channel = "y",
    border_px: int = 4,
    rounded: bool = False,
) -> float:
    """Returns the structural similarity of Wang et al. 2004: 11x11 window, sigma 1.5, valid region only.

    Args:
        sr: the picture under test.
        hr: the original, of the same size.
        channel: "y", "y-full", or "rgb" for the mean over the three channels.
        border_px: pixels cut from every border first; the window needs 11 pixels more in each direction.
        rounded: whether luma is rounded to 8 bits before it is compared.

    Raises:
        EvaluationError: for what :func:`planes` refuses, different sizes, or a picture smaller than the window.
    """
    first, second = _pair(sr, hr, channel, border_px, rounded)
    if min(first.shape[:2]) < 11:
        raise EvaluationError(
            f"SSIM needs 11x11 pixels inside the {border_px} px border, and there are "
            f"{first.shape[1]}x{first.shape[0]}; use a larger picture"
        )
    return wang_of_planes(first, second)


def wang_of_planes(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Returns :func:`ssim_wang` of two (H, W, C) arrays on 0..255, at least 11x11, as they are."""
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window /= window.sum()
    moments = [_windowed(_windowed(m, window, 0), window, 1) for m in _moments(first, second)]
    mu1, mu2, s11, s22, s12 = moments
    c1, c2 = (SSIM_K1 * PEAK) ** 2, (SSIM_K2 * PEAK) ** 2
    structure = (2 * (s12 - mu1 * mu2) + c2) / (s11 - mu1**2 + s22 - mu2**2 + c2)
    return float(np.mean(structure * (2 * mu1 * mu2 + c1) / (mu1**2 + mu2**2 + c1)))


def ssim_daala(sr: NDArray[Any], hr: NDArray[Any], *, channel: Channel = "y", border_px: int = 4) -> float:
    """Returns the structural similarity of daala's ``dump_ssim``, the SSIM of the SRGAN paper's tables.

    It differs from :func:`ssim_wang` in four ways: the Gaussian's sigma grows with the picture, 1.5 for 256 rows;
    the window is an integer one that sums to 256; it reaches over the border, where only the weight inside the
    picture counts, and each position counts by that weight; and the luma is rounded to 8 bits.

    Args:
        sr: the picture under test.
        hr: the original, of the same size.
        channel: "y" or "y-full"; the tool has one plane at a time, so "rgb" is the mean over three.
        border_px: pixels cut from every border first; the height that sets sigma is the one that is left.

    Raises:
        EvaluationError: for what :func:`planes` refuses, different sizes, or nothing left inside the border.
    """
    return daala_of_planes(*_pair(sr, hr, channel, border_px, rounded=True))


def daala_of_planes(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Returns :func:`ssim_daala` of two (H, W, C) arrays of integers in 0..255, as they are."""
    height, width = first.shape[:2]
    window = daala_window(height * 1.5 / 256.0, longest=min(height, width))
    ones = np.ones((height, width, 1))
    moments = [*_moments(first, second), ones]
    mu1, mu2, s11, s22, s12, weight = (_bordered(_bordered(m, window, 0), window, 1) / 65536.0 for m in moments)
    # The sums are not divided by the weight; the constants are multiplied by its square instead.
    c1, c2 = (SSIM_K1 * PEAK * weight) ** 2, (SSIM_K2 * PEAK * weight) ** 2
    luminance = (2 * mu1 * mu2 + c1) / (mu1**2 + mu2**2 + c1)
    covariance, variance1, variance2 = s12 * weight - mu1 * mu2, s11 * weight - mu1**2, s22 * weight - mu2**2
    structure = (2 * covariance + c2) / (variance1 + variance2 + c2)
    return float(np.mean(np.sum(weight * luminance * structure, axis=(0, 1)) / np.sum(weight)))


def daala_window(sigma: float, longest: int) -> NDArray[np.float64]:
    """Returns daala's integer Gaussian window: odd length, sums to 256.

    It ends where a weight would round to less than half of 1/256, and at ``longest - 1`` to each side. What the
    rounding loses or gains is put into the middle.

    Args:
        sigma: standard deviation in pixels.
        longest: the shorter side of the picture.
    """
    tail = math.sqrt(0.5 * math.pi) * sigma / 256.0
    reach = 0 if tail >= 1.0 else int(sigma * math.sqrt(-2.0 * math.log(tail)))
    reach = min(reach, longest - 1)
    steps = np.arange(1, reach + 1)
    side = np.floor(256.0 / (math.sqrt(2.0 * math.pi) * sigma) * np.exp(-0.5 * (steps / sigma) ** 2) + 0.5)
    return np.concatenate([side[::-1], [256.0 - 2.0 * side.sum()], side])


def planes(picture: NDArray[Any], *, channel: Channel = "y", rounded: bool = False) -> NDArray[np.float64]:
    """Returns what is compared: (H, W, 1) luma or (H, W, 3) RGB, float64 on the scale 0..255.

    Args:
        picture: (H, W, 3), (H, W, 1) or (H, W); grey is taken as RGB with three equal channels.
        channel: "y", "y-full" or "rgb".
        rounded: whether luma is rounded to integers, half up.

    Raises:
        EvaluationError: for another channel, another shape, another kind of numbers, floating values that are not
            finite or on another scale than 0..1.
    """
    if channel not in get_args(Channel):
        raise EvaluationError(f"no channel {channel!r}; there are {', '.join(get_args(Channel))}")
    unit = _unit_rgb(picture)
    if channel == "rgb":
        plane = unit * PEAK
    elif channel == "y-full":
        plane = (unit @ np.asarray(FULL_RANGE_WEIGHTS) * PEAK)[..., None]
    else:
        plane = rgb_to_y(unit)[..., None]
    return np.floor(plane + 0.5) if rounded else plane


def _unit_rgb(picture: NDArray[Any]) -> NDArray[np.float64]:
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise EvaluationError(f"a picture is (H, W), (H, W, 1) or (H, W, 3), not {np.asarray(picture).shape}")
    if pixels.dtype.newbyteorder("=") in (np.uint8, np.uint16):
        unit = pixels.astype(np.float64) / np.iinfo(pixels.dtype).max
    elif np.issubdtype(pixels.dtype, np.floating):
        unit = pixels.astype(np.float64)
        _check_floats(unit)
    else:  # the white of other integers is anybody's guess
        raise EvaluationError(f"a picture is uint8, uint16, or floating in 0..1, not {pixels.dtype}; convert it first")
    return np.repeat(unit, 3, axis=2) if unit.shape[2] == 1 else unit


def _check_floats(unit: NDArray[np.float64]) -> None:
    if not np.isfinite(unit).all():
        count = int(np.count_nonzero(~np.isfinite(unit)))
        raise EvaluationError(f"{count} of {unit.size} values are not finite (NaN or infinity)")
    if unit.size and (unit.max() > FLOAT_LIMIT or unit.min() < 1 - FLOAT_LIMIT):
        raise EvaluationError(
            f"floating values from {unit.min():g} to {unit.max():g}; they must lie in 0..1: divide by white first"
        )


def _pair(
    sr: NDArray[Any], hr: NDArray[Any], channel: Channel, border_px: int, rounded: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns both pictures as planes, without their borders."""
    first, second = planes(sr, channel=channel, rounded=rounded), planes(hr, channel=channel, rounded=rounded)
    height, width = second.shape[:2]
    if first.shape != second.shape:
        raise EvaluationError(
            f"the picture is {first.shape[1]}x{first.shape[0]} and the original {width}x{height}; they must be equal"
        )
    if border_px < 0 or min(height, width) <= 2 * border_px:
        raise EvaluationError(f"nothing is left of {width}x{height} pixels inside a border of {border_px} px")
    inside = (slice(border_px, height - border_px), slice(border_px, width - border_px))
    return first[inside], second[inside]


def _moments(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [x, y, x * x, y * y, x * y]


def _windowed(x: NDArray[np.float64], window: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Returns the window's weighted sums along an axis, only where it lies wholly inside."""
    length = x.shape[axis] - len(window) + 1
    before = (slice(None),) * axis
    total = np.zeros_like(x[(*before, slice(0, length))])
    for k, weight in enumerate(window):
        total += weight * x[(*before, slice(k, k + length))]
    return total


def _bordered(x: NDArray[np.float64], window: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Returns the window's weighted sums along an axis, at every position, counting only what lies inside."""
    reach = len(window) // 2
    padding = [(0, 0)] * x.ndim
    padding[axis] = (reach, reach)
    return _windowed(np.pad(x, padding), window, axis)

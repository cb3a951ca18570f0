"""Why two programs give two numbers for the same pictures: every convention tried, the fitting ones named.

"I get 26.8, the paper says 28.4" has about as many causes as there are programs. Here they are all measured: the
channel, the range of Y, its rounding, the border that is cut, which SSIM, and which downscaling kernel made the LR
picture.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.evaluation.metrics import PEAK, daala_of_planes, planes, wang_of_planes
from fourfold.imaging import imresize
from fourfold.imaging.resampling import Kernel

Pixels = NDArray[Any]
Quantity = Literal["psnr", "ssim"]

#: cut from every border by the paper
PAPER_BORDER_PX = 4
BORDERS_PX = (0, 1, 2, 3, 4, 6, 8, 10)
#: how the channel can be taken, in words
CHANNELS = {
    "y": "Y of BT.601 in studio range 16..235",
    "y-full": "Y of BT.601 in full range 0..255 (JPEG, OpenCV and Pillow grey)",
    "rgb": "RGB, one error over the three channels",
    "rgb-mean": "RGB, each channel's dB and then their mean",
    "r": "red alone",
    "g": "green alone",
    "b": "blue alone",
    "y-bgr": "Y of BT.601, but red and blue exchanged (an OpenCV picture taken for RGB)",
}


@dataclass(frozen=True)
class Reading:
    """One way to measure, and what it gives.

    Attributes:
        value: in dB, or SSIM.
        channel: key of :data:`CHANNELS`.
        rounded: whether the plane was rounded to 8 bits.
        border_px: cut from every border.
        kind: "psnr", or which SSIM.
        sr: what was measured: "the given picture", or bicubic and its kin, where that is what was expected.
        unusual: how far this is from the paper's conventions, in choices.
    """

    value: float
    channel: str
    rounded: bool
    border_px: int
    kind: str
    sr: str = "the given picture"
    unusual: int = 0

    @property
    def words(self) -> str:
        """The conventions in a sentence."""
        parts = [self.kind, CHANNELS[self.channel], f"{self.border_px} px cut from every border"]
        if self.channel.startswith("y"):
            parts.insert(2, "rounded to 8 bits" if self.rounded else "not rounded")
        if self.sr != "the given picture":
            parts.append(self.sr)
        return ", ".join(parts)


def readings(sr: Pixels, hr: Pixels, quantity: Quantity = "psnr") -> list[Reading]:
    """Returns every way to measure a pair of pictures, the paper's own first.

    Args:
        sr: picture under test, (H, W, 3) or grey, integers.
        hr: the original, of the same size.
        quantity: "psnr" or "ssim".

    Raises:
        EvaluationError: if the pictures cannot be compared, or are too small for every way.
    """
    if sr.shape[:2] != hr.shape[:2]:
        raise EvaluationError(
            f"the picture is {sr.shape[1]}x{sr.shape[0]} and the original {hr.shape[1]}x{hr.shape[0]}; "
            "they must be equal"
        )
    found = list(_measured(sr, hr, quantity, "the given picture"))
    if not found:
        raise EvaluationError(f"{hr.shape[1]}x{hr.shape[0]} pixels are too small to measure")
    return sorted(found, key=lambda reading: reading.unusual)


def kernels(hr: Pixels, quantity: Quantity = "psnr") -> list[Reading]:
    """Returns the paper's measure for bicubic and its kin, made from the original by different downscalings.

    If one of them gives the expected number, what was expected is the number of an interpolation (or of pictures
    made from LR pictures of that kernel), not of the picture at hand. Below 4 pixels there is no LR picture, and
    nothing is returned.
    """
    height, width = (n // 4 * 4 for n in hr.shape[:2])
    if not height or not width:
        return []
    whole = np.repeat(hr, 3, axis=2) if hr.ndim == 3 and hr.shape[2] == 1 else hr
    whole = whole[:height, :width]
    found: list[Reading] = []
    for down, words in _DOWN.items():
        lr = _shrunk(whole, down)
        for up in _UP:
            sr = imresize(lr, 4, kernel=up)
            about = f"measured on {up} from LR pictures made by {words}"
            found += _measured(sr, whole, quantity, about, borders=(PAPER_BORDER_PX, 0), channels=("y", "rgb"))
    return found


_UP: tuple[Kernel, ...] = ("bicubic", "nearest", "bilinear", "lanczos")

#: how an LR picture can be made, in words
_DOWN = {
    "bicubic": "MATLAB's bicubic",
    "plain": "bicubic without antialiasing (OpenCV, torch)",
    "bilinear": "antialiased bilinear",
    "lanczos": "antialiased Lanczos (Pillow)",
    "gaussian": "Gaussian blur and subsampling",
    "area": "the mean of 4x4 pixels",
    "nearest": "every fourth pixel",
}


def _shrunk(hr: Pixels, kind: str) -> Pixels:
    height, width = hr.shape[:2]
    if kind == "area":
        blocks = hr.reshape(height // 4, 4, width // 4, 4, -1).astype(np.float64).mean(axis=(1, 3))
        return np.asarray(np.floor(blocks + 0.5), hr.dtype)
    if kind == "plain":
        return _cubic_without_antialiasing(hr)
    return imresize(hr, 0.25, kernel=kind)  # type: ignore[arg-type]


def _cubic_without_antialiasing(hr: Pixels) -> Pixels:
    """Returns a quarter of the picture by OpenCV's cubic (a = -0.75), which reads the four middle pixels only."""
    # the sample lies in the middle of pixels 1 and 2 of every four: distances 1.5, 0.5, 0.5, 1.5
    outer, inner = -0.75 * (1.5**3 - 5 * 1.5**2 + 8 * 1.5 - 4), 1.25 * 0.5**3 - 2.25 * 0.5**2 + 1.0
    weights = np.array([outer, inner, inner, outer])
    height, width = hr.shape[:2]
    blocks = hr.reshape(height // 4, 4, width // 4, 4, -1).astype(np.float64)
    small = np.einsum("aibjc,i,j->abc", blocks, weights, weights)
    return np.asarray(np.floor(np.clip(small, 0, np.iinfo(hr.dtype).max) + 0.5), hr.dtype)


def _measured(
    sr: Pixels,
    hr: Pixels,
    quantity: Quantity,
    about: str,
    borders: Sequence[int] = BORDERS_PX,
    channels: Iterable[str] = CHANNELS,
) -> Iterator[Reading]:
    for channel in channels:
        for rounded in (False, True) if channel.startswith("y") else (False,):
            first, second = (_plane(p, channel, rounded) for p in (sr, hr))
            odd = (channel != "y") * (1 + (channel not in ("rgb", "y-full"))) + rounded
            for border_px in borders:
                if min(first.shape[:2]) <= 2 * border_px:
                    continue
                inside = (slice(border_px, first.shape[0] - border_px), slice(border_px, first.shape[1] - border_px))
                cut = border_px != PAPER_BORDER_PX
                for kind, value, more in _values(first[inside], second[inside], channel, rounded, quantity):
                    yield Reading(value, channel, rounded, border_px, kind, about, odd + cut + more)


def _plane(picture: Pixels, channel: str, rounded: bool) -> NDArray[np.float64]:
    if channel == "y":
        return planes(picture, channel="y", rounded=rounded)
    if channel == "y-full":
        return planes(picture, channel="y-full", rounded=rounded)
    rgb = planes(picture, channel="rgb")
    if channel == "y-bgr":
        return planes(rgb[..., ::-1] / PEAK, channel="y", rounded=rounded)
    return rgb if channel.startswith("rgb") else rgb[..., "rgb".index(channel)][..., None]


def _values(
    sr: NDArray[np.float64], hr: NDArray[np.float64], channel: str, rounded: bool, quantity: Quantity
) -> Iterator[tuple[str, float, int]]:
    """Yields (kind, value, how unusual) for planes already cut, (H, W, C) on 0..255."""
    if quantity == "psnr":
        errors = np.mean((sr - hr) ** 2, axis=(0, 1))
        if channel == "rgb-mean":
            yield "PSNR", float(np.mean([_decibels(error, PEAK) for error in errors])), 0
            return
        yield "PSNR", _decibels(float(np.mean(errors)), PEAK), 0
        if channel == "y":
            yield "PSNR with the peak at 235", _decibels(float(np.mean(errors)), 235.0), 2
            yield "PSNR with the peak at 219", _decibels(float(np.mean(errors)), 219.0), 2
        return
    if channel == "rgb-mean":  # every SSIM of several channels is the mean over them already
        return
    whole = rounded or channel[0] != "y"
    if whole:  # daala's tool reads 8-bit planes, so rounding is the usual thing there
        yield "SSIM after daala", daala_of_planes(sr, hr), -rounded
    smallest_px = min(sr.shape[:2])  # these two measure only where their window is wholly inside
    if smallest_px >= 11:
        yield "SSIM after Wang (11x11)", wang_of_planes(sr, hr), 1
    if smallest_px >= 7:
        yield "SSIM with a plain 7x7 window", uniform_ssim(sr, hr), 2


def _decibels(error: float, peak: float) -> float:
    return math.inf if error == 0.0 else 10.0 * math.log10(peak**2 / error)


def uniform_ssim(sr: NDArray[np.float64], hr: NDArray[np.float64], window: int = 7) -> float:
    """Returns SSIM with an even window and sample covariance: what scikit-image gives when nothing is set.

    Args:
        sr: (H, W, C) on 0..255.
        hr: the same.
        window: side of the window, 7 in scikit-image.
    """
    count = window * window

    def mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        summed = np.pad(x.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))
        inner = summed[window:, window:] - summed[:-window, window:] - summed[window:, :-window]
        return np.asarray((inner + summed[:-window, :-window]) / count)

    mu1, mu2 = mean(sr), mean(hr)
    unbiased = count / (count - 1)
    v1, v2 = unbiased * (mean(sr * sr) - mu1**2), unbiased * (mean(hr * hr) - mu2**2)
    covariance = unbiased * (mean(sr * hr) - mu1 * mu2)
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    numerator = (2 * mu1 * mu2 + c1) * (2 * covariance + c2)
    return float(np.mean(numerator / ((mu1**2 + mu2**2 + c1) * (v1 + v2 + c2))))


@dataclass(frozen=True)
class Explanation:
    """What explains an expected number.

    Attributes:
        ours: the paper's convention on the pictures at hand, or the most similar where they are too small for it.
        matches: readings within the tolerance, the most usual first.
        nearest: the reading closest to the expectation, where none matches.
    """

    ours: Reading
    matches: list[Reading]
    nearest: Reading

    @property
    def is_papers(self) -> bool:
        """Whether :attr:`ours` is the paper's convention; small pictures leave nothing inside its border."""
        return self.ours.border_px == PAPER_BORDER_PX


def explain(
    sr: Pixels, hr: Pixels, expected: float, *, quantity: Quantity | None = None, tolerance: float | None = None
) -> Explanation:
    """Returns which conventions give the expected number.

    Args:
        sr: picture under test.
        hr: the original.
        expected: the number that someone expected.
        quantity: "psnr" or "ssim"; None takes SSIM for numbers up to 1.
        tolerance: None is half of the last digit that papers print: 0.005 dB, or 0.00005.

    Raises:
        EvaluationError: if the pictures cannot be compared or are too small, the number is not finite, or the quantity
            is another.
    """
    if quantity is not None and quantity not in get_args(Quantity):
        raise EvaluationError(f"no quantity {quantity!r}; there are {', '.join(get_args(Quantity))}")
    if not math.isfinite(expected):
        raise EvaluationError(f"the expected value is {expected}; give a number in dB, or an SSIM")
    quantity = quantity or ("ssim" if abs(expected) <= 1.0 else "psnr")
    within = tolerance if tolerance is not None else (0.005 if quantity == "psnr" else 0.00005)
    direct = readings(sr, hr, quantity)
    found = [r for r in direct if _off(r, expected) <= within]
    candidates = direct
    if not found:
        candidates = direct + kernels(hr, quantity)
        found = [r for r in candidates if _off(r, expected) <= within]
    found.sort(key=lambda r: (r.unusual, _off(r, expected)))
    return Explanation(direct[0], found, min(candidates, key=lambda r: _off(r, expected)))


def _off(reading: Reading, expected: float) -> float:
    # half a last digit, as printed numbers are rounded, and a little for the arithmetic
    return abs(reading.value - expected) - 1e-9

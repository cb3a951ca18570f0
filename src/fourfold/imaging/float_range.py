"""Floating-point pictures that go beyond 1: how their values come into 0..1, and back.

There are two kinds. In one, 1 is white and what lies above it are highlights (high dynamic range): a lamp may be a
thousand times as bright as the wall beside it. Divided by that, the wall would lie below the network's own error of
about 0.001, and be gone. So values up to 1 take three quarters of the range, and what lies above takes the rest by
its logarithm. In the other kind the numbers are another scale, 0..255 say, and the largest is white: they are divided
by it.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The part of the range that values up to 1 take where there are highlights.
_UP_TO_ONE = 0.75
#: Where at least this part of the values that are neither black nor 1 lies in between, 1 is white.
_ORDINARY_SHARE = 0.25
#: Alpha that goes beyond 1 by no more than this has overshot in some resampling; it means 1.
_OVERSHOOT = 1.1
#: Values below 0 by no more than this are 0, after some computation.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class FloatRange:
    """What 1.0 stands for once a floating-point picture is in 0..1.

    Attributes:
        peak: the largest colour, or 1 where none goes beyond.
        alpha_peak: the same of alpha.
        highlights: 1 is white, and what lies above it up to the peak are highlights; else the peak is white.
        below: how many values lie below 0, which a picture cannot show.
        no_numbers: how many are NaN.
        infinite: how many are infinite, above all numbers.
        odd_alpha: how many of alpha are NaN, or lie below 0.
    """

    peak: float = 1.0
    alpha_peak: float = 1.0
    highlights: bool = False
    below: int = 0
    no_numbers: int = 0
    infinite: int = 0
    odd_alpha: int = 0

    def notes(self) -> list[str]:
        """Returns in words what is lost on the way into 0..1."""
        lost = {
            "below 0 were cut off": self.below,
            "that are no numbers (NaN) became black": self.no_numbers,
            "beyond all numbers became the largest one": self.infinite,
            "of alpha that are below 0 or no numbers (NaN) became transparent": self.odd_alpha,
        }
        return [f"values {what}: {count:,} of them" for what, count in lost.items() if count]


class Census:
    """Finds the range of a picture's values, from all of its rows; colours that alpha hides mean nothing.

    Args:
        channels: of colour; one more is alpha.
        negative: colours whose 0 is white: there are no highlights above their black.
    """

    def __init__(self, channels: int, *, negative: bool = False) -> None:
        self._channels, self._negative = channels, negative
        self._colour = self._alpha = 0.0
        self._between = self._beyond = self._below = self._no_numbers = self._infinite = self._odd_alpha = 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Takes rows into account, (rows, width, channels and alpha); NaN and infinity count as nothing."""
        colour, alpha = rows[:, :, : self._channels], rows[:, :, self._channels :]
        if alpha.shape[2]:
            colour = colour[alpha[:, :, 0] > 0.0]  # false where alpha is NaN
        self._colour = max(self._colour, _largest(colour))
        self._alpha = max(self._alpha, _largest(alpha))
        self._between += int(np.count_nonzero((colour > 0.0) & (colour < 1.0)))
        self._beyond += int(np.count_nonzero((colour > 1.0) & np.isfinite(colour)))
        self._below += int(np.count_nonzero(colour < -_ROUNDING))
        self._no_numbers += int(np.count_nonzero(np.isnan(colour)))
        self._infinite += int(np.count_nonzero(np.isposinf(colour)))
        self._odd_alpha += int(np.count_nonzero(np.isnan(alpha) | (alpha < -_ROUNDING)))

    def range(self) -> FloatRange:
        """Returns what the rows so far say.

        Alpha that goes beyond 1 counts as the colours do (0..255, say), so that half of that is half transparent though
        no pixel may be opaque.
        """
        peak = max(1.0, self._colour)
        ordinary = self._between >= _ORDINARY_SHARE * (self._between + self._beyond)
        highlights = peak > 1.0 and ordinary and not self._negative
        white = 1.0 if highlights else peak
        alpha_peak = max(white, self._alpha) if self._alpha > _OVERSHOOT else 1.0
        return FloatRange(peak, alpha_peak, highlights, self._below, self._no_numbers, self._infinite, self._odd_alpha)


def _largest(x: NDArray[np.float32]) -> float:
    return float(np.max(x, initial=0.0, where=np.isfinite(x)))


def to_range(
    x: NDArray[np.float32], peak: float, *, highlights: bool = False, negative: bool = False
) -> NDArray[np.float32]:
    """Returns floating-point samples in 0..1; NaN and what lies below zero become 0.

    Args:
        x: as stored.
        peak: the value that becomes 1.0.
        highlights: what lies above 1 takes the last quarter, by its logarithm; else all is divided by the peak.
        negative: 1 minus that, for colours whose peak is black; NaN is black there, too.
    """
    if highlights and not _is_plain(peak):
        return _compressed(np.nan_to_num(x, nan=0.0, posinf=peak, neginf=0.0), peak)
    with np.errstate(invalid="ignore"):  # NaN of the signalling kind, of which numpy would warn
        finite = np.nan_to_num(x / np.float32(peak), nan=float(negative), posinf=1.0, neginf=0.0)
    inside = np.asarray(np.clip(finite, 0.0, 1.0), dtype=np.float32)
    return np.float32(1.0) - inside if negative else inside


def _compressed(x: NDArray[np.float32], peak: float) -> NDArray[np.float32]:
    """Returns ``a x`` up to 1 and ``a + b log(1 + (x - 1) a / b)`` above, which has the same slope there."""
    a, b = np.float32(_UP_TO_ONE), np.float32(_unit(peak))
    with np.errstate(over="ignore"):  # near the largest float32; clipped to 1, which the peak stands for
        above = b * np.log1p(np.maximum(x - np.float32(1.0), 0.0) * (a / b))
    return np.asarray(np.clip(a * np.minimum(x, 1.0) + above, 0.0, 1.0), np.float32)


def from_range(x: NDArray[np.float32], peak: float, *, highlights: bool = False) -> NDArray[np.float32]:
    """Returns samples in 0..1 as the file has them: what :func:`to_range` was given, but for what it cut off."""
    if not highlights or _is_plain(peak):
        return np.asarray(x * np.float32(peak), np.float32)
    a, b = _UP_TO_ONE, _unit(peak)
    wide = x.astype(np.float64)
    above = np.expm1(np.maximum(wide - a, 0.0) / b) * (b / a)
    return np.asarray(np.minimum(wide, a) / a + above, np.float32)


def image_from_range(image: Any, peak: float, *, highlights: bool = False) -> Any:
    """Returns a libvips image's samples in 0..1 as the file has them; as :func:`from_range`."""
    if not highlights or _is_plain(peak):
        return (image * peak).cast("float")
    a, b = _UP_TO_ONE, _unit(peak)
    wide = image.cast("double")
    above = (((wide - a) / b).exp() - 1.0) * (b / a) + 1.0
    return (wide > a).ifthenelse(above, wide / a).cast("float")


def white_in_range(peak: float, *, highlights: bool = False) -> float:
    """Returns what :func:`to_range` makes of white, where what lies above it is compressed; else 1."""
    return _UP_TO_ONE if highlights and not _is_plain(peak) else 1.0


def _is_plain(peak: float) -> bool:
    """Says whether dividing by the peak leaves values up to 1 their part of the range already."""
    return peak * _UP_TO_ONE <= 1.0


@lru_cache(maxsize=64)
def _unit(peak: float) -> float:
    """Returns the ``b`` for which the peak becomes 1, by bisection: the larger it is, the more the peak becomes."""
    low, high = 1e-9, 1e9
    for _ in range(100):
        middle = math.sqrt(low * high)
        reached = middle * math.log1p((peak - 1.0) * _UP_TO_ONE / middle)
        low, high = (middle, high) if reached < 1.0 - _UP_TO_ONE else (low, middle)
    return high

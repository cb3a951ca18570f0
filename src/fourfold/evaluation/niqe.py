"""NIQE: how natural a picture looks, without an original (Mittal, Soundararajan and Bovik 2013).

A picture is made locally of even brightness and contrast, cut into blocks, and each block described by 36 numbers
on two scales: the shapes of generalised Gaussians fitted to its values and to the products of its neighbours. NIQE
is the distance between the blocks' statistics and those of pristine photographs. Lower is more natural; 3 to 4 is
usual for photographs, 6 to 8 for bicubic enlargements.

The pristine statistics are the authors' parameters and come from a file. Their sharpness threshold (0.75 of the
sharpest block) belongs to the making of that file: of a picture under test every block counts, since blur is part
of what is measured (section II-D of the paper).
"""

import math
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.evaluation.metrics import Channel, planes
from fourfold.imaging import resize_array

BLOCK_PX = 96
FEATURES = 36
#: The neighbours whose products are described: right, below, below right, below left.
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
#: Differences from the local mean below this, of 255, are rounding errors of a sum: the ground is even. Left in, their
#: signs would count, and NIQE of a picture would change by up to 0.3 when one is added to all of its luma.
_ROUNDING = 1e-9
#: What rounding may leave of a covariance's asymmetry and of its eigenvalues below zero, of the largest.
_COVARIANCE_ROUNDING = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PristineModel:
    """Statistics of pristine photographs.

    Attributes:
        mean: (36,) mean of the features.
        covariance: (36, 36) their covariance.
    """

    mean: Floats
    covariance: Floats


def load_pristine(path: str | Path) -> PristineModel:
    """Returns the pristine statistics of an ``.npz`` file with ``mu_pris_param`` and ``cov_pris_param``.

    Raises:
        EvaluationError: if the file is missing, damaged, or holds other shapes, complex numbers, values that are not
            finite, or what is no covariance.
    """
    try:
        # opened here: numpy leaves a file open that is no archive
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            mean = _real(file["mu_pris_param"]).reshape(-1)
            covariance = _real(file["cov_pris_param"])
    except TypeError as error:
        raise EvaluationError(f"{path}: no NIQE parameters (a single array; an .npz holds several)") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise EvaluationError(f"{path}: no NIQE parameters ({error})") from error
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
        raise EvaluationError(f"{path}: NIQE parameters of shapes {mean.shape} and {covariance.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise EvaluationError(f"{path}: NIQE parameters that are not finite (NaN or infinity)")
    if reason := _why_no_covariance(covariance):
        raise EvaluationError(f"{path}: cov_pris_param of the NIQE parameters is no covariance ({reason})")
    return PristineModel(mean, covariance)


def _real(values: NDArray[Any]) -> Floats:
    """Returns values as float64.

    Raises:
        ValueError: if they are complex, of which numpy would drop half, or no numbers.
    """
    if np.iscomplexobj(values):
        raise ValueError("complex numbers")
    return np.asarray(values, dtype=np.float64)


def _why_no_covariance(matrix: Floats) -> str | None:
    """Returns, in words, what a covariance cannot be and this matrix is; None where it may be one."""
    if np.abs(matrix - matrix.T).max() > _COVARIANCE_ROUNDING * np.abs(matrix).max():
        return "it is not symmetric"
    eigenvalues = np.linalg.eigvalsh(matrix)
    if eigenvalues[0] < -_COVARIANCE_ROUNDING * eigenvalues[-1]:
        return f"it has a negative eigenvalue, {eigenvalues[0]:.3g}"
    return None


def niqe(
    picture: NDArray[Any],
    pristine: PristineModel,
    *,
    channel: Channel = "y",
    border_px: int = 4,
    rounded: bool = True,
) -> float:
    """Returns NIQE; lower is more natural.

    Args:
        picture: (H, W, 3), (H, W, 1) or (H, W); uint8, uint16, or floating in 0..1.
        pristine: the statistics of :func:`load_pristine`.
        channel: "y" (studio-range luma, as the super-resolution literature takes it) or "y-full".
        border_px: pixels cut from every border first.
        rounded: whether luma is rounded to 8 bits, as the authors' program reads it.

    Raises:
        EvaluationError: if fewer than two blocks of 96x96 pixels fit inside the border, all but one of them are
            flat, or channel is "rgb".
    """
    if channel == "rgb":
        raise EvaluationError("NIQE describes one plane; choose the channel 'y' or 'y-full'")
    luma = planes(picture, channel=channel, rounded=rounded)[..., 0]
    height, width = luma.shape
    inside = luma[border_px : height - border_px, border_px : width - border_px]
    rows, columns = inside.shape[0] // BLOCK_PX, inside.shape[1] // BLOCK_PX
    if rows * columns < 2:
        raise EvaluationError(
            f"NIQE needs two blocks of {BLOCK_PX}x{BLOCK_PX} pixels; {width}x{height} with a border of "
            f"{border_px} px holds {rows * columns}"
        )
    features = block_features(inside[: rows * BLOCK_PX, : columns * BLOCK_PX])
    textured = features[np.isfinite(features).all(axis=1)]
    if len(textured) < 2:
        raise EvaluationError("NIQE needs two blocks with some texture; this picture is flat")
    difference = pristine.mean - np.nanmean(features, axis=0)
    pooled = np.linalg.pinv((pristine.covariance + np.cov(textured, rowvar=False)) / 2.0)
    return math.sqrt(max(0.0, float(difference @ pooled @ difference)))  # rounding may leave a little less than zero


def block_features(luma: Floats) -> Floats:
    """Returns (blocks, 36) features of a plane whose sides are multiples of 96, on the scale 0..255.

    A block without any texture has no distribution to fit; its features are NaN, as in the authors' program.
    """
    columns = []
    for block_px in (BLOCK_PX, BLOCK_PX // 2):
        normalised = _normalised(luma)
        columns.append([_features(block) for block in _blocks(normalised, block_px)])
        luma = resize_array(luma, (luma.shape[0] // 2, luma.shape[1] // 2))
    return np.concatenate([np.asarray(c) for c in columns], axis=1)


def _blocks(plane: Floats, block_px: int) -> list[Floats]:
    height, width = plane.shape
    return [
        plane[top : top + block_px, left : left + block_px]
        for top in range(0, height, block_px)
        for left in range(0, width, block_px)
    ]


def _normalised(luma: Floats) -> Floats:
    """Returns the plane with the local mean taken away, divided by the local deviation plus one."""
    mean = _blurred(luma)
    deviation = np.sqrt(np.abs(_blurred(luma * luma) - mean * mean))
    difference = luma - mean
    difference[np.abs(difference) < _ROUNDING] = 0.0
    return difference / (deviation + 1.0)


def _blurred(plane: Floats) -> Floats:
    """Returns the plane under a 7x7 Gaussian of sigma 7/6, its borders continued outward."""
    window = np.exp(-0.5 * (np.arange(-3, 4) / (7.0 / 6.0)) ** 2)
    window /= window.sum()
    height, width = plane.shape
    padded = np.pad(plane, 3, mode="edge")
    rows = sum(weight * padded[k : k + height] for k, weight in enumerate(window))
    return np.asarray(sum(weight * rows[:, k : k + width] for k, weight in enumerate(window)))


def _features(block: Floats) -> list[float]:
    """Returns the 18 features of one block on one scale."""
    shape, left, right = _asymmetric_gaussian(block)
    features = [shape, (left + right) / 2.0]
    for shift in _SHIFTS:
        shape, left, right = _asymmetric_gaussian(block * np.roll(block, shift, axis=(0, 1)))
        mean = (right - left) * _mean_factor(shape)
        features += [shape, mean, left, right]
    return features


def _asymmetric_gaussian(values: Floats) -> tuple[float, float, float]:
    """Returns shape, left and right scale of an asymmetric generalised Gaussian, matched by moments.

    Lasmar, Stitou and Berthoumieu 2009; the shape is looked up in steps of 0.001 from 0.2 to 10.
    """
    squares = values * values
    left = math.sqrt(_mean(squares[values < 0.0]))
    right = math.sqrt(_mean(squares[values > 0.0]))
    energy = float(squares.mean())
    if left == 0.0 or right == 0.0 or energy == 0.0:
        return math.nan, math.nan, math.nan
    ratio = left / right
    spread = float(np.abs(values).mean()) ** 2 / energy
    wanted = spread * (ratio**3 + 1.0) * (ratio + 1.0) / (ratio**2 + 1.0) ** 2
    shapes, spreads = _shape_table()
    shape = float(shapes[np.argmin((spreads - wanted) ** 2)])
    scale = math.sqrt(math.gamma(1.0 / shape) / math.gamma(3.0 / shape))
    return shape, left * scale, right * scale


def _mean_factor(shape: float) -> float:
    return math.nan if math.isnan(shape) else math.gamma(2.0 / shape) / math.gamma(1.0 / shape)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else 0.0


@lru_cache(maxsize=1)
def _shape_table() -> tuple[Floats, Floats]:
    """Returns shapes and, for each, squared mean magnitude over energy."""
    shapes = np.arange(200, 10001) / 1000.0
    spreads = [math.gamma(2.0 / a) ** 2 / (math.gamma(1.0 / a) * math.gamma(3.0 / a)) for a in shapes]
    return shapes, np.asarray(spreads)

"""The one resampler of the house: MATLAB's ``imresize``, for numpy arrays and torch tensors alike.

Every published super-resolution number rests on LR pictures made by MATLAB's ``imresize``: a cubic with
a = -0.5, widened by the factor when shrinking (antialiasing), pictures mirrored at their edges. OpenCV
(a = -0.75, no antialiasing), Pillow (other rounding) and torch's ``interpolate`` (other edges) all give
other pictures, worth up to several dB.

A resize is separable, and each axis is a small table of taps: for every output sample, which input samples it
reads and with what weights. :func:`taps` makes the table, :func:`apply_taps` uses it on numpy arrays and on
torch tensors with the same lines, and :func:`matrix` gives it as a dense matrix for batches of small crops on an
accelerator, where one matrix product is the fastest way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kernel = Literal["nearest", "bilinear", "bicubic", "lanczos", "gaussian"]

#: Standard deviation, in LR pixels, of the Gaussian degradation. Ledig et al. 2017 (section 3.2) name the
#: filter without its width; 0.4 LR pixels is sigma = 1.6 HR pixels at 4x, the common choice since.
GAUSSIAN_SIGMA_LR_PX = 0.4


@dataclass(frozen=True)
class Taps:
    """Which input samples make each output sample.

    Attributes:
        indices: (n_out, taps) positions in the input, already mirrored into range.
        weights: (n_out, taps) float64 weights; every row sums to 1.
        n_in: length of the input axis.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    n_in: int


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5 (Keys 1981, eq. 15)."""
    a = np.abs(x)
    inner = 1.5 * a**3 - 2.5 * a**2 + 1.0
    outer = -0.5 * a**3 + 2.5 * a**2 - 4.0 * a + 2.0
    return inner * (a <= 1.0) + outer * ((a > 1.0) & (a <= 2.0))


def _lanczos3(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sinc(x) * np.sinc(x / 3.0) * (np.abs(x) < 3.0)


def _gaussian(x: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = np.abs(x) <= 4.0 * GAUSSIAN_SIGMA_LR_PX
    return np.exp(-0.5 * (x / GAUSSIAN_SIGMA_LR_PX) ** 2) * reach


#: kernel name -> (function of the distance in samples, full width, widened when shrinking)
_KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float, bool]] = {
    "nearest": (_box, 1.0, False),
    "bilinear": (_triangle, 2.0, True),
    "bicubic": (_cubic, 4.0, True),
    "lanczos": (_lanczos3, 6.0, True),
    # 4 sigma to each side; widened, so that "one sample" is one LR pixel when shrinking
    "gaussian": (_gaussian, 8.0 * GAUSSIAN_SIGMA_LR_PX, True),
}


@lru_cache(maxsize=16)  # those of a large axis take megabytes
def taps(n_in: int, n_out: int, scale: float | None = None, kernel: Kernel = "bicubic") -> Taps:
    """Returns the taps that resize an axis of ``n_in`` samples to ``n_out``.

    Args:
        n_in: input length, at least 1.
        n_out: output length, at least 1.
        scale: the exact factor where it is not ``n_out / n_in`` (a picture of 7 pixels shrunk 4x has 2, and
            MATLAB samples it at the factor 1/4, not 2/7).
        kernel: interpolation kernel.

    Raises:
        ValueError: for an unknown kernel or an empty axis.
    """
    if kernel not in _KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; there are {', '.join(_KERNELS)}")
    if n_in < 1 or n_out < 1:
        raise ValueError(f"cannot resize an axis of {n_in} samples to {n_out}")
    factor = n_out / n_in if scale is None else float(scale)
    function, width, widens = _KERNELS[kernel]
    shrink = min(factor, 1.0) if widens else 1.0
    width = width / shrink
    # Output sample k (from 1) lies at u in input coordinates; pixel areas, not pixel centres, are matched.
    centre = np.arange(1, n_out + 1, dtype=np.float64) / factor + 0.5 * (1.0 - 1.0 / factor)
    left = np.floor(centre - width / 2.0)
    count = int(np.ceil(width)) + 2
    indices = left[:, None] + np.arange(count)[None, :]
    weights = shrink * function(shrink * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(n_in), np.arange(n_in)[::-1]])
    positions = mirrored[np.mod(indices.astype(np.int64) - 1, 2 * n_in)]
    used = np.any(weights != 0.0, axis=0)
    positions, weights = positions[:, used], weights[:, used]
    positions.setflags(write=False)
    weights.setflags(write=False)
    return Taps(positions, weights, n_in)


def matrix(n_in: int, n_out: int, scale: float | None = None, kernel: Kernel = "bicubic") -> NDArray[np.float64]:
    """Returns the resize of one axis as a dense (n_out, n_in) matrix: ``matrix @ column``."""
    table = taps(n_in, n_out, scale, kernel)
    dense = np.zeros((n_out, n_in))
    np.add.at(dense, (np.arange(n_out)[:, None], table.indices), table.weights)
    return dense


def apply_taps(x: Any, table: Taps, axis: int) -> Any:
    """Resizes one axis of a floating numpy array or torch tensor; the kind, dtype and device stay.

    Args:
        x: array or tensor of any rank.
        table: the taps of that axis.
        axis: which axis, may be negative.
    """
    if x.shape[axis] != table.n_in:
        raise ValueError(f"axis {axis} has {x.shape[axis]} samples, the taps were made for {table.n_in}")
    axis = axis % x.ndim
    shape = [1] * x.ndim
    shape[axis] = -1
    indices, weights = _like(x, table)
    before = (slice(None),) * axis
    total = x[(*before, indices[:, 0])] * weights[:, 0].reshape(shape)
    for k in range(1, indices.shape[1]):
        total += x[(*before, indices[:, k])] * weights[:, k].reshape(shape)
    return total


def _like(x: Any, table: Taps) -> tuple[Any, Any]:
    """Returns indices and weights as the same kind of array as ``x``, on its device, in its dtype."""
    if isinstance(x, np.ndarray):
        return table.indices, table.weights.astype(x.dtype)
    import torch  # only reached with a tensor in hand, so torch is there

    return (
        torch.from_numpy(table.indices.copy()).to(x.device),
        torch.from_numpy(table.weights.copy()).to(device=x.device, dtype=x.dtype),
    )


def output_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Returns (height, width) after a resize by ``scale``: rounded up, as MATLAB does."""
    return max(1, int(np.ceil(height * scale - 1e-9))), max(1, int(np.ceil(width * scale - 1e-9)))


def imresize(
    image: NDArray[Any],
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    kernel: Kernel = "bicubic",
) -> NDArray[Any]:
    """Returns the picture resized as MATLAB's ``imresize`` does it.

    Args:
        image: (H, W) or (H, W, C). uint8 and uint16 are computed in float64 and come back rounded (half up) and
            saturated in their own dtype; floating arrays come back in their dtype, not clamped.
        scale: factor, such as 0.25 or 4; the size is rounded up.
        size: (height, width) instead of a factor.
        kernel: interpolation kernel; "gaussian" is the degradation of the paper's method section
            (Ledig et al. 2017, section 3.2), meaningful when shrinking only.

    Raises:
        ValueError: unless exactly one of ``scale`` and ``size`` is given, and above 0; for an empty picture or another
            dtype.
    """
    if (scale is None) == (size is None):
        raise ValueError("imresize needs either a scale or a size")
    if image.ndim not in (2, 3):
        raise ValueError(f"imresize takes (H, W) or (H, W, C), not {image.shape}")
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"imresize by a scale of {scale}; it must be above 0")
    if size is not None and min(size) < 1:
        raise ValueError(f"imresize to {size}; a picture has at least one pixel")
    if image.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"imresize takes uint8, uint16 or floating arrays, not {image.dtype}")
    height, width = image.shape[:2]
    out_height, out_width = size if size is not None else output_size(height, width, scale or 1.0)
    dtype = image.dtype
    integer = np.issubdtype(dtype, np.integer)
    x = image.astype(np.float64 if integer or dtype == np.float64 else np.float32)
    resized = resize_array(x, (out_height, out_width), scale=scale, kernel=kernel, axes=(0, 1))
    if not integer:
        return np.asarray(resized, dtype=dtype)
    top = np.iinfo(dtype).max
    return np.asarray(np.clip(np.floor(resized + 0.5), 0, top), dtype=dtype)


def resize_array(
    x: Any,
    size: tuple[int, int],
    *,
    scale: float | None = None,
    kernel: Kernel = "bicubic",
    axes: tuple[int, int] = (-2, -1),
) -> Any:
    """Resizes a floating numpy array or torch tensor along two axes; values are not clamped.

    Args:
        x: array or tensor; (..., H, W) with the default axes, (H, W, C) with ``axes=(0, 1)``.
        size: (height, width) of the result.
        scale: the exact factor where it is not the ratio of the sizes.
        kernel: interpolation kernel.
        axes: the vertical and the horizontal axis.
    """
    vertical = taps(x.shape[axes[0]], size[0], scale, kernel)
    horizontal = taps(x.shape[axes[1]], size[1], scale, kernel)
    # MATLAB resizes the axis with the smaller factor first; it is also the cheaper order.
    if size[0] / x.shape[axes[0]] <= size[1] / x.shape[axes[1]]:
        return apply_taps(apply_taps(x, vertical, axes[0]), horizontal, axes[1])
    return apply_taps(apply_taps(x, horizontal, axes[1]), vertical, axes[0])

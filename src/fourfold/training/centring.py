"""Centring: takes the constant colour cast out of a trained network, by the last convolution's bias alone."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import DataError, WeightsError
from fourfold.imaging import imresize
from fourfold.weights import WeightsFile

Picture = NDArray[Any]


def colour_cast(restore: Callable[[Picture], Picture], originals: Iterable[Picture], scale: int) -> NDArray[np.float64]:
    """Returns by how much a network is off in mean colour over all pictures together, per channel.

    What differs from picture to picture averages out; what stays is constant. Training in bf16 leaves such a
    constant: the last bias learns to make up for how that forward rounds its weights, which the forward at use
    does not do.

    Args:
        restore: from LR to SR, (h, w, 3) uint8 to (scale * h, scale * w, 3) uint8.
        originals: (H, W, 3) uint8, every side at least the scale; cropped to a multiple of it.
        scale: the network's factor.

    Returns:
        (3,), SR shrunk by the exact bicubic minus LR, in units of the 0..1 range; each picture counts once.

    Raises:
        DataError: if there is no picture.
    """
    found = []
    for hr in originals:
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        lr = imresize(hr, 1 / scale)
        again = imresize(restore(lr) / 255.0, 1 / scale)
        found.append((again - lr / 255.0).mean(axis=(0, 1)))
    if not found:
        raise DataError("there is no picture to measure the colour cast on")
    return np.asarray(np.mean(found, axis=0), dtype=np.float64)


def centred(weights: WeightsFile, cast: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """Returns a network's tensors, its pictures' colour moved by ``-cast``.

    Args:
        weights: of an SRResNet, whose last convolution puts out -1..1.
        cast: (3,) in units of the 0..1 range.

    Raises:
        WeightsError: for another architecture: those on luma have no colour to move.
    """
    if weights.config.architecture != "srresnet":
        raise WeightsError(f"{weights.path}: only an SRResNet can be centred, not {weights.config.architecture!r}")
    bias = weights.tensors["tail.bias"]
    return {**weights.tensors, "tail.bias": (bias - 2.0 * cast).astype(bias.dtype)}

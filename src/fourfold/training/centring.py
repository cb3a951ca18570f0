"""Colour casts of trained networks, measured: the constant one, which the last bias takes out, and the dial's."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import DataError, WeightsError
from fourfold.imaging import find_pictures, imresize
from fourfold.training.pictures import read_planes
from fourfold.weights import WeightsFile

Picture = NDArray[Any]
Restore = Callable[[Picture], Picture]

#: Casts are measured on the middles of so many pictures, evenly spread over a folder's.
MIDDLES, MIDDLE_PX = 128, 256


def middles(folder: Path) -> list[Picture]:
    """Returns parts of pictures to measure casts on: (h, w, 3) uint8, each side at most MIDDLE_PX.

    Raises:
        PictureError: if the folder or one of those pictures cannot be read.
    """
    paths = find_pictures(folder, recursive=True)
    return [_middle(read_planes(path).transpose(1, 2, 0)) for path in paths[:: -(-len(paths) // MIDDLES)]]


def _middle(picture: Picture) -> Picture:
    top, left = (max(0, side - MIDDLE_PX) // 2 for side in picture.shape[:2])
    return picture[top : top + MIDDLE_PX, left : left + MIDDLE_PX]


def colour_cast(restore: Restore, originals: Iterable[Picture], scale: int) -> NDArray[np.float64]:
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
    found = [(again - lr).mean(axis=(0, 1)) for again, lr in _there_and_back(restore, originals, scale)]
    return np.asarray(np.mean(found, axis=0), dtype=np.float64)


def colour_correction(
    restore: Restore, originals: Iterable[Picture], scale: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns what is to be added to a network's colours so that SR, shrunk, is nearest to LR (least squares).

    Args:
        restore: as for :func:`colour_cast`.
        originals: likewise.
        scale: likewise.

    Returns:
        The (3, 3) matrix and the (3,) offset of ``matrix @ colour + offset``, colours in 0..1; each pixel counts once.

    Raises:
        DataError: if there is no picture.
    """
    pairs = [(again.reshape(-1, 3), lr.reshape(-1, 3)) for again, lr in _there_and_back(restore, originals, scale)]
    again, lr = (np.concatenate(side) for side in zip(*pairs, strict=True))
    found = np.linalg.lstsq(np.column_stack([again, np.ones(len(again))]), lr - again, rcond=None)[0]
    return found[:3].T, found[3]


def _there_and_back(restore: Restore, originals: Iterable[Picture], scale: int) -> Iterator[tuple[Picture, Picture]]:
    """Yields what the restored LR of each original is when it is shrunk again, and LR; both in 0..1."""
    none = True
    for hr in originals:
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        lr = imresize(hr, 1 / scale)
        yield imresize(restore(lr) / 255.0, 1 / scale), lr / 255.0
        none = False
    if none:
        raise DataError("there is no picture to measure colours on")


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

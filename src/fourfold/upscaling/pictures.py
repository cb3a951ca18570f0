"""Whole pictures in memory: a :class:`Picture` in, a larger one out, with everything that belongs to it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import PictureError
from fourfold.imaging import (
    MAX_PIXELS,
    TRACES_NOTE,
    Picture,
    fill_hidden,
    picture_was_compressed,
    read_picture,
)
from fourfold.imaging.arrays import plain_array
from fourfold.imaging.colour import FLOAT_LIMIT
from fourfold.upscaling.alpha import enlarged_alpha, sharing_memory
from fourfold.upscaling.choosing import Automatic
from fourfold.upscaling.upscaler import Upscaler, load


def upscale(
    source: "str | Path | bytes | Picture | NDArray[Any]",
    model: str | Path | None = None,
    *,
    engine: str = "auto",
    precision: str = "auto",
    fidelity: float | None = None,
    faithful: str | Path | None = None,
    max_memory: int | str | None = None,
    ensemble: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Returns a picture made larger; for several pictures, :func:`fourfold.load` the upscaler once.

    Args:
        source: a file, its bytes, a Picture, or an array: (H, W) or (H, W, 1) grey, (H, W, 3) RGB, (H, W, 2) and
            (H, W, 4) with alpha; uint8, uint16 or float32 in 0..1.
        model: a shipped name or a weights file; None for the one that suits the picture: there is one for those that
            were compressed, now or earlier.
        engine: "auto", "openvino" or "torch".
        precision: "auto", "fp32" or "bf16".
        fidelity: 0 (``model`` itself) to 1 (the faithful network).
        faithful: the faithful network, a name or a file; the shipped one that ``model`` began from if None.
        max_memory: for the upscaling itself; the result comes on top.
        ensemble: give the mean over the eight turned and mirrored versions, in eight times the time.
        max_pixels: refuse larger files by their header.

    Raises:
        FourfoldError: see :func:`fourfold.load` and :func:`fourfold.imaging.read_picture`.
    """
    picture = _as_picture(source, max_pixels)
    automatic = Automatic(
        partial(
            load,
            engine=engine,
            precision=precision,
            fidelity=fidelity,
            faithful=faithful,
            max_memory=max_memory,
            ensemble=ensemble,
        )
    )
    if model is not None:
        return upscale_picture(picture, automatic.named(model))
    compressed = picture_was_compressed(picture)
    large = upscale_picture(picture, automatic.suited(compressed))
    if compressed and not picture.metadata.compressed:
        large.metadata.notes.append(TRACES_NOTE)
    return large


def upscale_picture(
    picture: Picture,
    upscaler: Upscaler,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Picture:
    """Returns the picture made larger, with its alpha, colour profile, EXIF, XMP and DPI.

    Args:
        picture: what to enlarge.
        upscaler: from :func:`fourfold.load`.
        progress: called with the finished and all tiles.
        cancelled: asked before every tile.

    Raises:
        CancelledError: once ``cancelled`` returns True.
        EngineError: if the engine fails.
        PictureError: if floating-point colours or alpha lie beyond 0..1.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is not None:
        alpha = _checked_alpha(alpha)
        pixels = fill_hidden(pixels, alpha)
        upscaler = sharing_memory(upscaler)
    enlarged = upscaler(pixels, white=picture.metadata.white, progress=progress, cancelled=cancelled)
    if alpha is not None:
        alpha = enlarged_alpha(alpha, upscaler, cancelled)
    return Picture(enlarged, alpha, picture.metadata.enlarged(upscaler.scale))


def _checked_alpha(alpha: NDArray[Any]) -> NDArray[Any]:
    """Returns alpha on 0..1 where it is floating point; NaN is transparent, as it is black in colours."""
    if alpha.dtype != np.float32:
        return alpha
    alpha = np.where(np.isnan(alpha), np.float32(0), alpha)
    if alpha.size and (alpha.max() > FLOAT_LIMIT or alpha.min() < 1 - FLOAT_LIMIT):
        raise PictureError(
            f"float32 alpha from {alpha.min():g} to {alpha.max():g}; it must lie in 0..1, where 1 is opaque"
        )
    return np.asarray(np.clip(alpha, 0.0, 1.0))  # what overshoots 0 a little is hidden


def _as_picture(source: "str | Path | bytes | Picture | NDArray[Any]", max_pixels: int) -> Picture:
    if isinstance(source, Picture):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return read_picture(bytes(source), max_pixels=max_pixels)
    if isinstance(source, str | Path):
        return read_picture(source, max_pixels=max_pixels)
    if not isinstance(source, np.ndarray):
        raise PictureError(
            f"a picture is a path, a file's bytes, a fourfold.Picture or a numpy array, not {type(source).__name__}; "
            "numpy.asarray makes an array of many things"
        )
    array = plain_array(source)
    if array.ndim == 3 and array.shape[2] in (2, 4):
        return Picture(np.ascontiguousarray(array[:, :, :-1]), np.ascontiguousarray(array[:, :, -1]))
    return Picture(array)

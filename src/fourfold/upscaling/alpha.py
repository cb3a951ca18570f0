"""Alpha through a network of its own: outlines as crisp as what they cut out.

The exact bicubic leaves the outline of a cut-out soft, and in stairs where it was cut without half-transparent pixels.
The network for compressed pictures draws it anew: of ours, it alone was shown edges that no camera makes, and it rings
beside none. Networks on luma, which are quick and there to be measured, and those that do not enlarge four times leave
alpha to the bicubic. ``benchmarks/alpha.py`` compares the two.
"""

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.imaging import enlarge_alpha
from fourfold.imaging.alpha import SOFT_REACH_PX, soft_edges, within_neighbours
from fourfold.upscaling.engines import Engine
from fourfold.upscaling.upscaler import Cancelled, Upscaler
from fourfold.weights import WeightsFile, load_weights, shipped_names

MODEL = "srresnet-jpeg"
SCALE = 4


class AlphaUpscaler(Upscaler):
    """Enlarges alpha, a picture of one channel; nothing leaves the range of the pixels that touch its own.

    So what is opaque stays so to the last bit, what is hidden stays hidden, and no texture grows.
    """

    def __init__(self, weights: WeightsFile, *, engine: str, precision: str) -> None:
        super().__init__(weights, engine=engine, precision=precision)
        self.halo_px += SOFT_REACH_PX
        self._reach_px += SOFT_REACH_PX

    def _run(self, engine: Engine, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        if rgb.min() == rgb.max():  # the bounds leave nothing to compute
            return np.full((rgb.shape[0] * self.scale, rgb.shape[1] * self.scale, 3), rgb.flat[0], np.float32)
        soft = np.repeat(soft_edges(rgb[:, :, :1]), 3, axis=2)
        return within_neighbours(super()._run(engine, soft), rgb)


def draws_alpha(upscaler: Upscaler) -> bool:
    """Says whether alpha beside an upscaler's pictures is drawn by the network, not enlarged by the bicubic."""
    if not isinstance(upscaler, Upscaler) or upscaler.scale != SCALE:
        return False
    return upscaler.weights.config.architecture == "srresnet" and MODEL in shipped_names()


def sharing_memory(upscaler: Upscaler) -> Upscaler:
    """Returns an upscaler with the memory that it has for colour, where alpha is drawn beside: half of it."""
    if not draws_alpha(upscaler):
        return upscaler
    half = copy(upscaler)
    half.max_memory = upscaler.max_memory // 2
    return half


def alpha_upscaler(upscaler: Upscaler, max_memory: int) -> Upscaler:
    """Returns the network for the alpha of an upscaler's pictures, on the same engine, within so many bytes.

    It came after the start, so what it holds itself counts.
    """
    alpha = copy(upscaler.companion(_load))
    alpha.max_memory = max(max_memory - alpha.engine_bytes, max_memory // 2)
    return alpha


def _load(engine: str, precision: str) -> Upscaler:
    return AlphaUpscaler(load_weights(MODEL), engine=engine, precision=precision)


def enlarged_alpha(alpha: NDArray[Any], upscaler: Upscaler, cancelled: Cancelled | None = None) -> NDArray[Any]:
    """Returns a picture's alpha, (H, W) of any dtype that an upscaler takes, made larger."""
    if draws_alpha(upscaler):
        return alpha_upscaler(upscaler, upscaler.max_memory)(alpha, cancelled=cancelled)
    height = len(alpha)
    return enlarge_alpha(alpha, 0, height, 0, height * upscaler.scale, upscaler.scale)


class AlphaBands:
    """The enlarged alpha of a picture that is streamed, in pieces as they are asked for, from top to bottom.

    Args:
        bands: of alpha, from an upscaler's ``stream``.
    """

    def __init__(self, bands: Iterator[NDArray[Any]]) -> None:
        self._bands = bands
        self._left: NDArray[Any] | None = None

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """Returns the next rows, (bottom - top, width)."""
        wanted, pieces = bottom - top, []
        while wanted:
            band = next(self._bands) if self._left is None else self._left
            pieces.append(band[:wanted, :, 0])
            wanted -= len(pieces[-1])
            self._left = band[len(pieces[-1]) :] if len(pieces[-1]) < len(band) else None
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

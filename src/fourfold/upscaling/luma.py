"""Networks that read luma alone, or an enlarged picture (SRCNN, ESPCN, DRCN), run like all others.

The network sees Y of BT.601 with its studio range 16..235 mapped to 0..1; the colours are enlarged by the exact
bicubic, as in the papers of those methods.
"""

import numpy as np
from numpy.typing import NDArray

from fourfold.imaging import resize_array, rgb_to_y
from fourfold.upscaling.engines import Engine
from fourfold.upscaling.graph import Graph

Array = NDArray[np.float32]


def run(engine: Engine, graph: Graph, window: Array) -> Array:
    """Returns the upscaled window, not clamped: (s*h, s*w, 3) from (h, w, 3), float32 RGB in 0..1."""
    if graph.reads == "rgb" and not graph.enlarged:
        return _through(engine, window)
    bicubic = enlarge(window, graph.scale)
    if graph.reads == "rgb":
        return _through(engine, bicubic)
    bicubic_y = _luma(bicubic)
    sr_y = _through(engine, bicubic_y if graph.enlarged else _luma(window))
    # In YCbCr, exchanging Y and keeping the colours adds the same to red, green and blue.
    sr: Array = bicubic + (sr_y - bicubic_y)
    return sr


def enlarge(window: Array, scale: int) -> Array:
    """Returns the window enlarged by the exact bicubic, not clamped."""
    size = (window.shape[0] * scale, window.shape[1] * scale)
    return np.asarray(resize_array(window, size, axes=(0, 1)), np.float32)


def _luma(rgb: Array) -> Array:
    studio = np.asarray(rgb_to_y(rgb), np.float32)[..., None]
    return (studio - np.float32(16.0)) / np.float32(219.0)


def _through(engine: Engine, x: Array) -> Array:
    """Returns (h, w, c) through an engine that takes and gives (1, c, h, w)."""
    sr: Array = engine.run(np.ascontiguousarray(x.transpose(2, 0, 1)[None]))[0]
    return sr.transpose(1, 2, 0)

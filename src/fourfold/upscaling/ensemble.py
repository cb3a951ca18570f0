"""Self-ensemble: the mean of what a network makes of a picture turned and mirrored in all eight ways.

A network sees a picture and its mirror image as two pictures, and is wrong about them in different ways; the mean is
nearer to the original than either. Source: Timofte et al., "Seven ways to improve example-based single image super
resolution", CVPR 2016, section 3.5; tables mark it with a plus.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

#: How many times the network runs.
TURNS = 8


def mean_over_turns(restore: Callable[[Array], Array], window: Array) -> Array:
    """Returns the mean of ``restore`` over the eight turned and mirrored versions of a window, each turned back.

    Args:
        restore: gives (s * h, s * w, 3) for (h, w, 3); asked for (s * w, s * h, 3), too.
        window: (h, w, 3).
    """
    total: Array | None = None
    for transposed, rows, columns in product((False, True), (1, -1), (1, -1)):
        turned = window.transpose(1, 0, 2) if transposed else window
        sr = restore(np.ascontiguousarray(turned[::rows, ::columns]))[::rows, ::columns]
        sr = sr.transpose(1, 0, 2) if transposed else sr
        if total is None:
            total = np.array(sr)
        else:
            total += sr
        del sr  # or it would still be there while the next one is made
    assert total is not None
    total /= np.float32(TURNS)
    return total

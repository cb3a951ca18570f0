"""What is about to be written, and how: known before any pixel is."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fourfold.errors import UsageError

#: JPEG, WebP and AVIF quality when none is given: high, since people upscale to keep detail.
DEFAULT_QUALITY = 95


@dataclass(frozen=True)
class SaveOptions:
    """How to write.

    Attributes:
        quality: 1..100 for JPEG, WebP and AVIF; None for :data:`DEFAULT_QUALITY`.
        lossless: WebP and AVIF without loss.
        strip: leave out EXIF (GPS included), XMP, IPTC, map coordinates and comments.

    Raises:
        UsageError: for another quality.
    """

    quality: int | None = None
    lossless: bool = False
    strip: bool = False

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"the quality is {self.quality}; it goes from 1 to 100")


@dataclass(frozen=True)
class Layout:
    """What is about to be written, known before any pixel is.

    Attributes:
        height: rows of one frame.
        width: columns.
        channels: 1 or 3, alpha not counted.
        has_alpha: whether alpha follows the colour channels.
        dtype: uint8, uint16 or float32.
        frames: pictures below each other.
        delays_ms: time of each frame of an animation.
        loop: repetitions of an animation, 0 for ever.
    """

    height: int
    width: int
    channels: int
    has_alpha: bool
    dtype: np.dtype[Any]
    frames: int = 1
    delays_ms: tuple[int, ...] = ()
    loop: int = 0

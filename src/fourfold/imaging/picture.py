"""A picture in memory: its pixels, its alpha, and everything else that its file said."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import PictureError
from fourfold.imaging import exif, exif_corrections
from fourfold.imaging.arrays import checked_pixels, plain_array, range_problem
from fourfold.imaging.float_range import FloatRange, from_range, white_in_range
from fourfold.imaging.georeference import Georeference
from fourfold.imaging.xmp import enlarged_xmp


@dataclass
class Metadata:
    """What a picture's file says beside its pixels.

    Attributes:
        format: format that it was read from: ``png``, ``jpg``, ``webp``, ``tiff``, ``avif``, ``gif``; empty for
            a picture made in memory.
        bits: bits per sample in that file (1, 2, 4, 8, 10, 12, 16 or 32).
        compressed: the file was stored with losses that show when they are enlarged: a JPEG of a quality below 98, as
            IJG's library counts, or a WebP or AVIF that is not lossless.
        icc: colour profile of the pixel values, or None (sRGB is then meant).
        exif: EXIF block, prefix included; orientation already reset, thumbnail left out.
        xmp: XMP packet.
        iptc: IPTC block (JPEG and TIFF only).
        dpi: horizontal and vertical dots per inch, or None where the file says nothing.
        georeference: where a TIFF's pixels lie on the earth, or None.
        comments: text fields by name: PNG's text chunks; JPEG's and GIF's comments, as "Comment".
        peak: the value that 1.0 stands for; differs from 1 only where a floating-point file goes beyond it.
        alpha_peak: the same of alpha.
        highlights: 1 is white in that file, and what lies above it, up to the peak, takes the last quarter of 0..1 by
            its logarithm (see :mod:`fourfold.imaging.float_range`); else 0..1 stands for 0..peak, evenly.
        notes: what was converted on the way in, in words.
    """

    format: str = ""
    bits: int = 8
    compressed: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    georeference: Georeference | None = None
    comments: dict[str, str] = field(default_factory=dict)
    peak: float = 1.0
    alpha_peak: float = 1.0
    highlights: bool = False
    notes: list[str] = field(default_factory=list)

    def set_range(self, found: FloatRange) -> None:
        """Notes what 1.0 stands for, and what cannot be in 0..1."""
        self.peak, self.alpha_peak, self.highlights = found.peak, found.alpha_peak, found.highlights
        self.notes += found.notes()

    @property
    def white(self) -> float:
        """What white is in 0..1: less than 1 where highlights take the rest."""
        return white_in_range(self.peak, highlights=self.highlights)

    def stripped(self) -> "Metadata":
        """Returns a copy without EXIF (GPS included), XMP, IPTC, map coordinates and comments; profile and DPI stay."""
        notes = self.notes + [exif.ADOBE_RGB_UNSAID] * self.needs_exif_for_colours
        return replace(self, exif=None, xmp=None, iptc=None, georeference=None, comments={}, notes=notes)

    @property
    def needs_exif_for_colours(self) -> bool:
        """Whether nothing but EXIF says that the colours are Adobe RGB."""
        return self.icc is None and exif.is_adobe_rgb(self.exif)

    def enlarged(self, scale: int) -> "Metadata":
        """Returns a copy for the picture made ``scale`` times as large."""
        place = None if self.georeference is None else self.georeference.enlarged(scale)
        block = None if self.exif is None else exif_corrections.enlarged(self.exif, scale)
        xmp = None if self.xmp is None else enlarged_xmp(self.xmp, scale)
        notes, comments = list(self.notes), dict(self.comments)
        return replace(self, exif=block, xmp=xmp, georeference=place, comments=comments, notes=notes)


@dataclass(eq=False)
class Picture:
    """Pixels with what belongs to them; the orientation has been applied already.

    A picture is equal to itself alone; compare ``pixels`` to compare contents.

    Attributes:
        pixels: (H, W, 1) grey or (H, W, 3) RGB; uint8, uint16, or float32 in 0..1.
        alpha: (H, W) of the same dtype, not premultiplied, or None.
        metadata: profile, EXIF, XMP, resolution, notes.

    Raises:
        PictureError: for anything else; when it is written, also for floating-point values that are not in 0..1.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        self.pixels = checked_pixels(self.pixels)
        if self.alpha is None:
            return
        self.alpha = plain_array(self.alpha)
        if (self.alpha.shape, self.alpha.dtype) != (self.pixels.shape[:2], self.pixels.dtype):
            raise PictureError(f"alpha is {self.alpha.dtype} {self.alpha.shape}; it must fit {self.pixels.shape}")

    def check(self) -> None:
        """Checks the arrays once more, others may have been put in, and the range of floating-point values.

        NaN in alpha is transparent, in colours it is nothing.

        Raises:
            PictureError: if it cannot be written.
        """
        self.__post_init__()
        parts = {"": self.pixels}
        if self.alpha is not None:
            parts["alpha: "] = self.alpha if self.alpha.dtype != np.float32 else np.nan_to_num(self.alpha, nan=0.0)
        for name, values in parts.items():
            if (problem := range_problem(values)) is not None:
                raise PictureError(name + problem)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def values(self) -> NDArray[Any]:
        """The colours as numbers of the file: the pixels themselves, but for floating point that goes beyond 1."""
        if self.pixels.dtype != np.float32 or self.metadata.peak == 1.0:
            return self.pixels
        return from_range(self.pixels, self.metadata.peak, highlights=self.metadata.highlights)

    def save(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        quality: int | None = None,
        lossless: bool = False,
        strip: bool = False,
        on_loss: Callable[[str], None] | None = None,
    ) -> Path:
        """Writes the picture, whole or not at all; see :func:`fourfold.imaging.write_picture`."""
        from fourfold.imaging.writing import write_picture

        return write_picture(
            self, path, overwrite=overwrite, quality=quality, lossless=lossless, strip=strip, on_loss=on_loss
        )

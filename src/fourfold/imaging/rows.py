"""Pictures of any size, read from top to bottom in bands: libvips decodes row by row where the format allows it."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import pyvips
from numpy.typing import NDArray

from fourfold.errors import PictureError
from fourfold.imaging.alpha import FILL_REACH_PX, alpha_rows_needed, enlarge_alpha, fill_hidden
from fourfold.imaging.decoders import explain
from fourfold.imaging.float_range import Census, FloatRange, to_range
from fourfold.imaging.opening import OpenPicture

#: Pixels that are worked on at a time where a step needs floating-point copies.
_PIECE_PX = 1 << 18


class RowSource(Protocol):
    """A picture read from top to bottom, such as one that is being decoded; what an upscaler's ``stream`` takes.

    Attributes:
        height: rows.
        width: columns.
        channels: 1 or 3.
        dtype: uint8, uint16 or float32.
        white: what white is, in 0..1; what lies above are highlights, by their logarithm (see
            :mod:`fourfold.imaging.float_range`). 1 where there are none.
    """

    height: int
    width: int
    channels: int
    dtype: Any
    white: float

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        """Returns rows ``top`` to ``bottom``, (rows, width, channels). Each row is asked for once, in order."""
        ...


class FrameRows:
    """One frame of an opened picture as a row source, with its alpha on the side.

    Hidden colours are filled (see :mod:`fourfold.imaging.alpha`), floating-point values brought into 0..1.

    Args:
        opened: the picture; several frames of it must be read one after the other.
        frame: which one.
        name: for messages.
    """

    def __init__(self, opened: OpenPicture, frame: int = 0, name: str = "the picture") -> None:
        self.height, self.width, self.channels = opened.height, opened.width, opened.channels
        self.dtype = opened.dtype
        self.has_alpha = opened.has_alpha
        self.white = opened.metadata.white
        self._opened = opened
        self._first = frame * opened.height
        self._name = name
        self._top = 0  # of the rows that are kept
        self._kept = np.empty((0, self.width, opened.bands), self.dtype)
        self._colour_at = 0  # rows before it have been handed out
        self._alpha_at = 0 if self.has_alpha else self.height  # rows of alpha before it are not needed any more

    def prefetch(self, max_bytes: int) -> None:
        """Decodes the first rows ahead of time, as many as fit into ``max_bytes``."""
        row_bytes = self.width * self._opened.bands * self.dtype.itemsize
        self._load(min(self.height, max_bytes // row_bytes))

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        """Returns rows of colour, (rows, width, channels)."""
        if not self.has_alpha:
            self._load(bottom)
            rows = self._kept[top - self._top : bottom - self._top]
            self._forget(bottom)
            return rows
        self._load(min(self.height, bottom + FILL_REACH_PX))
        step = max(1, _PIECE_PX // self.width)
        pieces = [self._filled(at, min(bottom, at + step)) for at in range(top, bottom, step)]
        self._colour_at = bottom
        self._forget(min(bottom - FILL_REACH_PX, self._alpha_at))
        return np.concatenate(pieces)

    def _filled(self, top: int, bottom: int) -> NDArray[Any]:
        start, stop = max(0, top - FILL_REACH_PX), min(self.height, bottom + FILL_REACH_PX)
        rows = self._kept[start - self._top : stop - self._top]
        return fill_hidden(rows[:, :, :-1], rows[:, :, -1])[top - start : bottom - start]

    def read_alpha(self, top: int, bottom: int) -> NDArray[Any]:
        """Returns rows of alpha as they are, (rows, width, 1); each is asked for once, in order."""
        self._load(bottom)
        rows = self._kept[top - self._top : bottom - self._top, :, -1:]
        self._forget_alpha(bottom)
        return rows

    def enlarged_alpha(self, top: int, bottom: int, scale: int) -> NDArray[Any]:
        """Returns rows of alpha enlarged by the bicubic, (rows, scale * width); asked for from top to bottom."""
        start, stop = alpha_rows_needed(top, bottom, self.height, scale)
        self._load(stop)
        rows = self._kept[start - self._top : stop - self._top, :, -1]
        enlarged = enlarge_alpha(rows, start, self.height, top, bottom, scale)
        self._forget_alpha(alpha_rows_needed(bottom, bottom, self.height, scale)[0])
        return enlarged

    def _forget_alpha(self, before: int) -> None:
        self._alpha_at = before
        self._forget(min(self._colour_at - FILL_REACH_PX, before))

    def _forget(self, before: int) -> None:
        if before > self._top:
            self._kept = self._kept[before - self._top :]
            self._top = before

    def _load(self, bottom: int) -> None:
        at = self._top + len(self._kept)
        if bottom <= at:
            return
        fresh = read_rows(self._opened, self._first + at, self._first + bottom, self._name)
        if self.dtype == np.float32:
            fresh = _in_range(fresh, self._opened)
        self._kept = np.concatenate([self._kept, fresh]) if len(self._kept) else fresh


def read_rows(opened: OpenPicture, top: int, bottom: int, name: str = "the picture") -> NDArray[Any]:
    """Returns rows of an opened picture, (rows, width, bands), as stored; from top to bottom, each once.

    Raises:
        PictureError: if the file is damaged there.
    """
    try:
        region = pyvips.Region.new(opened.image)
        memory = region.fetch(0, top, opened.width, bottom - top)
    except pyvips.Error as error:
        raise PictureError(f"{name}: {explain(error)}") from error
    return np.frombuffer(memory, opened.dtype).reshape(bottom - top, opened.width, opened.bands)


def _in_range(rows: NDArray[np.float32], opened: OpenPicture) -> NDArray[np.float32]:
    colour, alpha = rows[:, :, : opened.channels], rows[:, :, opened.channels :]
    metadata = opened.metadata
    colour = to_range(colour, metadata.peak, highlights=metadata.highlights, negative=opened.negative)
    if not opened.has_alpha:
        return colour
    return np.concatenate([colour, to_range(alpha, metadata.alpha_peak)], axis=2)


def find_range(opened: OpenPicture, name: str = "the picture") -> FloatRange:
    """Returns the range of a floating-point picture's values; reads all of it: ``opened`` is used up."""
    census = Census(opened.channels, negative=opened.negative)
    step = max(1, _PIECE_PX // opened.width)
    for top in range(0, opened.height * opened.frames, step):
        census.add(read_rows(opened, top, min(opened.height * opened.frames, top + step), name))
    return census.range()


class AlphaRows:
    """The alpha of a frame as a row source of its own, read beside its colour."""

    channels, white = 1, 1.0

    def __init__(self, rows: FrameRows) -> None:
        self.height, self.width, self.dtype = rows.height, rows.width, rows.dtype
        self._rows = rows

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        """Returns rows of alpha, (rows, width, 1)."""
        return self._rows.read_alpha(top, bottom)


def hand_on(
    bands: Iterator[NDArray[Any]],
    rows: FrameRows,
    scale: int,
    write: Callable[[NDArray[Any]], None],
    alpha: Callable[[int, int], NDArray[Any]] | None = None,
) -> None:
    """Hands upscaled bands of colour to a sink, with the enlarged alpha as one more channel, in bounded pieces.

    Args:
        bands: from an upscaler, top to bottom.
        rows: what they were made of.
        scale: enlargement.
        write: takes (rows, width, channels and alpha).
        alpha: gives rows of the enlarged alpha, asked for from top to bottom; the bicubic's if None.
    """
    step = max(1, _PIECE_PX // (rows.width * scale))
    alpha = alpha or (lambda top, bottom: rows.enlarged_alpha(top, bottom, scale))
    top = 0
    for band in bands:
        for at in range(0, len(band), step):
            piece = band[at : at + step]
            if rows.has_alpha:
                beside = alpha(top + at, top + at + len(piece))
                piece = np.concatenate([piece, beside[:, :, None]], axis=2)
            write(piece)
        top += len(band)
        del band  # or it would still be there while the next one is made

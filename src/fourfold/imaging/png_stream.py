"""A PNG file without compression, made row by row."""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.imaging.png_text import chunk

#: Number of channels -> PNG's colour type: grey, grey and alpha, RGB, RGB and alpha.
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


class PngStream:
    """Makes a PNG file without compression from rows, piece by piece.

    Source: PNG specification, third edition (W3C 2025), sections 5 (chunks), 7 (byte order), 9 (filter type 0).
    """

    def __init__(self, width: int, height: int, bands: int, dtype: Any) -> None:
        self._depth = np.dtype(dtype).itemsize * 8
        self._head = b"\x89PNG\r\n\x1a\n" + chunk(
            b"IHDR",
            width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([self._depth, _COLOUR_TYPE[bands], 0, 0, 0]),
        )
        self._stored = zlib.compressobj(0)

    def encode(self, rows: NDArray[Any]) -> bytes:
        """Returns the next bytes of the file for the next rows, (rows, width, bands)."""
        count = len(rows)
        lines = np.zeros((count, 1 + rows[0].size * self._depth // 8), np.uint8)  # a zero before each: not filtered
        samples = np.ascontiguousarray(rows).reshape(count, -1)
        lines[:, 1:] = samples if self._depth == 8 else samples.astype(">u2").view(np.uint8)
        head, self._head = self._head, b""
        data = self._stored.compress(lines.data)
        return head + (chunk(b"IDAT", data) if data else b"")

    def end(self) -> bytes:
        """Returns the last bytes of the file."""
        return self._head + chunk(b"IDAT", self._stored.flush()) + chunk(b"IEND", b"")

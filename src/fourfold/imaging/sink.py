"""Pictures of any size, written from top to bottom while they are being made.

libvips encodes row by row, but it pulls its pixels from a source that it must be able to open. The rows are
therefore handed to it as a PNG stream without compression, made on the fly: every pixel kind that people have but
floating point fits into one, and nothing is stored. Floating-point rows, and pictures that may take several tries to
encode, go through a temporary file in the output's folder.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from fourfold.imaging.atomic import TEMPORARY_PREFIX
from fourfold.imaging.formats import Format
from fourfold.imaging.layout import DEFAULT_QUALITY, Layout, SaveOptions
from fourfold.imaging.picture import Metadata
from fourfold.imaging.png_stream import PngStream
from fourfold.imaging.writing import EncodingError, save_image

#: Up to this size, lossy WebP is known to work whatever the picture.
_SURE_WEBP_PX = 16_000_000
#: Tried one after the other where it does not.
_QUALITIES = (90, 85, 75, 60)

#: Pixels that are handed on at a time.
_PIECE_PX = 1 << 18


class RowSink:
    """Takes rows from top to bottom and encodes them, in a thread of its own, while more are being made.

    Args:
        layout: what will come: size, channels, dtype.
        metadata: goes into the file.
        format: the format to write.
        options: quality and the rest.
        descriptor: of the output, open for reading and writing.
        folder: for the temporary file that floating-point rows need.
        max_waiting_bytes: rows that may wait for the encoder; more make :meth:`write` wait.

    Attributes:
        notes: what had to be changed to get the picture into the format, after :meth:`finish`.
        quality: that the picture was written at in the end; None is the default.
    """

    def __init__(
        self,
        layout: Layout,
        metadata: Metadata,
        format: Format,
        options: SaveOptions,
        descriptor: int,
        folder: Path,
        max_waiting_bytes: int = 32 << 20,
    ) -> None:
        self._layout = layout
        self._feed = _Feed(max_waiting_bytes)
        self._error: BaseException | None = None
        self._metadata, self._format, self._options, self._descriptor = metadata, format, options, descriptor
        bands = layout.channels + layout.has_alpha
        self._rows_left = layout.height * layout.frames
        self._file: Any = None
        self._encoder: PngStream | None = None
        self._thread: threading.Thread | None = None
        self.notes: list[str] = []
        self.quality = options.quality
        if layout.dtype == np.float32 or _may_need_another_try(format, layout, options):
            self._file = NamedTemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX)  # noqa: SIM115, closed in close()
        else:
            self._encoder = PngStream(layout.width, self._rows_left, bands, layout.dtype)
            self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
            self._thread.start()

    def write(self, rows: NDArray[Any]) -> None:
        """Takes the next rows, (rows, width, channels and alpha).

        Raises:
            OSError: if the disk refuses.
            PictureError: if the encoder fails.
        """
        assert len(rows) <= self._rows_left
        self._rows_left -= len(rows)
        if self._encoder is None:
            self._file.write(np.ascontiguousarray(rows).data)
            return
        step = max(1, _PIECE_PX // self._layout.width)
        for top in range(0, len(rows), step):
            if not self._feed.put(self._encoder.encode(rows[top : top + step])):
                break
        if self._rows_left == 0:
            self._feed.put(self._encoder.end())
            self._feed.close()
        if self._error is not None:
            self._finish_thread()

    def finish(self) -> None:
        """Waits until everything is encoded and written; raises as :meth:`write`."""
        assert self._rows_left == 0, "rows are missing"
        if self._thread is not None:
            self._finish_thread()
        else:
            self._save_raw()

    def abort(self) -> None:
        """Stops the encoder; what is written so far is worth nothing."""
        self._feed.abort()
        if self._thread is not None:
            self._thread.join()
        if self._file is not None:
            self._file.close()

    def _finish_thread(self) -> None:
        assert self._thread is not None
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _save_raw(self) -> None:
        self._file.flush()
        try:
            qualities = _QUALITIES if _may_need_another_try(self._format, self._layout, self._options) else ()
            self._save_within(self._options, [q for q in qualities if q < (self._options.quality or DEFAULT_QUALITY)])
        finally:
            self._file.close()

    def _save_within(self, options: SaveOptions, lower: list[int]) -> None:
        """Saves the raw rows; where the encoder gives up, again with the next lower quality."""
        try:
            self._save(self._raw(), options)
        except EncodingError:
            if not lower:
                raise
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._save_within(replace(options, quality=lower[0]), lower[1:])
        else:
            self.quality = options.quality
            if options.quality != self._options.quality:
                self.notes.append(f"quality lowered to {options.quality}: lossy WebP cannot hold more at this size")

    def _raw(self) -> Any:
        layout = self._layout
        kind = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}[layout.dtype.name]
        rows, bands = layout.height * layout.frames, layout.channels + layout.has_alpha
        name = os.fsencode(self._file.name)
        return pyvips.Image.rawload(name, layout.width, rows, bands, format=kind, access="sequential")

    def _save(self, image: Any, options: SaveOptions) -> None:
        save_image(image, self._layout, self._metadata, self._format, options, self._descriptor)

    def _run(self) -> None:
        try:
            source: Any = pyvips.SourceCustom()
            source.on_read(self._feed.read)
            self._save(pyvips.Image.pngload_source(source, access="sequential", fail_on="error"), self._options)
        except BaseException as error:
            self._error = error
        finally:
            self._feed.abort()  # whoever still writes must not wait for ever


def _may_need_another_try(format: Format, layout: Layout, options: SaveOptions) -> bool:
    """Says whether the encoder may give up: a lossy WebP holds its block modes in 512 KB, whatever its size."""
    return format.name == "webp" and not options.lossless and layout.height * layout.width > _SURE_WEBP_PX


class _Feed:
    """Bytes on their way from the thread that makes them to the one that encodes them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._chunks: deque[memoryview] = deque()
        self._bytes = 0
        self._closed = False
        self._aborted = False
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> bool:
        """Adds bytes, waiting while too many are there; False once nobody will read them."""
        with self._changed:
            self._wait(lambda: self._aborted or self._bytes < self._max_bytes)
            if self._aborted:
                return False
            if not chunk:  # to the reader, no bytes mean the end
                return True
            self._chunks.append(memoryview(chunk))
            self._bytes += len(chunk)
            self._changed.notify_all()
            return True

    def read(self, size: int) -> bytes:
        """Returns up to ``size`` bytes, waiting for them; none at the end."""
        with self._changed:
            self._wait(lambda: bool(self._chunks) or self._closed or self._aborted)
            if self._aborted or not self._chunks:
                return b""
            chunk = self._chunks[0]
            part = bytes(chunk[:size])
            if len(part) == len(chunk):
                self._chunks.popleft()
            else:
                self._chunks[0] = chunk[size:]
            self._bytes -= len(part)
            self._changed.notify_all()
            return part

    def close(self) -> None:
        """No more bytes will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wakes both sides; nothing more goes through."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.wait(timeout=0.5)  # in slices, so that Ctrl-C gets through on every system

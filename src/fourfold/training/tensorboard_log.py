"""Curves and pictures for TensorBoard, beside the JSON lines."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


class TensorBoardLog:
    """Writes events into a run folder; where TensorBoard is not installed, writes nothing.

    Events are written where they happen, not by a thread as torch's SummaryWriter does: a full disk is then an error of
    the call that met it, and not a thread's traceback and a hanging queue.

    Args:
        folder: for the event files.
        first_update: events of an earlier run after this update are hidden (it went on from a checkpoint).

    Raises:
        OSError: here and from every method but :meth:`close`, if the events cannot be written.
    """

    def __init__(self, folder: Path, first_update: int = 0) -> None:
        self._file: Any = None
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.record_writer import RecordWriter
            from torch.utils.tensorboard import summary
        except ImportError:
            return
        self._event, self._summary = Event, summary
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        self._write(step=first_update + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, update: int, values: Mapping[str, Any], group: str) -> None:
        """Adds a point to one curve per number."""
        if self._file is None:
            return
        for name, value in values.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self._write(step=update, summary=self._summary.scalar(f"{group}/{name}", value))

    def picture(self, update: int, name: str, pixels: NDArray[Any]) -> None:
        """Adds an (H, W, 3) uint8 picture."""
        if self._file is not None:
            tag = f"validation/{name}".encode("utf-8", "replace").decode()  # names of files may hold odd bytes
            self._write(step=update, summary=self._summary.image(tag, pixels, dataformats="HWC"))

    def close(self) -> None:
        """Ends the event file."""
        if self._file is not None:
            with suppress(OSError):  # whatever was to be written is, or has been told
                self._file.close()
            self._file = None

    def _write(self, **fields: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._records.flush()

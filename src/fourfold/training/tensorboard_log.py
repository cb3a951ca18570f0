"""Curves and pictures for TensorBoard, beside the JSON lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


class TensorBoardLog:
    """Writes events into a run folder; where TensorBoard is not installed, writes nothing.

    Args:
        folder: for the event files.
        first_update: events of an earlier run after this update are hidden (it went on from a checkpoint).
    """

    def __init__(self, folder: Path, first_update: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer: Any = None
            return
        self._writer = SummaryWriter(str(folder), purge_step=first_update + 1 if first_update else None)

    @property
    def works(self) -> bool:
        """Whether events are written."""
        return self._writer is not None

    def scalars(self, update: int, values: Mapping[str, Any], group: str) -> None:
        """Adds a point to one curve per number."""
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self._writer.add_scalar(f"{group}/{name}", value, update)

    def picture(self, update: int, name: str, pixels: NDArray[Any]) -> None:
        """Adds an (H, W, 3) uint8 picture."""
        if self._writer is not None:
            self._writer.add_image(f"validation/{name}", pixels, update, dataformats="HWC")

    def flush(self) -> None:
        """Brings everything to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Ends the event file."""
        if self._writer is not None:
            self._writer.close()

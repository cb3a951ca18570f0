"""What is logged: means over the updates since the last line, and the first update at which a value broke."""

import math
from collections.abc import Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor

from fourfold.errors import TrainingError
from fourfold.training.processes import mean_over_processes


class Window:
    """Sums logged values on the device, without waiting for it; they are read when a line is due.

    Args:
        fabric: device and processes; means go over all of them.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._broken: dict[str, Tensor] = {}

    def note(self, update: int, values: Mapping[str, Tensor]) -> None:
        """Adds one update's values."""
        for name, value in values.items():
            value = value.double() if value.device.type == "cpu" else value.float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1
            before = self._broken.get(name, torch.zeros_like(value))
            fresh = (before == 0) & ~torch.isfinite(value)
            self._broken[name] = torch.where(fresh, torch.full_like(value, update), before)

    def close(self) -> dict[str, float]:
        """Returns the means over the window and over all processes, and begins a new one.

        Raises:
            TrainingError: naming the first value that was NaN or infinite, and its update.
        """
        names = list(self._sums)
        if not names:
            return {}
        table = torch.stack([self._sums[n] / self._counts[n] for n in names] + [self._broken[n] for n in names])
        means, broken = mean_over_processes(self._fabric, table).tolist()[: len(names)], self._first_broken(names)
        self._sums, self._counts, self._broken = {}, {}, {}
        if broken is not None:
            name, update = broken
            raise TrainingError(
                f"{name} is not finite at update {update}; the last good state is kept. A smaller "
                "optimiser.learning_rate, or run.precision=fp32, usually helps"
            )
        for name, mean in zip(names, means, strict=True):
            if not math.isfinite(mean):  # on another process
                raise TrainingError(f"{name} is not finite on another process; the last good state is kept")
        return dict(zip(names, means, strict=True))

    def _first_broken(self, names: list[str]) -> tuple[str, int] | None:
        found = [(int(self._broken[name]), name) for name in names if int(self._broken[name])]
        if not found:
            return None
        update, name = min(found, key=lambda item: (item[0], names.index(item[1])))
        return name, update

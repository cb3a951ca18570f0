"""HR at other sizes: a share of the crops is a larger part of its picture, shrunk to the size of the others.

A few hundred pictures hold each thing at one size. Shrunk by a random factor first, a picture is another one: what it
shows is finer, sharper, and elsewhere on LR's cells, so that a network does not learn the pictures by heart so soon.
"""

from functools import lru_cache

import torch
from torch import Tensor

from fourfold.imaging import matrix, quantise
from fourfold.training.recipe import DataSettings


class Shrinking:
    """Parts of pictures, each of a side of its own, to HR crops that all have the recipe's.

    Args:
        settings: the crop.
        device: where the crops are.
    """

    def __init__(self, settings: DataSettings, device: torch.device) -> None:
        self._crop, self._device = settings.crop_px, device
        self._rows = lru_cache(maxsize=256)(self._make_rows)  # few sides in all, but of large crops many

    def __call__(self, parts: Tensor, sides: Tensor) -> Tensor:
        """Returns HR crops (N, 3, crop, crop) on the 8-bit grid of 0..1, channels-last, as a shrunk picture holds them.

        Args:
            parts: (N, 3, room, room) uint8; each at the top left of its room.
            sides: (N,) int64, on the CPU; of each, from the crop's to the room's.
        """
        crops = torch.empty(len(parts), 3, self._crop, self._crop, device=parts.device)
        with torch.autocast(parts.device.type, enabled=False):
            # one by one: all at once would take every part for one of the largest, and shrink those that are whole
            for crop, part, side in zip(crops, parts, sides.tolist(), strict=True):
                unit = part[:, :side, :side].float() / 255.0
                crop.copy_(unit if side == self._crop else self._rows(side) @ unit @ self._rows(side).t())
        return quantise(crops).contiguous(memory_format=torch.channels_last)

    def _make_rows(self, side: int) -> Tensor:
        """Returns the bicubic of one side as a matrix (crop, side)."""
        return torch.from_numpy(matrix(side, self._crop)).to(self._device, torch.float32)

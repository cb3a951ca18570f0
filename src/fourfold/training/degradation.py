"""HR crops to LR crops on the device."""

import torch
from torch import Tensor

from fourfold.imaging import matrix, quantise
from fourfold.training.recipe import DataSettings


class Degradation:
    """HR crops to LR crops on the device: the exact bicubic, or the Gaussian of the paper's method section.

    The crop is shrunk by two products with the resampler's own matrix, clamped and rounded to 8 bits as a saved
    LR picture is.
    """

    def __init__(self, settings: DataSettings, scale: int, device: torch.device) -> None:
        dense = matrix(settings.crop_px, settings.crop_px // scale, 1 / scale, settings.degradation)
        self._matrix = torch.from_numpy(dense).to(device=device, dtype=torch.float32)

    def __call__(self, hr: Tensor) -> Tensor:
        """Returns LR in 0..1 on the 8-bit grid, (N, 3, crop / scale, crop / scale), from HR in 0..1."""
        return quantise(self.shrink(hr)).contiguous(memory_format=torch.channels_last)

    def shrink(self, pictures: Tensor) -> Tensor:
        """Returns pictures shrunk, neither clamped nor rounded: linear, with a gradient to them.

        Args:
            pictures: (N, 3, crop, crop), any range.
        """
        with torch.autocast(pictures.device.type, enabled=False):
            return self._matrix @ pictures.float() @ self._matrix.t()


def to_unit(crops: Tensor) -> Tensor:
    """Returns uint8 crops as float32 in 0..1, channels-last."""
    return (crops.float() / 255.0).contiguous(memory_format=torch.channels_last)

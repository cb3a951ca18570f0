"""What the baselines share: the network restores the luma, and the colour comes from the bicubic."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from fourfold.imaging import output_size, resize_array

#: Luma of BT.601 on 0..1; 16 + 219 times this is the studio-range Y that the tables are counted on.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def luma(rgb: Tensor) -> Tensor:
    """Returns (N, 1, H, W) luma in 0..1 of (N, 3, H, W) RGB in 0..1."""
    red, green, blue = LUMA_WEIGHTS  # numbers, no tensor: nothing is copied to the device, as a CUDA graph demands
    return red * rgb[:, 0:1] + green * rgb[:, 1:2] + blue * rgb[:, 2:3]


class LumaNetwork(nn.Module, ABC):
    """A network on luma, dressed as one on RGB; the subclass gives :meth:`restore`.

    ::

        lr ── bicubic x scale ── enlarged ──┬───────────────────────────────────(+)── sr
         │                                  └─ luma ── y_enlarged ──┬──(−)───────┘
         └─ luma ── y_lr ───────────────── restore(y_lr, y_enlarged)┘ difference, on each channel

    Converting to YCbCr, restoring Y, enlarging Cb and Cr by bicubic and converting back comes to exactly this:
    R, G and B all hold Y with the factor 1.

    Args:
        scale: 2, 4 or 8.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"scale is {scale}; it can be 2, 4 or 8")
        self.scale = scale

    @abstractmethod
    def restore(self, y_lr: Tensor, y_enlarged: Tensor) -> Tensor:
        """Returns the restored luma, (N, 1, scale * H, scale * W), from the LR luma and its bicubic enlargement."""

    def enlarge(self, x: Tensor) -> Tensor:
        """Returns a picture enlarged by the bicubic of the whole house, in float32, not clamped."""
        size = output_size(x.shape[-2], x.shape[-1], self.scale)
        with torch.autocast(x.device.type, enabled=False):
            return resize_array(x.float(), size)

    def forward(self, lr: Tensor) -> Tensor:
        """Returns the picture ``scale`` times as large, not clamped.

        Args:
            lr: (N, 3, H, W), RGB in 0..1.

        Returns:
            (N, 3, scale * H, scale * W), RGB in about 0..1.
        """
        enlarged = self.enlarge(lr)
        y_enlarged = luma(enlarged)
        return enlarged + (self.restore(luma(lr), y_enlarged).float() - y_enlarged)

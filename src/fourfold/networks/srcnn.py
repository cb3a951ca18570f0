"""SRCNN, the first convolutional network for super-resolution (Dong et al. 2014)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.networks.luma import LumaNetwork


class SRCNN(LumaNetwork):
    """Three convolutions on the bicubic enlargement (Dong et al. 2014, figure 2; 9-5-5 of Dong et al. 2016).

    ::

        y_enlarged ── conv1 ── ReLU ── conv2 ── ReLU ── conv3 ── y
                     (k9 n64)         (k5 n32)         (k5 n1)

    Differs from the paper: the convolutions start close to the identity (one path carries the picture through)
    instead of at Gaussian noise of deviation 0.001, so that training begins at the bicubic picture and not 10^8
    samples before it; and the convolutions are zero-padded where the paper's lose a border.

    Args:
        width: feature maps of the first layer; 64 in the paper.
        inner: feature maps of the second; 32 in the paper.
        kernel: kernel size of the second: 1, 3 or 5 in the papers.
        scale: factor of the bicubic enlargement.
    """

    def __init__(self, width: int = 64, inner: int = 32, kernel: int = 5, scale: int = 4) -> None:
        super().__init__(scale)
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; it must be odd")
        self.conv1 = nn.Conv2d(1, width, 9, padding=4)
        self.conv2 = nn.Conv2d(width, inner, kernel, padding=kernel // 2)
        self.conv3 = nn.Conv2d(inner, 1, 5, padding=2)
        self._start_at_identity()

    @torch.no_grad()
    def _start_at_identity(self) -> None:
        for conv in (self.conv1, self.conv2, self.conv3):
            assert conv.bias is not None
            middle = conv.kernel_size[0] // 2
            conv.weight[0].zero_()
            conv.weight[:, 0].mul_(0.1)
            conv.weight[0, 0, middle, middle] = 1.0
            conv.bias.zero_()
        self.conv3.weight[0, 1:] = torch.randn_like(self.conv3.weight[0, 1:]) * 0.001

    def restore(self, y_lr: Tensor, y_enlarged: Tensor) -> Tensor:
        """Returns the restored luma, (N, 1, H, W), from its bicubic enlargement of the same size."""
        y = functional.relu(self.conv1(y_enlarged))
        y = functional.relu(self.conv2(y))
        return self.conv3(y)

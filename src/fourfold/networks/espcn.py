"""ESPCN, the network that stays small until its last layer (Shi et al. 2016)."""

from typing import Literal

import torch
from torch import Tensor, nn

from fourfold.networks.luma import LumaNetwork

Activation = Literal["tanh", "relu"]


class ESPCN(LumaNetwork):
    """Three convolutions on the LR luma and a pixel shuffle (Shi et al. 2016, figure 1; 5-3-3).

    ::

        y_lr ── conv1 ── tanh ── conv2 ── tanh ── conv3 ── PixelShuffle x scale ── y
               (k5 n64)         (k3 n32)         (k3 n scale^2)

    Differs from the paper: the last layer starts at a tenth of torch's default with all biases at one half, so
    that training begins at an even grey and not at noise.

    Args:
        width: feature maps of the first layer; 64 in the paper.
        inner: feature maps of the second; 32 in the paper.
        activation: "tanh", which the paper found better than "relu".
        scale: 2, 4 or 8.
    """

    def __init__(self, width: int = 64, inner: int = 32, activation: Activation = "tanh", scale: int = 4) -> None:
        super().__init__(scale)
        self.conv1 = nn.Conv2d(1, width, 5, padding=2)
        self.conv2 = nn.Conv2d(width, inner, 3, padding=1)
        self.conv3 = nn.Conv2d(inner, scale * scale, 3, padding=1)
        self.activation = nn.Tanh() if activation == "tanh" else nn.ReLU()
        self.shuffle = nn.PixelShuffle(scale)
        with torch.no_grad():
            assert self.conv3.bias is not None
            self.conv3.weight.mul_(0.1)
            self.conv3.bias.fill_(0.5)

    def restore(self, y_lr: Tensor, y_enlarged: Tensor) -> Tensor:
        """Returns the restored luma, (N, 1, scale * H, scale * W), from the LR luma (N, 1, H, W)."""
        y = self.activation(self.conv1(y_lr))
        y = self.activation(self.conv2(y))
        return self.shuffle(self.conv3(y))

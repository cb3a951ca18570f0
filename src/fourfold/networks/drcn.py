"""DRCN, one convolution applied sixteen times (Kim et al. 2016)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.networks.luma import LumaNetwork, luma


class DRCN(LumaNetwork):
    """The deeply-recursive network of Kim, Lee and Lee 2016, figure 3 (a).

    ::

        y_enlarged ── embed1 ── ReLU ── embed2 ── ReLU ──┬── recursion ── ReLU ──┬── hidden 1..D
                    (k3 n256)         (k3 n256)          └───────────────────────┘
                                                             D times, the same weights
        hidden d ── reconstruct1 ── ReLU ── reconstruct2 ──(+) y_enlarged ── prediction d
                     (k3 n256)               (k3 n1)
        y = sum over d of mix[d] * prediction d

    Every prediction is supervised while training (:meth:`predictions`).

    Differs from the paper: the recursion starts at the identity plus a little noise, which the authors recommend
    themselves for a network this deep, and the last layer starts at zero, so that training begins at the bicubic
    picture.

    Args:
        width: feature maps; 256 in the paper.
        recursions: D; 16 in the paper.
        scale: factor of the bicubic enlargement.
    """

    def __init__(self, width: int = 256, recursions: int = 16, scale: int = 4) -> None:
        super().__init__(scale)
        self.embed1 = nn.Conv2d(1, width, 3, padding=1)
        self.embed2 = nn.Conv2d(width, width, 3, padding=1)
        self.recursion = nn.Conv2d(width, width, 3, padding=1)
        self.reconstruct1 = nn.Conv2d(width, width, 3, padding=1)
        self.reconstruct2 = nn.Conv2d(width, 1, 3, padding=1)
        self.mix = nn.Parameter(torch.full((recursions,), 1.0 / recursions))
        with torch.no_grad():
            assert self.recursion.bias is not None and self.reconstruct2.bias is not None
            self.recursion.weight.mul_(0.1)
            self.recursion.weight[torch.arange(width), torch.arange(width), 1, 1] += 1.0
            self.recursion.bias.zero_()
            self.reconstruct2.weight.zero_()
            self.reconstruct2.bias.zero_()

    def residuals(self, y_enlarged: Tensor) -> list[Tensor]:
        """Returns what every recursion would add to the bicubic luma, D tensors of (N, 1, H, W)."""
        hidden = functional.relu(self.embed1(y_enlarged))
        hidden = functional.relu(self.embed2(hidden))
        residuals = []
        for _ in range(len(self.mix)):
            hidden = functional.relu(self.recursion(hidden))
            residuals.append(self.reconstruct2(functional.relu(self.reconstruct1(hidden))).float())
        return residuals

    def predictions(self, y_enlarged: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns every recursion's luma and the weighted one, each (N, 1, H, W); all are supervised."""
        each = [y_enlarged + residual for residual in self.residuals(y_enlarged)]
        return each, sum((weight * y for weight, y in zip(self.mix, each, strict=True)), torch.zeros_like(y_enlarged))

    def restore(self, y_lr: Tensor, y_enlarged: Tensor) -> Tensor:
        """Returns the restored luma, (N, 1, H, W), from its bicubic enlargement of the same size."""
        return self.predictions(y_enlarged)[1]

    def forward(self, lr: Tensor, every: bool = False) -> Any:
        """Returns the picture ``scale`` times as large; with ``every``, those of all recursions and it as the last.

        Args:
            lr: (N, 3, H, W), RGB in 0..1.
            every: for training, where each of the D + 1 pictures is supervised.
        """
        if not every:
            return super().forward(lr)
        enlarged = self.enlarge(lr)
        y_enlarged = luma(enlarged)
        each, mixed = self.predictions(y_enlarged)
        return [enlarged + (y - y_enlarged) for y in (*each, mixed)]

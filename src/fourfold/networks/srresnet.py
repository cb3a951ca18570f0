"""SRResNet, the generator of SRGAN (Ledig et al. 2017, figure 4)."""

from typing import Literal

import torch
from torch import Tensor, nn

from fourfold.networks.layers import FewOutputsConv2d, PReLU, ShuffleConv2d

PReLUKind = Literal["shared", "channel"]


class ResidualBlock(nn.Module):
    """One residual block: two 3x3 convolutions with batch norm around a PReLU (Ledig et al. 2017, figure 4).

    ::

        x ── conv1 ── bn1 ── activation ── conv2 ── bn2 ──(+)── x + residual
         └────────────────────────────────────────────────┘
    """

    def __init__(self, width: int, prelu: PReLUKind, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.activation = PReLU(1 if prelu == "shared" else width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``x`` plus its residual; (N, width, H, W) in and out."""
        residual = self.bn1(self.conv1(x))
        residual = self.bn2(self.conv2(self.activation(residual)))
        return x + residual


class SRResNet(nn.Module):
    """The generator of Ledig et al. 2017, figure 4; with 16 blocks, the paper's SRResNet and SRGAN's G.

    ::

        lr ── head ── activation ──┬── body: B x ResidualBlock ── fusion ── fusion_bn ──(+)── features
             (k9 n64)              └─────────────────────────────────────────────────────┘
        features ── upsampling: log2(scale) x [conv k3 n256 ── PixelShuffle x2 ── PReLU] ── tail ── sr
                                                                                           (k9 n3)

    Fully convolutional: any input size. Initialisation is torch's default for convolutions (Kaiming-uniform with
    a = sqrt(5)), batch norm at 1 and 0, PReLU slopes at 0.25; the paper names none. Without batch norm (not the
    paper's network) the second convolution of each block starts at a tenth, so that deep bodies start near the
    identity.

    Args:
        blocks: number B of residual blocks; the paper's default is 16.
        width: feature maps; 64 in the paper.
        prelu: "shared", one slope per layer (1,549,462 parameters at the defaults), or "channel", one per
            channel (1,550,659). The paper does not say which.
        scale: 2, 4 or 8.
        batch_norm: False leaves batch norm out.
    """

    def __init__(
        self,
        blocks: int = 16,
        width: int = 64,
        prelu: PReLUKind = "shared",
        scale: int = 4,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"scale is {scale}; SRResNet doubles, so it can be 2, 4 or 8")
        slopes = 1 if prelu == "shared" else width
        self.scale = scale
        self.head = nn.Conv2d(3, width, 9, padding=4)
        self.activation = PReLU(slopes)
        self.body = nn.Sequential(*[ResidualBlock(width, prelu, batch_norm) for _ in range(blocks)])
        self.fusion = nn.Conv2d(width, width, 3, padding=1)
        self.fusion_bn = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.upsampling = nn.Sequential(
            *[Upsampling(width, slopes) for _ in range(scale.bit_length() - 1)],
        )
        self.tail = FewOutputsConv2d(width, 3, 9, padding=4)
        if not batch_norm:
            with torch.no_grad():
                for block in self.body:
                    assert isinstance(block, ResidualBlock)
                    block.conv2.weight.mul_(0.1)

    def forward(self, lr: Tensor) -> Tensor:
        """Returns the picture ``scale`` times as large, not clamped.

        Args:
            lr: (N, 3, H, W), RGB in 0..1.

        Returns:
            (N, 3, scale * H, scale * W), RGB in about 0..1. The tail's own output is the paper's -1..1; it is
            mapped here, so that nothing outside the network and the losses needs to know.
        """
        shallow = self.activation(self.head(lr))
        features = shallow + self.fusion_bn(self.fusion(self.body(shallow)))
        return (self.tail(self.upsampling(features)).float() + 1.0) * 0.5


class Upsampling(nn.Module):
    """One doubling: conv k3 to four times the maps, PixelShuffle x2, PReLU (Ledig et al. 2017, figure 4)."""

    def __init__(self, width: int, slopes: int) -> None:
        super().__init__()
        self.conv = ShuffleConv2d(width, 4 * width, 3, padding=1)
        self.activation = PReLU(slopes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, width, 2H, 2W) from (N, width, H, W)."""
        return self.activation(self.conv(x))

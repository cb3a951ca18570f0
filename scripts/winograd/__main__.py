"""``python -m scripts.winograd train ...``: ``fourfold`` with the kernels in place."""

import sys

import torch
from torch import Tensor

from fourfold.cli import main
from fourfold.errors import FourfoldError
from fourfold.networks import vgg19
from fourfold.networks.srresnet import SRResNet
from scripts.winograd.kernels import is_supported, library
from scripts.winograd.layers import FrozenConv2d, can_restore, restore


def install() -> None:
    """Puts the kernels into SRResNet and VGG19.

    Raises:
        EngineError: if they cannot be built here.
    """
    library(torch.float32)
    if is_supported(torch.bfloat16):
        library(torch.bfloat16)
    plain, convolutions = SRResNet.forward, vgg19._convolutions

    def forward(self: SRResNet, lr: Tensor) -> Tensor:
        return restore(self, lr) if can_restore(self, lr) else plain(self, lr)

    def frozen(layer: str) -> list[torch.nn.Conv2d]:
        found = convolutions(layer)
        for convolution in found:
            convolution.__class__ = FrozenConv2d  # a new one would draw from the run's random numbers
        return found

    SRResNet.forward = forward
    vgg19._convolutions = frozen


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        install()
    except FourfoldError as error:
        sys.exit(f"error: {error}")
    main()

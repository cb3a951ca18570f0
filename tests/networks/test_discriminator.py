"""The discriminator: the figure's layers and sizes."""

import pytest
import torch
from torch import nn

from fourfold.networks import Discriminator


def test_it_has_the_figures_layers() -> None:
    network = Discriminator()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.stride[0]) for c in convolutions] == [
        (64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 7
    assert all(m.negative_slope == 0.2 for m in network.modules() if isinstance(m, nn.LeakyReLU))
    assert network.dense.in_features == 512 * 6 * 6
    assert network.dense.out_features == 1024


def test_one_logit_per_picture() -> None:
    logits = Discriminator(crop_px=32, width=8)(torch.rand(3, 3, 32, 32))
    assert logits.shape == (3,)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("crop_px", [0, 8, 90])
def test_crops_that_do_not_fit_are_refused(crop_px: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        Discriminator(crop_px=crop_px)

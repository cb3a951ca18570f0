"""Whole pictures through a network in training, in exact tiles where they are large: as much memory for any of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fourfold.upscaling.folding import folded
from fourfold.upscaling.tiles import plan
from fourfold.weights import WeightsConfig, WeightsFile, expected_shapes, resolve_parameters

#: LR pixels that go through the network at once; SRResNet takes 9 kB for each in fp32.
MOST_PX = 2**18


@torch.inference_mode()
def restore_whole(
    network: nn.Module, lr: Tensor, scale: int, halo_px: int, fabric: Fabric, most_px: int = MOST_PX
) -> Tensor:
    """Returns SR of one picture, (3, H * scale, W * scale) float32.

    Args:
        network: in evaluation mode.
        lr: (1, 3, H, W) in 0..1.
        scale: the network's factor.
        halo_px: how far it reaches; see :func:`reach_px`.
        fabric: precision.
        most_px: pixels of a tile.
    """
    height, width = lr.shape[2:]
    if height * width <= most_px:
        return _restore(network, lr, fabric)
    sr = lr.new_empty(3, height * scale, width * scale)
    grid = plan(height, width, halo_px, most_px)
    for row in grid.rows:
        for column in grid.columns:
            part = _restore(network, lr[:, :, row.start : row.stop, column.start : column.stop], fabric)
            top, left = (scale * (span.core_start - span.start) for span in (row, column))
            high, wide = (scale * (span.core_stop - span.core_start) for span in (row, column))
            at_row, at_column = scale * row.core_start, scale * column.core_start
            sr[:, at_row : at_row + high, at_column : at_column + wide] = part[:, top : top + high, left : left + wide]
    return sr


def _restore(network: nn.Module, lr: Tensor, fabric: Fabric) -> Tensor:
    with fabric.autocast():
        sr: Tensor = network(lr.contiguous(memory_format=torch.channels_last))
    return sr[0].float()


def reach_px(architecture: str, parameters: Mapping[str, Any]) -> int:
    """Returns how far from a pixel a network looks, in LR pixels."""
    resolved = resolve_parameters(architecture, parameters)
    shapes = expected_shapes(architecture, resolved)
    blank = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return folded(WeightsFile(WeightsConfig(architecture, resolved), blank, sha256="", path=Path())).halo_px

"""The exponential moving average of a network's weights: what is validated and shipped."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """An average of a network's parameters and batch-norm statistics over its recent updates.

    The first updates count more than ``decay`` says (the usual warm-up of the average), so that a short run is not
    held back by its random start.

    Differs from the paper: Ledig et al. 2017 name no averaging; ``run.ema = 0`` switches it off.

    Args:
        network: the network that trains; it is copied, in evaluation mode.
        decay: share of the old average that stays at each update; 0 makes the average a plain copy.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Takes the network's weights after its ``updates``-th update into the average."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        averaged, current = self.network.state_dict(), network.state_dict()
        names = [name for name, value in averaged.items() if value.is_floating_point()]
        mine: list[Tensor] = [averaged[name] for name in names]
        torch._foreach_lerp_(mine, [current[name] for name in names], 1.0 - decay)

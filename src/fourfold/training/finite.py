"""Whether everything that a checkpoint would hold is a number: a loss can be fine and the step after it not."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn


def find_broken(networks: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer]) -> str | None:
    """Returns what holds NaN or infinity, in words, or None where nothing does.

    Waits for the device once per network, so it is for the moments when something is written.

    Args:
        networks: by name; their parameters and buffers are looked at.
        optimisers: by the same names; their moments are looked at.
    """
    found = (_first(f"the {name}'s", network.state_dict().items()) for name, network in networks.items())
    kept = (_first(f"the {name}'s", _moments(networks[name], optimiser)) for name, optimiser in optimisers.items())
    return next((words for words in (*found, *kept) if words is not None), None)


def _moments(network: nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                yield f"optimiser, {key} of {name},", value


def _first(whose: str, tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    named = [(name, tensor) for name, tensor in tensors if tensor.is_floating_point()]
    if not named:
        return None
    fine = torch.stack([torch.isfinite(tensor).all().to(named[0][1].device) for _, tensor in named]).tolist()
    return next((f"{whose} {name}" for (name, _), good in zip(named, fine, strict=True) if not good), None)

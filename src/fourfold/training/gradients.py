"""How much each term of the loss moves the generator: the norm of its own gradient.

A loss that is logged is not yet a loss that trains: a detached tensor, a clamp, or a scale that lets one term
drown the others all show nothing in the loss curve. The gradient shows them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from fourfold.errors import TrainingError

PREFIX = "gradient_share_"


def gradient_shares(
    terms: Mapping[str, Tensor], network: nn.Module, mean: Callable[[Tensor], Tensor] = lambda x: x
) -> dict[str, Tensor]:
    """Returns each term's share of the sum of gradient norms over the network's parameters, in 0..1.

    The graph is kept, so that the caller's own backward still works.

    Args:
        terms: weighted losses by name.
        network: whose parameters count.
        mean: gives the mean of a tensor over all processes: each has a part of the batch, whose gradient's norm is not
            that of the whole.

    Raises:
        TrainingError: naming a term that gives no gradient at all.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    norms = {name: _gradient_norm(loss, parameters, mean) for name, loss in terms.items()}
    for name, norm in norms.items():
        if float(norm) == 0.0:
            raise TrainingError(
                f"the loss term {name!r} is configured and gives the generator no gradient at all: it would train "
                f"nothing. Its value is {float(terms[name].detach()):g}; set its weight to 0 to leave it out"
            )
    total = torch.stack(list(norms.values())).sum()
    return {f"{PREFIX}{name}": norm / total for name, norm in norms.items()}


def _gradient_norm(loss: Tensor, parameters: list[nn.Parameter], mean: Callable[[Tensor], Tensor]) -> Tensor:
    if not loss.requires_grad:
        return torch.zeros((), device=loss.device)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    found = [gradient.float().flatten() for gradient in gradients if gradient is not None]
    return mean(torch.cat(found)).norm() if found else torch.zeros((), device=loss.device)

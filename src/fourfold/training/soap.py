"""SOAP: Adam in the eigenbases of Shampoo's preconditioners, for convolutions.

Adam scales every weight by itself. The weights of a convolution hang together, by the maps that they read and the maps
that they write: along some combinations of maps the loss is steep, along others flat, and these are what long training
is spent on. SOAP follows the two covariances of the gradient, of output and of input maps, turns gradients into their
eigenvectors and runs Adam there. Source: Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025
(arXiv 2409.11321). Differs from it: kernel positions are left as they are, and the running mean of the gradient is
kept in the eigenbasis and turned along with it.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn

#: Of the two covariances, per update.
_FORGETTING = 0.05
#: Updates from one turn of the bases to the next.
_TURN_EVERY = 10
_EPSILON = 1e-8


class Soap(torch.optim.Optimizer):
    """SOAP for parameters of four dimensions, Adam for all others.

    Layers of one shape are computed together, and their state is kept under the first of them; so the same parameters
    must have gradients in every update. The very first update only measures the bases. What SOAP costs is per update,
    whatever the batch: for SRResNet, 0.03 s of one core of an AMD EPYC (Zen 4).

    Args:
        parameters: of a network.
        lr: learning rate; an update changes a weight by about as much as Adam's.
        betas: of the running means of gradient and squared gradient.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Makes one update from the gradients that are there; takes no closure."""
        assert closure is None
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for shape, layers in alike.items():
                gradient = torch.stack([_gradient(layer).float() for layer in layers])
                of_shape = _soap if len(shape) == 4 else _adam
                for layer, part in zip(layers, of_shape(self.state[layers[0]], gradient, group["betas"]), strict=True):
                    layer.add_(part, alpha=-group["lr"])


def _gradient(layer: nn.Parameter) -> Tensor:
    assert layer.grad is not None
    return layer.grad


def _soap(state: dict[str, Tensor], gradient: Tensor, betas: tuple[float, float]) -> Tensor:
    """Returns SOAP's update for a learning rate of 1, and keeps its means, covariances and bases.

    Args:
        state: of these layers; empty before their first update.
        gradient: (layers, out, in, rows, columns).
        betas: of the running means.
    """
    kernel = gradient.shape[3:]
    gradient = gradient.permute(0, 1, 3, 4, 2).flatten(2, 3)  # (layers, out, positions, in): rotations are products
    if not state:
        for name, covariance in _covariances(gradient).items():
            state[name] = covariance * _FORGETTING
            state[f"{name}_basis"] = _eigenvectors(covariance)
        change = torch.zeros_like(gradient)
    else:
        change = _turn_back(_adam(state, _turn(gradient, state), betas), state)
        for name, covariance in _covariances(gradient).items():
            state[name].lerp_(covariance, _FORGETTING)
        if int(state["step"]) % _TURN_EVERY == 1:
            mean = _turn_back(state["mean"], state)
            for name in ("out", "in"):
                state[f"{name}_basis"] = _turned_basis(state[name], state[f"{name}_basis"])
            state["mean"] = _turn(mean, state)
    return change.unflatten(2, kernel).permute(0, 1, 4, 2, 3)


def _covariances(gradient: Tensor) -> dict[str, Tensor]:
    """Returns the gradient's covariances over output maps and over input maps, each (layers, maps, maps)."""
    of_out, of_in = gradient.flatten(2), gradient.flatten(1, 2)
    return {"out": of_out @ of_out.mT, "in": of_in.mT @ of_in}


def _turn(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Returns (layers, out, positions, in) in the two bases."""
    return _both(x, state["out_basis"].mT, state["in_basis"])


def _turn_back(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    return _both(x, state["out_basis"], state["in_basis"].mT)


def _both(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return ((left @ x.flatten(2)).view_as(x).flatten(1, 2) @ right).view_as(x)


def _eigenvectors(covariance: Tensor) -> Tensor:
    """Returns a first basis, the steepest direction first; any for what is not finite, which the run will name."""
    if not torch.isfinite(covariance).all():
        return torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device).expand_as(covariance)
    return _shared(torch.linalg.eigh(_decomposable(covariance)).eigenvectors.flip(-1), covariance)


def _turned_basis(covariance: Tensor, basis: Tensor) -> Tensor:
    """Returns the basis after one step of orthogonal iteration towards the eigenvectors."""
    return _shared(torch.linalg.qr(_decomposable(covariance @ basis)).Q, covariance)


def _decomposable(x: Tensor) -> Tensor:
    """Returns what torch can decompose: on Apple's GPUs it has no kernel for it."""
    return x.cpu() if x.device.type == "mps" else x


def _shared(basis: Tensor, like: Tensor) -> Tensor:
    """Returns the first process's basis on the device of ``like``.

    Two machines may round a decomposition differently, and their networks would drift apart.
    """
    basis = basis.to(like.device).contiguous()
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.broadcast(basis, src=0)
    return basis


def _adam(state: dict[str, Tensor], gradient: Tensor, betas: tuple[float, float]) -> Tensor:
    """Returns Adam's update for a learning rate of 1 (Kingma and Ba 2015, algorithm 1), and keeps its means."""
    if "step" not in state:
        state["step"] = torch.zeros(())  # on the host, so that reading it waits for no device
        state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    state["step"] += 1
    step, (beta1, beta2) = int(state["step"]), betas
    state["mean"].lerp_(gradient, 1 - beta1)
    state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (state["square"] / (1 - beta2**step)).sqrt_().add_(_EPSILON)
    return state["mean"] / scale.mul_(1 - beta1**step)

"""What a weights file of each architecture must hold: names and shapes, known without torch.

The networks' own ``state_dict`` is tested to agree with these tables, so a file can be checked, tensor by tensor,
on a machine that has no torch.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fourfold.errors import WeightsError

Shapes = dict[str, tuple[int, ...]]

#: Defaults of each architecture's parameters; a header may leave them out, but may not name others.
DEFAULTS: dict[str, dict[str, Any]] = {
    "srresnet": {"blocks": 16, "width": 64, "prelu": "shared", "scale": 4, "batch_norm": True},
    "srcnn": {"width": 64, "inner": 32, "kernel": 5, "scale": 4},
    "espcn": {"width": 64, "inner": 32, "activation": "tanh", "scale": 4},
    "drcn": {"width": 256, "recursions": 16, "scale": 4},
}

#: Largest value of a whole-number parameter: a header may not ask for terabytes.
_LARGEST = 4096

#: Largest value of what costs memory and time, and takes no room in a file.
_MOST_RECURSIONS = 64


def _conv(name: str, out: int, channels: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (out, channels, kernel, kernel), f"{name}.bias": (out,)}


def _batch_norm(name: str, width: int, present: bool) -> Shapes:
    if not present:
        return {}
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def _srresnet(blocks: int, width: int, prelu: str, scale: int, batch_norm: bool) -> Shapes:
    slopes = 1 if prelu == "shared" else width
    shapes: Shapes = {**_conv("head", width, 3, 9), "activation.weight": (slopes,)}
    for k in range(blocks):
        shapes |= _conv(f"body.{k}.conv1", width, width, 3) | _batch_norm(f"body.{k}.bn1", width, batch_norm)
        shapes[f"body.{k}.activation.weight"] = (slopes,)
        shapes |= _conv(f"body.{k}.conv2", width, width, 3) | _batch_norm(f"body.{k}.bn2", width, batch_norm)
    shapes |= _conv("fusion", width, width, 3) | _batch_norm("fusion_bn", width, batch_norm)
    for k in range(scale.bit_length() - 1):
        shapes |= _conv(f"upsampling.{k}.conv", 4 * width, width, 3)
        shapes[f"upsampling.{k}.activation.weight"] = (slopes,)
    return shapes | _conv("tail", 3, width, 9)


def _srcnn(width: int, inner: int, kernel: int, scale: int) -> Shapes:
    return _conv("conv1", width, 1, 9) | _conv("conv2", inner, width, kernel) | _conv("conv3", 1, inner, 5)


def _espcn(width: int, inner: int, activation: str, scale: int) -> Shapes:
    return _conv("conv1", width, 1, 5) | _conv("conv2", inner, width, 3) | _conv("conv3", scale * scale, inner, 3)


def _drcn(width: int, recursions: int, scale: int) -> Shapes:
    shapes = _conv("embed1", width, 1, 3) | _conv("embed2", width, width, 3) | _conv("recursion", width, width, 3)
    return shapes | _conv("reconstruct1", width, width, 3) | _conv("reconstruct2", 1, width, 3) | {"mix": (recursions,)}


_SHAPES: dict[str, Callable[..., Shapes]] = {"srresnet": _srresnet, "srcnn": _srcnn, "espcn": _espcn, "drcn": _drcn}


def resolve_parameters(architecture: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all parameters of an architecture, defaults filled in, in a fixed order.

    Raises:
        WeightsError: for an unknown architecture or parameter, or a value of the wrong kind or out of range.
    """
    if architecture not in DEFAULTS:
        raise WeightsError(f"unknown architecture {architecture!r}; known: {', '.join(sorted(DEFAULTS))}")
    defaults = DEFAULTS[architecture]
    unknown = sorted(set(parameters) - set(defaults))
    if unknown:
        raise WeightsError(f"{architecture} has no parameter {unknown[0]!r}; it has {', '.join(defaults)}")
    resolved = {**defaults, **parameters}
    for key, value in resolved.items():
        _check_parameter(architecture, key, value, defaults[key])
    return resolved


def _check_parameter(architecture: str, key: str, value: Any, default: Any) -> None:
    wanted = type(default)
    if type(value) is not wanted:
        raise WeightsError(f"{architecture}'s {key} is {value!r}; it must be of type {wanted.__name__}")
    if wanted is int and not 1 <= value <= _LARGEST:
        raise WeightsError(f"{architecture}'s {key} is {value}; it must lie in 1..{_LARGEST}")
    if key == "recursions" and value > _MOST_RECURSIONS:
        raise WeightsError(f"{architecture}'s recursions is {value}; it must lie in 1..{_MOST_RECURSIONS}")
    if key == "prelu" and value not in ("shared", "channel"):
        raise WeightsError(f"{architecture}'s prelu is {value!r}; it must be 'shared' or 'channel'")
    if key == "activation" and value not in ("tanh", "relu"):
        raise WeightsError(f"{architecture}'s activation is {value!r}; it must be 'tanh' or 'relu'")
    if key == "kernel" and value % 2 == 0:
        raise WeightsError(f"{architecture}'s kernel is {value}; it must be odd")
    if key == "scale" and value not in (2, 4, 8):
        raise WeightsError(f"{architecture}'s scale is {value}; it must be 2, 4 or 8")


def expected_shapes(architecture: str, parameters: Mapping[str, Any]) -> Shapes:
    """Returns the name and shape of every tensor that such a network has.

    Raises:
        WeightsError: as :func:`resolve_parameters`.
    """
    return _SHAPES[architecture](**resolve_parameters(architecture, parameters))

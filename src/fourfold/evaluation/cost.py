"""What a network costs: its parameters and its multiply-adds, counted from its shapes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fourfold.weights import expected_shapes, resolve_parameters

#: The picture that multiply-adds are usually quoted for: 1280x720, enlarged from 320x180.
HD_PIXELS = 1280 * 720


@dataclass(frozen=True)
class Cost:
    """A network's cost.

    Attributes:
        parameters: trained values.
        multiply_adds_per_pixel: of its convolutions, per pixel of the enlarged picture.
    """

    parameters: int
    multiply_adds_per_pixel: float


def network_cost(architecture: str, parameters: Mapping[str, Any]) -> Cost:
    """Returns the cost of a network, without building it.

    Every convolution's weights are used once per position; what differs is how many positions there are: the LR
    picture's, the enlarged picture's, or something between, and for DRCN how often.

    Raises:
        WeightsError: for an unknown architecture or parameter.
    """
    resolved = resolve_parameters(architecture, parameters)
    shapes = expected_shapes(architecture, resolved)
    trained = sum(math.prod(shape) for name, shape in shapes.items() if ".running_" not in name)
    kernels = {name: math.prod(shape) for name, shape in shapes.items() if len(shape) == 4}
    total = sum(count * _uses(architecture, name, resolved) for name, count in kernels.items())
    return Cost(trained, total / resolved["scale"] ** 2)


def _uses(architecture: str, name: str, parameters: Mapping[str, Any]) -> int:
    """Returns how often a convolution is computed per LR pixel."""
    enlarged = int(parameters["scale"]) ** 2
    if architecture == "srresnet":
        part, index = name.split(".")[:2]
        return enlarged if part == "tail" else 4 ** int(index) if part == "upsampling" else 1
    if architecture == "drcn":
        repeated = name.split(".")[0] in ("recursion", "reconstruct1", "reconstruct2")
        return enlarged * (int(parameters["recursions"]) if repeated else 1)
    return 1 if architecture == "espcn" else enlarged

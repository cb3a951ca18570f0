"""The fidelity dial: a network between two networks (Wang et al. 2018, ESRGAN, section 3.4)."""

import hashlib
from dataclasses import replace

import numpy as np

from fourfold.errors import UsageError
from fourfold.weights import WeightsFile


def interpolate(realistic: WeightsFile, faithful: WeightsFile, fidelity: float) -> WeightsFile:
    """Returns the weights ``(1 - fidelity) * realistic + fidelity * faithful``, tensor by tensor.

    That works because one network was trained from the other: their weights lie close together, and the networks
    between them are good ones too. The result says in its header what it was made of.

    Args:
        realistic: the photo-realistic network, fidelity 0.
        faithful: the faithful one, fidelity 1.
        fidelity: 0..1.

    Raises:
        UsageError: for a fidelity outside 0..1, or two networks of different shape.
    """
    if not 0.0 <= fidelity <= 1.0:
        raise UsageError(f"the fidelity is {fidelity:g}; it goes from 0 (photo-realistic) to 1 (faithful)")
    _check_compatible(realistic, faithful)
    share = np.float32(fidelity)
    tensors = {
        name: (1 - share) * tensor + share * faithful.tensors[name] for name, tensor in realistic.tensors.items()
    }
    name = f"{_name(realistic)} to {_name(faithful)}, fidelity {fidelity:g}"
    config = replace(realistic.config, name=name, recipe={}, content_scale=None, scores={})
    text = f"{realistic.sha256} {faithful.sha256} {fidelity:.9g}"
    return WeightsFile(config, tensors, hashlib.sha256(text.encode()).hexdigest(), realistic.path)


def _check_compatible(first: WeightsFile, second: WeightsFile) -> None:
    one, two = first.config, second.config
    if one.architecture != two.architecture:
        raise UsageError(
            f"no fidelity between {_name(first)} ({one.architecture}) and {_name(second)} ({two.architecture}); "
            "both must be of one architecture"
        )
    for key, value in one.parameters.items():
        if two.parameters.get(key) != value:
            raise UsageError(
                f"no fidelity between {_name(first)} and {_name(second)}: "
                f"their {key} is {value!r} and {two.parameters.get(key)!r}; it must be the same"
            )


def _name(weights: WeightsFile) -> str:
    return weights.config.name or weights.path.stem

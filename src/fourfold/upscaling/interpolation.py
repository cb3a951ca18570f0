"""The fidelity dial: a network between two networks (Wang et al. 2018, ESRGAN, section 3.4)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fourfold.errors import UsageError
from fourfold.weights import WeightsConfig, WeightsFile


def interpolate(realistic: WeightsFile, faithful: WeightsFile, fidelity: float) -> WeightsFile:
    """Returns the weights ``(1 - fidelity) * realistic + fidelity * faithful``, tensor by tensor.

    That works because one network was trained from the other: their weights lie close together, and the networks
    between them are good ones too. The result says in its header what it was made of: the data, the licences and the
    training of both, each with its network's name where they differ. It has no updates of its own. Between a network
    and itself lies nothing: it is returned as it is.

    Args:
        realistic: the photo-realistic network, fidelity 0.
        faithful: the faithful one, fidelity 1.
        fidelity: 0..1.

    Raises:
        UsageError: for a fidelity outside 0..1, or two networks of different shape.
    """
    if not 0.0 <= fidelity <= 1.0:
        raise UsageError(f"the fidelity is {fidelity:g}; it goes from 0 (photo-realistic) to 1 (faithful)")
    if realistic.sha256 == faithful.sha256:
        return realistic
    _check_compatible(realistic, faithful)
    tensors = {
        # in float64: what both share, such as batch norm's statistics, is to come out as it is
        name: ((1 - fidelity) * tensor.astype(np.float64) + fidelity * faithful.tensors[name]).astype(tensor.dtype)
        for name, tensor in realistic.tensors.items()
    }
    name = f"{_name(realistic)} to {_name(faithful)}, fidelity {fidelity:g}"
    ends = [end for end, part in ((realistic, 1.0 - fidelity), (faithful, fidelity)) if part > 0.0]
    config = mixed_config(ends, name)
    text = f"{realistic.sha256} {faithful.sha256} {fidelity:.9g}"
    return WeightsFile(config, tensors, hashlib.sha256(text.encode()).hexdigest(), realistic.path)


def mixed_config(parts: Sequence[WeightsFile], name: str) -> WeightsConfig:
    """Returns the header of a mixture of networks of one shape: what all were trained on, and no scores."""
    return replace(
        parts[0].config,
        name=name,
        recipe={},
        content_scale=None,
        scores={},
        updates=0,
        device=_joined(parts, _training),
        data=_joined(parts, lambda part: part.config.data),
        data_licence=_joined(parts, lambda part: part.config.data_licence),
        licence=_joined(parts, lambda part: part.config.licence),
    )


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


def _joined(ends: Sequence[WeightsFile], text: Callable[[WeightsFile], str]) -> str:
    """Returns what all say, or what each says, with its name."""
    texts = list(map(text, ends))
    if len(set(texts)) == 1:
        return texts[0]
    return "\n".join(f"{_name(end)}: {said or 'not stated'}" for end, said in zip(ends, texts, strict=True))


def _training(weights: WeightsFile) -> str:
    config = weights.config
    return f"{config.updates:,} updates on {config.device or 'a machine not stated'}"


def _name(weights: WeightsFile) -> str:
    return weights.config.name or weights.path.stem

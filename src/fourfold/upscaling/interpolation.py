"""The fidelity dial: a network between two networks (Wang et al. 2018, ESRGAN, section 3.4)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import UsageError
from fourfold.weights import WeightsConfig, WeightsFile, is_unfit


def interpolate(
    realistic: WeightsFile, faithful: WeightsFile, fidelity: float, *, corrected: bool = True
) -> WeightsFile:
    """Returns the weights ``(1 - fidelity) * realistic + fidelity * faithful``, tensor by tensor.

    That works because one network was trained from the other: their weights lie close together, and the networks
    between them are good ones too. The result says in its header what it was made of: the data, the licences and the
    training of both, each with its network's name where they differ. It has no updates of its own. Between a network
    and itself lies nothing: it is returned as it is.

    What lies between has a tint that neither end has, most of it half way. Where the photo-realistic network's header
    holds what takes that away on the way to this faithful one (its ``dial``: a matrix on colours, measured half way on
    training pictures), the last convolution puts out ``colour + 4 * fidelity * (1 - fidelity) * (matrix @ colour +
    offset)``, with colours in 0..1.

    Args:
        realistic: the photo-realistic network, fidelity 0.
        faithful: the faithful one, fidelity 1.
        fidelity: 0..1.
        corrected: False for the mean of the numbers alone.

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
    dial = realistic.config.dial if corrected else {}
    if dial and realistic.config.architecture == "srresnet" and dial["faithful"] == faithful.tensors_sha256:
        amount = 4 * fidelity * (1 - fidelity)
        tensors |= _recoloured(tensors, amount * np.array(dial["matrix"]), amount * np.array(dial["offset"]))
    name = f"{_name(realistic)} to {_name(faithful)}, fidelity {fidelity:g}"
    ends = [end for end, part in ((realistic, 1.0 - fidelity), (faithful, fidelity)) if part > 0.0]
    config = mixed_config(ends, name)
    text = f"{realistic.sha256} {faithful.sha256} {fidelity:.9g}" + ("" if corrected else " uncorrected")
    return WeightsFile(config, tensors, hashlib.sha256(text.encode()).hexdigest(), realistic.path)


def _recoloured(
    tensors: dict[str, NDArray[np.float32]], matrix: NDArray[np.float64], offset: NDArray[np.float64]
) -> dict[str, NDArray[np.float32]]:
    """Returns an SRResNet's last convolution such that ``matrix @ colour + offset`` is added to what it puts out."""
    weight, bias = (tensors[name].astype(np.float64) for name in ("tail.weight", "tail.bias"))
    weight += np.einsum("oc,cikl->oikl", matrix, weight)
    bias += matrix @ (bias + 1) + 2 * offset  # it puts out -1..1
    return {"tail.weight": weight.astype(np.float32), "tail.bias": bias.astype(np.float32)}


def mixed_config(parts: Sequence[WeightsFile], name: str) -> WeightsConfig:
    """Returns the header of a mixture of networks of one shape: what all were trained on, and no scores."""
    return replace(
        parts[0].config,
        name=name,
        recipe={},
        content_scale=None,
        scores={},
        dial={},
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
    """Returns a network's name, or its file's, with escapes for what a header may not hold."""
    if weights.config.name:
        return weights.config.name
    return "".join(c.encode("unicode_escape").decode() if is_unfit(c) else c for c in weights.path.stem)

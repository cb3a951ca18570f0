"""Distances between deep features: optional measures that need torch and weights the user has.

Neither is a quality on an absolute scale, and neither may stand in one column with the other: they are named
after what they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.imaging import to_unit

if TYPE_CHECKING:
    from fourfold.networks.vgg19 import Normalisation

Pixels = NDArray[Any]


def vgg_distance(
    weights: Path, layer: str = "54", *, normalisation: "Normalisation"
) -> Callable[[Pixels, Pixels], float]:
    """Returns a measure: the mean squared distance of two pictures' VGG19 features, relative to the original's.

    The features are those of the paper's content loss (Ledig et al. 2017, eq. 5). Their scale depends on the
    weights in use, so the distance is divided by the mean square of the original's features: 0 for equal pictures,
    about 1 for unrelated ones, whatever the weights.

    Args:
        weights: VGG19's convolutions as safetensors or as torchvision's file.
        layer: "22" or "54" in the paper.
        normalisation: what the weights were trained with, "oxford" or "torchvision".

    Raises:
        WeightsError: if the file is not VGG19, or says that it is of the other normalisation.
        ModuleNotFoundError: without torch.
    """
    import torch

    from fourfold.networks import load_vgg19

    network = load_vgg19(weights, layer, normalisation)

    def measure(sr: Pixels, hr: Pixels) -> float:
        with torch.inference_mode():
            first, second = network(_batch(sr)), network(_batch(hr))
            return float((first - second).square().mean() / second.square().mean())

    return measure


def lpips_distance(network: str = "alex") -> Callable[[Pixels, Pixels], float]:
    """Returns LPIPS (Zhang et al. 2018), computed by the ``lpips`` package with the weights it brings.

    Args:
        network: "alex" (what tables use), "vgg" or "squeeze".

    Raises:
        EvaluationError: if the package or its weights are not there.
    """
    import torch

    try:
        import lpips

        model = lpips.LPIPS(net=network, verbose=False).eval()
    except ModuleNotFoundError as error:
        raise EvaluationError("LPIPS needs the lpips package and its weights: pip install lpips") from error
    except Exception as error:  # the package downloads on first use and raises whatever its loader raises
        raise EvaluationError(f"LPIPS cannot be loaded: {error}") from error

    def measure(sr: Pixels, hr: Pixels) -> float:
        with torch.inference_mode():
            return float(model(_batch(sr) * 2 - 1, _batch(hr) * 2 - 1))

    return measure


def _batch(picture: Pixels) -> Any:
    """Returns a picture as a torch batch of one, (1, 3, H, W) in 0..1."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(to_unit(picture).transpose(2, 0, 1)[None]))

"""The networks (torch): each class with its figure and citation; built from a weights file or from parameters."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fourfold.networks.discriminator import Discriminator
from fourfold.networks.drcn import DRCN
from fourfold.networks.espcn import ESPCN
from fourfold.networks.luma import LumaNetwork, luma
from fourfold.networks.patch_discriminator import PatchDiscriminator
from fourfold.networks.srcnn import SRCNN
from fourfold.networks.srresnet import SRResNet
from fourfold.networks.vgg19 import VGG19Features
from fourfold.networks.vgg19_weights import load_vgg19
from fourfold.weights import WeightsFile, resolve_parameters

#: architecture key in a weights file -> class
ARCHITECTURES: dict[str, type[nn.Module]] = {"srresnet": SRResNet, "srcnn": SRCNN, "espcn": ESPCN, "drcn": DRCN}


def build(architecture: str, parameters: Mapping[str, Any]) -> nn.Module:
    """Returns an untrained network.

    Raises:
        WeightsError: for an unknown architecture or parameter.
    """
    resolved = resolve_parameters(architecture, parameters)
    return ARCHITECTURES[architecture](**resolved)


def from_weights(weights: WeightsFile) -> nn.Module:
    """Returns the network of a weights file, in evaluation mode, float32, on the CPU."""
    network = build(weights.config.architecture, weights.config.parameters)
    state = {name: torch.from_numpy(tensor.copy()) for name, tensor in weights.tensors.items()}
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):  # a counter of training, not a weight
            state[name] = value
    network.load_state_dict(state)
    return network.eval()


__all__ = [
    "ARCHITECTURES",
    "DRCN",
    "ESPCN",
    "SRCNN",
    "Discriminator",
    "LumaNetwork",
    "PatchDiscriminator",
    "SRResNet",
    "VGG19Features",
    "build",
    "from_weights",
    "load_vgg19",
    "luma",
]

"""VGG19's feature maps phi_i,j (Simonyan and Zisserman 2015), what the content loss compares."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.errors import UsageError, WeightsError

Normalisation = Literal["oxford", "torchvision"]

#: (maps, convolutions) of the five blocks; each block ends in a max-pool.
BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))

#: normalisation -> (factor on 0..1, mean, standard deviation, whether channels are turned round to BGR)
NORMALISATIONS: dict[str, tuple[float, tuple[float, float, float], tuple[float, float, float], bool]] = {
    "oxford": (255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0), True),
    "torchvision": (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
}


class VGG19Features(nn.Module):
    """The feature map phi_i,j of VGG19: after the ReLU of the j-th convolution before the i-th max-pool.

    Ledig et al. 2017, section 2.2.1; VGG22 is phi_2,2 and VGG54 is phi_5,4::

        picture ── normalise ── [features[0] ── ReLU ── features[1] ── ReLU ── max-pool 2] ── ... ── features[n] ── ReLU
        (RGB 0..1)              block 1: 2 x k3 n64    block 2: 2 x k3 n128, block 3: 4 x k3 n256,       │
                                                       block 4 and 5: 4 x k3 n512                    phi_i,j

    The pool after block i is left out: phi_i,j lies before it. Everything after phi_i,j is not built.

    Two sets of weights are in use, and their inputs differ; which one is meant is always said, never guessed:

    - "oxford": the authors' own (Caffe, also Keras): BGR in 0..255 minus the mean picture colour.
    - "torchvision": trained anew for torchvision: RGB in 0..1, minus mean, divided by standard deviation.

    Activations of the Oxford weights reach 1.5e4, close to float16's limit of 6.5e4 and past it in their squares:
    the network computes in the dtype of its parameters, which may be float32 or bfloat16. It is frozen.

    Args:
        layer: "ij" as in the paper, such as "22" or "54".
        normalisation: "oxford" or "torchvision", whichever the weights were trained with.
    """

    def __init__(self, layer: str = "54", normalisation: Normalisation = "oxford") -> None:
        super().__init__()
        if normalisation not in get_args(Normalisation):
            raise UsageError(f"VGG19's normalisation is {normalisation!r}; it can be 'oxford' or 'torchvision'")
        self.layer, self.normalisation = layer, normalisation
        self.features = nn.ModuleList(_convolutions(layer))
        self._pool_before = {sum(count for _, count in BLOCKS[:block]) for block in range(1, len(BLOCKS))}
        factor, mean, deviation, self._bgr = NORMALISATIONS[normalisation]
        scale = factor / torch.tensor(deviation).view(1, 3, 1, 1)
        offset = torch.tensor(mean).view(1, 3, 1, 1) / torch.tensor(deviation).view(1, 3, 1, 1)
        self.register_buffer("_scale", scale, persistent=False)
        self.register_buffer("_offset", offset, persistent=False)
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns phi_i,j, (N, C, H / 2^(i-1), W / 2^(i-1)), in the parameters' dtype.

        Args:
            pictures: (N, 3, H, W), RGB in 0..1; values a little outside are taken as they are.

        Raises:
            TypeError: if the parameters were cast to float16.
        """
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        dtype = first.weight.dtype
        if dtype == torch.float16:
            raise TypeError("VGG19 overflows in float16; use float32 or bfloat16")
        with torch.autocast(pictures.device.type, enabled=False):
            x = self._normalise(pictures).to(dtype)
            for k, convolution in enumerate(self.features):
                if k in self._pool_before:
                    x = functional.max_pool2d(x, 2)
                x = functional.relu_(convolution(x))
        return x

    def _normalise(self, pictures: Tensor) -> Tensor:
        x = pictures.float().flip(1) if self._bgr else pictures.float()
        scale, offset = self.get_buffer("_scale").float(), self.get_buffer("_offset").float()
        # the flip leaves channels-first memory; the convolutions want channels-last
        return (x * scale - offset).contiguous(memory_format=torch.channels_last)

    def load(self, tensors: Mapping[str, Tensor], source: str | Path = "the VGG19 weights") -> "VGG19Features":
        """Takes weights under torchvision's names (``features.0.weight``...) and returns itself.

        Args:
            tensors: any floating dtype; layers after phi_i,j are ignored.
            source: named in errors.

        Raises:
            WeightsError: naming the first tensor that is missing or of another shape.
        """
        with torch.no_grad():
            for index, convolution in zip(torchvision_indices(), self.features, strict=False):
                for part, target in convolution.named_parameters():
                    name = f"features.{index}.{part}"
                    if name not in tensors:
                        raise WeightsError(f"{source}: tensor {name!r} is missing; these are not VGG19's convolutions")
                    if tensors[name].shape != target.shape:
                        found, wanted = tuple(tensors[name].shape), tuple(target.shape)
                        raise WeightsError(f"{source}: tensor {name!r} has shape {found}; VGG19's is {wanted}")
                    target.copy_(tensors[name])
        return self


def check_layer(layer: str) -> tuple[int, int]:
    """Returns (i, j) of a layer's name, such as (5, 4) of "54".

    Raises:
        UsageError: if VGG19 has no such layer.
    """
    match = re.fullmatch(r"([1-5])\.?([1-4])", layer)
    block, number = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match or number > BLOCKS[block - 1][1]:
        names = ", ".join(f"{i}1..{i}{count}" for i, (_, count) in enumerate(BLOCKS, 1))
        raise UsageError(f"VGG19 has no layer {layer!r}; there are {names}")
    return block, number


def torchvision_indices() -> list[int]:
    """Returns the place of every convolution in torchvision's ``features``, where ReLUs and pools count too."""
    indices, place = [], 0
    for _, count in BLOCKS:
        for _ in range(count):
            indices.append(place)
            place += 2  # the convolution and its ReLU
        place += 1  # the max-pool
    return indices


def _convolutions(layer: str) -> list[nn.Conv2d]:
    block, number = check_layer(layer)
    widths = [maps for maps, count in BLOCKS[: block - 1] for _ in range(count)] + [BLOCKS[block - 1][0]] * number
    return [nn.Conv2d(channels, maps, 3, padding=1) for channels, maps in zip([3, *widths[:-1]], widths, strict=True)]

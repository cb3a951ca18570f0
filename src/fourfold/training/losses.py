"""The terms of the generator's loss (Ledig et al. 2017, equations 3 to 6, and the supplement's total variation).

Every function takes pictures in 0..1 and counts on the paper's -1..1, in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fourfold.networks import VGG19Features, luma
from fourfold.training.recipe import LossSettings

#: loss of (sr, hr), both (N, 3, H, W) in 0..1; a scalar with a gradient to sr
LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Term:
    """A term of the generator's loss.

    Attributes:
        name: in logs and messages: "pixel", "vgg", "consistency", "total_variation", "adversarial".
        weight: its factor in the sum.
        loss: the loss without its weight.
    """

    name: str
    weight: float
    loss: LossFunction


def content_terms(
    settings: LossSettings,
    features: VGG19Features | None,
    content_scale: float | None,
    shrink: Callable[[Tensor], Tensor] | None = None,
) -> list[Term]:
    """Returns the configured terms that need no discriminator, in a fixed order.

    Args:
        settings: weights; a weight of 0 leaves a term out.
        features: VGG19, where its term is configured.
        content_scale: the factor on VGG's mean squared feature distance.
        shrink: HR crops to LR crops, linear; where the consistency term is configured.
    """
    terms = []
    if settings.pixel:
        terms.append(Term("pixel", settings.pixel, lambda sr, hr: pixel_loss(sr, hr, settings)))
    if settings.vgg:
        assert features is not None and content_scale is not None
        terms.append(Term("vgg", settings.vgg, lambda sr, hr: vgg_loss(sr, hr, features, content_scale)))
    if settings.consistency:
        assert shrink is not None
        terms.append(Term("consistency", settings.consistency, lambda sr, hr: consistency_loss(sr, hr, shrink)))
    if settings.total_variation:
        terms.append(Term("total_variation", settings.total_variation, lambda sr, _: total_variation(sr)))
    return terms


def pixel_loss(sr: Tensor, hr: Tensor, settings: LossSettings) -> Tensor:
    """Returns the pixel loss on the paper's -1..1, mean over pixels and channels (Ledig et al. 2017, eq. 4).

    On the channel "y" it is the loss of the luma in the same range.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
        settings: names kind and channel; "mse" on "rgb" is the paper's.
    """
    difference = (sr.float() - hr) * 2.0
    if settings.pixel_channel == "y":
        difference = luma(difference)  # linear: the luma of the difference is the difference of the lumas
    if settings.pixel_kind == "mse":
        return difference.square().mean()
    if settings.pixel_kind == "l1":
        return difference.abs().mean()
    return (difference.square() + 1e-6).sqrt().mean()


def vgg_loss(sr: Tensor, hr: Tensor, features: VGG19Features, scale: float) -> Tensor:
    """Returns the scaled mean squared distance of VGG19's feature maps (Ledig et al. 2017, eq. 5).

    HR goes through the network by itself, without a graph: in one pass with SR, the backward would be computed for
    the HR half, too, only to be thrown away.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
        features: VGG19 up to phi_i,j.
        scale: the calibrated factor; the paper's is 1/12.75 squared, for the weights it had.
    """
    with torch.no_grad():
        wanted = features(hr).float()
    return (features(sr).float() - wanted).square().mean() * scale


def consistency_loss(sr: Tensor, hr: Tensor, shrink: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns the MSE on -1..1 between SR shrunk to LR's size and LR, before LR is rounded to 8 bits.

    Not in the paper, whose content losses hardly see brightness and colour: this one sees nothing else but what LR
    shows, and leaves the texture, which LR does not show, to the others. Shrinking is linear, so the difference is
    shrunk once instead of both pictures.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
        shrink: HR crops to LR crops, linear, with a gradient.
    """
    return shrink((sr.float() - hr) * 2.0).square().mean()


def total_variation(sr: Tensor) -> Tensor:
    """Returns the anisotropic total variation: sum over each picture's values, mean over the batch.

    The paper gives a weight of 2e-8 and refers to Johnson et al. 2016, who sum; for a mean, that weight would be
    five orders of magnitude under anything that can be seen. A sum grows with the crop, as theirs does.
    """
    x = sr.float() * 2.0
    down = (x[..., 1:, :] - x[..., :-1, :]).abs().sum(dim=(1, 2, 3))
    right = (x[..., 1:] - x[..., :-1]).abs().sum(dim=(1, 2, 3))
    return (down + right).mean()


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """Returns -log D(G(lr)), mean over the batch (Ledig et al. 2017, eq. 6), from logits.

    Differs from the paper: its equation 6 sums over the batch while its equations 4 and 5 are of one picture; here
    every term is a mean over the batch, so that 1e-3 means the same for every batch size.
    """
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Returns -log D(hr) - log(1 - D(G(lr))), mean over the batch (Ledig et al. 2017, eq. 2), from logits."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()

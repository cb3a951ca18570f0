"""The terms of the generator's loss (Ledig et al. 2017, equations 3 to 6, and the supplement's total variation).

Every function takes pictures in 0..1 and counts on the paper's -1..1, in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fourfold.networks import VGG19Features, luma
from fourfold.training.processes import own_rand
from fourfold.training.recipe import LATTICE_CELLS, LossSettings

#: Luma that varies by less than this (1.5 of 255, on -1..1) in a window is flat ground, to the loss "flat".
_FLAT_DEVIATION = 2 * 1.5 / 255

#: loss of (sr, hr), both (N, 3, H, W) in 0..1; a scalar with a gradient to sr
LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Term:
    """A term of the generator's loss.

    Attributes:
        name: in logs and messages: "pixel", "vgg", "consistency", "colour", "lattice", "flat", "fine",
            "total_variation", "adversarial".
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
    scale: int = 4,
) -> list[Term]:
    """Returns the configured terms that need no discriminator, in a fixed order.

    Args:
        settings: weights; a weight of 0 leaves a term out.
        features: VGG19, where its term is configured.
        content_scale: the factor on VGG's mean squared feature distance.
        shrink: HR crops to LR crops, linear; where the consistency term is configured.
        scale: of the network.
    """
    terms = []
    if settings.pixel:
        terms.append(Term("pixel", settings.pixel, lambda sr, hr: pixel_loss(sr, hr, settings)))
    if settings.vgg:
        assert features is not None and content_scale is not None
        shift_px, zoom = settings.vgg_shift_px, settings.vgg_zoom
        terms.append(
            Term("vgg", settings.vgg, lambda sr, hr: vgg_loss(sr, hr, features, content_scale, shift_px, zoom))
        )
    if settings.consistency:
        assert shrink is not None
        terms.append(Term("consistency", settings.consistency, lambda sr, hr: consistency_loss(sr, hr, shrink)))
    if settings.colour:
        terms.append(Term("colour", settings.colour, colour_loss))
    if settings.lattice:
        terms.append(Term("lattice", settings.lattice, lambda sr, hr: lattice_loss(sr, hr, scale)))
    if settings.flat:
        terms.append(Term("flat", settings.flat, flat_loss))
    if settings.fine:
        terms.append(Term("fine", settings.fine, fine_loss))
    if settings.total_variation:
        terms.append(Term("total_variation", settings.total_variation, lambda sr, _: total_variation(sr)))
    return terms


def pixel_loss(sr: Tensor, hr: Tensor, settings: LossSettings) -> Tensor:
    """Returns the pixel loss on the paper's -1..1, mean over pixels and channels (Ledig et al. 2017, eq. 4).

    On the channel "y" it is the loss of the luma in the same range. ``pixel_luma`` mixes: so much of the loss of the
    luma, the rest of that of RGB. The benchmark counts luma alone, of which two parts in seven of an SRResNet's error
    on RGB are nothing.

    "psnr" is the mean of the crops' log MSE instead (the negative PSNR, but for factor and offset). The benchmark's
    mean of PSNRs weighs every picture alike; the mean of MSEs is decided by the few crops of foliage and gravel in
    which there is the least to learn. Below an MSE of ``pixel_floor`` it flattens out: of a nearly even crop nothing
    is left to learn.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
        settings: names kind and channel; "mse" on "rgb" is the paper's.
    """
    difference = (sr.float() - hr) * 2.0
    if settings.pixel_channel == "y":
        return _size_of(luma(difference), settings)  # linear: the luma of the difference is that of the lumas
    if not settings.pixel_luma:
        return _size_of(difference, settings)
    of_luma = _size_of(luma(difference), settings)
    return torch.lerp(_size_of(difference, settings), of_luma, settings.pixel_luma)


def _size_of(difference: Tensor, settings: LossSettings) -> Tensor:
    """Returns the mean of what a kind of pixel loss counts of differences on -1..1."""
    if settings.pixel_kind == "mse":
        return difference.square().mean()
    if settings.pixel_kind == "psnr":
        return (difference.square().mean(dim=(1, 2, 3)) + settings.pixel_floor).log().mean()
    if settings.pixel_kind == "l1":
        return difference.abs().mean()
    return (difference.square() + 1e-6).sqrt().mean()


def vgg_loss(
    sr: Tensor,
    hr: Tensor,
    features: VGG19Features,
    scale: float,
    shift_px: int = 0,
    zoom: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Returns the scaled mean squared distance of VGG19's feature maps (Ledig et al. 2017, eq. 5).

    VGG19's max-pools divide a picture into cells, and their gradient prefers some places in a cell to others. The
    generator's pixel shuffle has cells of its own. On crops that always begin with a whole cell of both, the
    preference falls on the same pixels each time and is learned, as a grid. ``shift_px`` lets VGG19's cells fall
    anywhere: each update, it looks at both pictures from another row and column on.

    VGG19 also sees some fine patterns hardly or wrongly: waves of 2 to 2.5 px added to a smooth picture bring phi_2,2
    nearer to the original's, and a generator that follows it alone weaves them over everything. ``zoom`` enlarges what
    VGG19 sees; such waves are then as long as those that it judges rightly.

    HR goes through the network by itself, without a graph: in one pass with SR, the backward would be computed for
    the HR half, too, only to be thrown away.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
        features: VGG19 up to phi_i,j.
        scale: the calibrated factor; the paper's is 1/12.75 squared, for the weights it had.
        shift_px: VGG19 begins up to this many rows and columns inside the pictures; 0 leaves them whole.
        zoom: least and largest factor by which VGG19 sees a part of the pictures enlarged; 1 and 1 leave them whole.
    """
    if shift_px:
        sr, hr = _shifted(sr, hr, shift_px)
    if zoom[1] > 1:
        sr, hr = _zoomed(sr, hr, zoom)
    with torch.no_grad():
        wanted = features(hr).float()
    return (features(sr).float() - wanted).square().mean() * scale


def _shifted(sr: Tensor, hr: Tensor, shift_px: int) -> tuple[Tensor, Tensor]:
    """Returns both pictures from a random row and column on, all of a size: by indices, which a CUDA graph can hold."""
    height, width = sr.shape[2] - shift_px, sr.shape[3] - shift_px
    offsets = torch.randint(shift_px + 1, (2, 1), device=sr.device)
    rows = torch.arange(height, device=sr.device) + offsets[0]
    columns = torch.arange(width, device=sr.device) + offsets[1]
    return (
        sr.index_select(2, rows).index_select(3, columns),
        hr.index_select(2, rows).index_select(3, columns),
    )


def _zoomed(sr: Tensor, hr: Tensor, zoom: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Returns a random part of both pictures, enlarged to their size by a random factor between the two of ``zoom``.

    Each picture of the batch has a part and a factor of its own. Bicubic, because a bilinear one would blur away the
    very waves that are to be seen.
    """
    least, largest = zoom
    side = 1 / (least + (largest - least) * own_rand(len(sr), 1, sr.device))  # of the part, in the whole's
    middle = (1 - side) * (2 * own_rand(len(sr), 2, sr.device) - 1)  # in grid_sample's -1..1
    to_part = torch.cat([torch.diag_embed(side.expand(-1, 2)), middle[:, :, None]], dim=2)
    grid = functional.affine_grid(to_part, list(sr.shape), align_corners=False)
    seen = [functional.grid_sample(x.float(), grid, "bicubic", "border", align_corners=False) for x in (sr, hr)]
    return seen[0], seen[1]


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


def colour_loss(sr: Tensor, hr: Tensor) -> Tensor:
    """Returns the MSE on -1..1 of the mean colours of SR's and HR's crops.

    Not in the paper. A shift of a whole area by a third of a grey level is lost among the pixels' own errors in every
    other term, and yet the eye compares areas; here it stands alone.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
    """
    return ((sr.float() - hr) * 2.0).mean(dim=(2, 3)).square().mean()


def lattice_loss(sr: Tensor, hr: Tensor, scale: int, window: int = LATTICE_CELLS) -> Tensor:
    """Returns the MSE on -1..1 of SR's and HR's local means at each place in an LR pixel's cell.

    Not in the paper. An LR pixel is a cell of ``scale`` x ``scale`` pixels, made by a pixel shuffle from as many
    channels; a difference between those channels that does not come from the picture is a grid. VGG19 takes a grid
    for texture and rewards it, and the pixels' own errors hardly show it. Averaged over a window at each place in the
    cell separately, real texture, which knows nothing of cells, cancels out, and the grid remains.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
        scale: side of a cell.
        window: cells on a side that are averaged.
    """
    places = functional.pixel_unshuffle((sr.float() - hr) * 2.0, scale).unflatten(1, (-1, scale**2))
    places = (places - places.mean(dim=2, keepdim=True)).flatten(1, 2)  # what all places share is no grid
    return functional.avg_pool2d(places, window, max(window // 2, 1)).square().mean()


def flat_loss(sr: Tensor, hr: Tensor, window: int = 5) -> Tensor:
    """Returns the MSE on -1..1 where HR is flat: each pixel counts by how little HR's luma varies around it.

    Not in the paper. An adversary that has texture drawn also has it drawn where it reaches too far: dots beside edges,
    echoes around letters, grain on the sky. Over a whole crop, those errors vanish beside the edges' and the
    textures' own, in which a GAN must be free; where the original is flat there is nothing to invent, and any error is
    seen. A pixel counts half where HR varies as faint noise does, and next to nothing within two pixels of an edge.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
        window: side of the neighbourhood, in pixels; odd.
    """
    return (flat_weight(hr, window) * ((sr.float() - hr) * 2.0).square()).mean()


def flat_weight(hr: Tensor, window: int = 5) -> Tensor:
    """Returns how flat HR is around each pixel, (N, 1, H, W) in 0..1: n^2 / (variance of luma + n^2), n = 1.5 of 255.

    Args:
        hr: pictures in 0..1.
        window: side of the neighbourhood, in pixels; odd.
    """
    ground, reach = luma(hr.float() * 2.0), window // 2
    centred = ground - ground.mean(dim=(2, 3), keepdim=True)  # the variance is a difference of squares
    around = functional.pad(torch.cat([centred, centred.square()], dim=1), [reach] * 4, mode="replicate")
    mean, square = functional.avg_pool2d(around, window, stride=1).chunk(2, dim=1)
    return _FLAT_DEVIATION**2 / ((square - mean.square()).clamp_min(0) + _FLAT_DEVIATION**2)


def fine_loss(sr: Tensor, hr: Tensor) -> Tensor:
    """Returns the MSE on -1..1 of fine waves: of what a 3x3 blur takes away.

    Not in the paper. LR at a quarter shows nothing shorter than eight pixels, and of what is much shorter a network can
    know little more than where the edges are. phi_2,2 takes such waves for texture and rewards them (see
    ``vgg_loss``); this term says what the pixel loss says, but the more, the shorter the wave, and leaves those that
    make a picture look sharp to VGG19. The binomial blur passes cos^2(pi f) along each axis; so 2 % of the energy of
    waves of 8 px along one axis counts, 25 % at 4 px, 56 % at 3, 87 % at 2.4, and all of the chequerboard.

    Args:
        sr: pictures in 0..1.
        hr: pictures in 0..1.
    """
    difference = (sr.float() - hr) * 2.0
    return (difference[..., 1:-1, 1:-1] - _blurred(difference)).square().mean()


def _blurred(x: Tensor) -> Tensor:
    """Returns pictures weighted 1, 2, 1 along both axes, a pixel smaller on each side."""
    x = (x[..., :-2, :] + x[..., 2:, :]) * 0.25 + x[..., 1:-1, :] * 0.5
    return (x[..., :-2] + x[..., 2:]) * 0.25 + x[..., 1:-1] * 0.5


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

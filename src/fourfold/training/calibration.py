"""The scale of the VGG loss, measured for the weights, the layer and the pictures in use.

The paper's factor, 1/12.75 squared, belongs to the weights it was found with: with it, the VGG54 loss of bicubic
pictures is about seven times their pixel MSE, and the adversary's weight of 1e-3 stands beside that. With other
weights or another layer the same factor is wrong by orders of magnitude either way. So what is kept is not the
factor but what it achieved: the ratio. See docs/training.md.
"""

import torch

from fourfold.errors import TrainingError
from fourfold.imaging import quantise, resize_array
from fourfold.networks import VGG19Features
from fourfold.training.bank import Bank
from fourfold.training.batches import Batches
from fourfold.training.degradation import Degradation
from fourfold.training.losses import pixel_loss, vgg_loss
from fourfold.training.recipe import LossSettings, Recipe
from fourfold.training.sampler import CropSampler

#: Crops that the scale is measured on, and the seed that draws them; both fixed, so that runs compare.
CALIBRATION_CROPS = 64
CALIBRATION_SEED = 12_750

_MSE = LossSettings(pixel_kind="mse")


def calibrated_for(recipe: Recipe) -> dict[str, str | float | None]:
    """Returns the settings that a scale belongs to, by their keys: with others, it is another one."""
    loss = recipe.loss
    return {
        "loss.vgg_layer": loss.vgg_layer,
        "loss.vgg_normalisation": loss.vgg_normalisation,
        "loss.vgg_ratio": loss.vgg_ratio,
        "loss.vgg_scale": loss.vgg_scale,
        "data.degradation": recipe.data.degradation,
    }


@torch.no_grad()
def calibrate(features: VGG19Features, bank: Bank, recipe: Recipe, device: torch.device) -> float:
    """Returns the factor that brings the VGG loss of bicubic crops to ``vgg_ratio`` times their pixel MSE.

    Args:
        features: VGG19 up to the layer in use.
        bank: training pictures; 64 crops are drawn from them, with a seed of their own.
        recipe: names crop, degradation and ratio.
        device: where to compute.

    Raises:
        TrainingError: if the crops show no difference, so that there is nothing to measure.
    """
    # as large as they were taken: what the crops are measured for does not depend on how some of them are shrunk
    settings = recipe.data.model_copy(update={"batch": min(16, len(bank.heights)), "shrink_share": 0.0})
    grid_px = recipe.scale if bank.has_lr else 1
    sampler = CropSampler(bank.heights, bank.widths, settings, CALIBRATION_SEED, grid_px=grid_px)
    batches = Batches(bank, sampler, Degradation(recipe.data, recipe.scale, device), device)
    pixel, vgg, rounds = 0.0, 0.0, -(-CALIBRATION_CROPS // settings.batch)
    for _ in range(rounds):
        lr, hr = batches.next()
        restored = quantise(resize_array(lr, (settings.crop_px, settings.crop_px)))
        pixel += float(pixel_loss(restored, hr, _MSE)) / rounds
        vgg += float(vgg_loss(restored, hr, features, 1.0)) / rounds
    if not (pixel > 0.0 and vgg > 0.0):
        raise TrainingError(
            f"the VGG scale cannot be calibrated: bicubic crops have a pixel MSE of {pixel:g} and a feature distance "
            f"of {vgg:g}. Are the pictures flat, or the VGG19 weights zero? loss.vgg_scale sets the scale by hand"
        )
    return recipe.loss.vgg_ratio * pixel / vgg

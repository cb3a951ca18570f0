"""What a run begins with: weights under the recipe's ``init`` and ``discriminator.init``, or none."""

from pathlib import Path

import torch

from fourfold.errors import TrainingError
from fourfold.networks import from_weights
from fourfold.training.discriminator_file import DiscriminatorWeights, load_discriminator, shipped_discriminators
from fourfold.training.recipe import Recipe
from fourfold.training.stage import make_discriminator
from fourfold.weights import ALIASES, load_weights, locate, read_config


def initial_generator(recipe: Recipe) -> torch.nn.Module | None:
    """Returns the network of the recipe's ``init``, or None where a new one is to be made.

    Raises:
        TrainingError: if the weights are of another shape, or are missing where the recipe keeps their statistics.
        WeightsError: if they cannot be read.
        UnknownModelError: if there are none of that name.
    """
    if recipe.init is None:
        if recipe.network.frozen_statistics:
            raise TrainingError(
                "network.frozen_statistics keeps the statistics of initial weights, and there are none: "
                "give --init, or --set network.frozen_statistics=false"
            )
        return None
    weights = load_weights(recipe.init)
    same = weights.config.architecture == recipe.network.architecture
    if not same or weights.config.parameters != recipe.network.parameters:
        raise TrainingError(
            f"--init {recipe.init} is a {weights.config.architecture} with {weights.config.parameters}; "
            f"the recipe trains a {recipe.network.architecture} with {recipe.network.parameters}. "
            "--set network.parameters.NAME=VALUE makes them equal"
        )
    return from_weights(weights).train()


def initial_discriminator(recipe: Recipe) -> torch.nn.Module | None:
    """Returns the discriminator of the recipe's ``discriminator.init``, or None where a new one is to be made.

    Raises:
        TrainingError: if it is of another kind or shape, cannot be read, or the recipe has no adversary.
    """
    source = recipe.discriminator.init
    if source is None:
        return None
    if not recipe.loss.adversarial:
        raise TrainingError("discriminator.init: the recipe has no adversary (loss.adversarial is 0)")
    weights, network = load_discriminator(source), make_discriminator(recipe)
    if weights.settings != DiscriminatorWeights.of(recipe, {}).settings:
        raise TrainingError(
            f"discriminator.init: that of {source} is another than the recipe's; it takes {weights.settings}"
        )
    try:
        network.load_state_dict(weights.tensors)
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise TrainingError(f"discriminator.init: {source} is damaged ({why})") from error
    return network


def remark_on_the_beginning(recipe: Recipe) -> str:
    """Returns in words what is amiss with a pair of beginnings, "" for nothing: a GAN's generator alone.

    Its new discriminator has everything to learn about pictures that are good already, may never come to be ahead, and
    then asks for anything but texture.
    """
    if recipe.init is None or not recipe.loss.adversarial or recipe.discriminator.init is not None:
        return ""
    loss = read_config(locate(recipe.init)).recipe.get("loss")
    if not (isinstance(loss, dict) and loss.get("adversarial")):
        return ""
    own = ALIASES.get(recipe.init, recipe.init)
    have = "RUN, the folder of the run that it is from,"
    if own in shipped_discriminators():
        wanted = DiscriminatorWeights.of(recipe, {}).settings
        built = load_discriminator(own).settings
        have = own if built == wanted else f"{own} {built}"
    return (
        f"--init {Path(recipe.init).name} comes from adversarial training, and the discriminator begins anew: it may "
        f"stay behind. --set discriminator.init={have} goes on with the one that it was trained against"
    )

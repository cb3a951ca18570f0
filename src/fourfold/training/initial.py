"""What a run begins with: weights under the recipe's ``init``, or none."""

import torch

from fourfold.errors import TrainingError
from fourfold.networks import from_weights
from fourfold.training.recipe import Recipe
from fourfold.weights import load_weights


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

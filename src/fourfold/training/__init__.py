"""Recipe -> data -> losses -> stage -> loop -> checkpoint; recipes/*.toml, one per published weights file."""

from fourfold.training.data import DataSource
from fourfold.training.estimate import Estimate, estimate
from fourfold.training.processes import make_fabric, settled
from fourfold.training.recipe import Recipe, load_recipe, recipe_names
from fourfold.training.run import run_training
from fourfold.training.run_folder import next_run_folder

__all__ = [
    "DataSource",
    "Estimate",
    "Recipe",
    "estimate",
    "load_recipe",
    "make_fabric",
    "next_run_folder",
    "recipe_names",
    "run_training",
    "settled",
]

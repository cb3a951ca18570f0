"""Tiny recipes, made-up pictures and made-up VGG19 weights: everything a run needs in a second."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fourfold.imaging import Picture
from fourfold.training import Recipe, load_recipe
from tests.conftest import make_photo
from tests.training.trainer import Trainer

#: One block of four maps on 32x32 crops: an update takes a few milliseconds.
TINY = (
    "network.parameters.blocks=1",
    "network.parameters.width=4",
    "discriminator.width=8",
    "data.crop_px=32",
    "data.batch=4",
    "data.workers=2",
    "optimiser.learning_rate=1e-3",
    "run.precision=fp32",
    "run.updates=8",
    "run.log_every=2",
    "run.validate_every=4",
    "run.checkpoint_every=4",
    "run.gradients_every=4",
)


def has_vgg(name: str) -> bool:
    """Returns whether a shipped recipe has a VGG term."""
    return load_recipe(name).loss.vgg > 0


def tiny_settings(name: str, *settings: str) -> list[str]:
    """Returns ``--set`` values that make a shipped recipe tiny; its end comes before all milestones."""
    vgg = ("loss.vgg_layer=22", "loss.vgg_normalisation=oxford") if has_vgg(name) else ()
    constant = ("schedule.kind=constant",) if load_recipe(name).schedule.kind == "step" else ()
    return [*TINY, *vgg, *constant, *settings]


def tiny_recipe(name: str = "srresnet-mse", *settings: str) -> Recipe:
    """Returns a tiny form of a shipped recipe, beginning from scratch."""
    recipe = load_recipe(name, settings=tiny_settings(name, *settings))
    return recipe.model_copy(update={"init": None})


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny tensors are fastest on one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of seven made-up pictures of different sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(7):
        Picture(make_photo(40 + 3 * k, 56 - 2 * k, seed=k)).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="session")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two made-up pictures."""
    folder = tmp_path_factory.mktemp("valid")
    for k in range(2):
        Picture(make_photo(48, 50, seed=100 + k)).save(folder / f"v{k}.png")
    return folder


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up weights of VGG19's first two blocks."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for index, out, channels in ((0, 64, 3), (2, 64, 64), (5, 128, 64), (7, 128, 128)):
        tensors[f"features.{index}.weight"] = (
            torch.randn(out, channels, 3, 3, generator=generator) * (2 / 9 / channels) ** 0.5
        )
        tensors[f"features.{index}.bias"] = torch.zeros(out)
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="session")
def trainer(pictures: Path) -> Iterator[Trainer]:
    """Trains in processes of their own."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    started = Trainer(pictures)
    yield started
    started.close()

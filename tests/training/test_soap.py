"""SOAP: what it is for, and that it is Adam where it should be."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.errors import TrainingError
from fourfold.training.processes import make_fabric
from fourfold.training.soap import Soap
from fourfold.training.stage import make_stage
from tests.training.conftest import tiny_recipe
from tests.training.test_run import train

BETAS = (0.9, 0.99)


def entangled(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns pictures whose maps are mixed such that some combinations are a hundred times as strong as others."""
    generator = torch.Generator().manual_seed(seed)
    turned = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q
    mixed = torch.logspace(0, -2, 16)[:, None] * turned
    x = torch.einsum("nchw,cd->ndhw", torch.randn(8, 16, 8, 8, generator=generator), mixed)
    kernels = torch.einsum("oihw,id->odhw", torch.randn(16, 16, 3, 3, generator=generator), turned)
    return x, functional.conv2d(x, kernels, padding=1)


def loss_after(optimiser: str, rate: float, updates: int = 150) -> float:
    x, y = entangled()
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, 3, padding=1)
    kinds = {"soap": Soap, "adam": torch.optim.Adam}
    steps = kinds[optimiser](layer.parameters(), lr=rate, betas=BETAS)
    for _ in range(updates):
        steps.zero_grad()
        functional.mse_loss(layer(x), y).backward()
        steps.step()
    return float(functional.mse_loss(layer(x), y).detach())


def test_what_is_flat_between_maps_is_learned_sooner() -> None:
    """Each at the best of its learning rates."""
    rates = (3e-3, 1e-2, 3e-2, 1e-1)
    assert min(loss_after("soap", rate) for rate in rates) < 0.2 * min(loss_after("adam", rate) for rate in rates)


def test_parameters_without_maps_are_adams() -> None:
    torch.manual_seed(0)
    shapes = [(5,), (5,), (2, 3)]
    ours, theirs = ([nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2))
    optimisers = Soap(ours, 1e-2, BETAS), torch.optim.Adam(theirs, 1e-2, BETAS)
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_layers_of_one_shape_do_not_mix() -> None:
    """Two layers together move as each would alone."""
    torch.manual_seed(0)
    start, gradients = torch.randn(2, 6, 4, 3, 3), torch.randn(14, 2, 6, 4, 3, 3)

    def moved(*which: int) -> Tensor:
        layers = [nn.Parameter(start[k].clone().to(memory_format=torch.channels_last)) for k in which]
        optimiser = Soap(layers, 1e-2, BETAS)
        for gradient in gradients:
            for k, layer in zip(which, layers, strict=True):
                layer.grad = gradient[k].clone()
            optimiser.step()
        return torch.stack([layer.detach() for layer in layers])

    together = moved(0, 1)
    assert torch.allclose(together, torch.cat([moved(0), moved(1)]), atol=1e-5)
    assert (together - start).abs().min() > 0


def test_bases_stay_bases_and_the_first_update_only_measures() -> None:
    torch.manual_seed(0)
    layer = nn.Parameter(torch.randn(6, 4, 3, 3))
    optimiser, before = Soap([layer], 1e-2, BETAS), layer.detach().clone()
    for update in range(25):
        layer.grad = torch.randn_like(layer)
        optimiser.step()
        assert torch.equal(layer, before) == (update == 0)
    state = optimiser.state[layer]
    for name, maps in (("out_basis", 6), ("in_basis", 4)):
        basis = state[name][0]
        assert torch.allclose(basis @ basis.T, torch.eye(maps), atol=1e-5)


def test_an_update_is_as_large_as_adams() -> None:
    torch.manual_seed(0)
    layer = nn.Parameter(torch.zeros(32, 32, 3, 3))
    optimiser = Soap([layer], 1e-2, (0.0, 0.99))
    layer.grad = torch.randn_like(layer)
    optimiser.step()
    optimiser.step()
    assert float(layer.detach().square().mean().sqrt()) == pytest.approx(1e-2, rel=0.05)


def test_another_optimiser_begins_anew(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srgan-mse"), pictures, tmp_path)
    recipe = tiny_recipe("srgan-mse", "optimiser.kind=soap", "run.updates=10")
    events = train(recipe, pictures, tmp_path, resume=True)
    remarks = [values["text"] for kind, values in events if kind == "remark"]
    text = "until now the optimiser was adam, now it is soap; its running means begin anew"
    assert remarks[:2] == [f"generator: {text}", f"discriminator: {text}"]
    assert [values["update"] for kind, values in events if kind == "checkpoint"] == [10]


def test_a_discriminator_may_have_an_optimiser_of_its_own(tmp_path: Path, pictures: Path) -> None:
    settings = ("optimiser.kind=soap", "optimiser.beta1=0.8", "discriminator.optimiser=adam")
    recipe = tiny_recipe("srgan-mse", *settings)
    stage = make_stage(recipe, make_fabric("cpu", "fp32"))
    assert isinstance(stage.optimisers["generator"], Soap)
    assert isinstance(stage.optimisers["discriminator"], torch.optim.Adam)
    assert stage.optimisers["discriminator"].param_groups[0]["betas"] == (0.8, recipe.optimiser.beta2)
    train(recipe, pictures, tmp_path)
    recipe = tiny_recipe("srgan-mse", *settings[:2], "run.updates=10")
    remarks = [v["text"] for kind, v in train(recipe, pictures, tmp_path, resume=True) if kind == "remark"]
    assert remarks[0] == "discriminator: until now the optimiser was adam, now it is soap; its running means begin anew"


def test_a_first_gradient_that_is_not_finite_is_named(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe("srresnet-mse", "optimiser.kind=soap", "loss.pixel=1e30")
    with pytest.raises(TrainingError, match="not finite at update"):
        train(recipe, pictures, tmp_path / "run")

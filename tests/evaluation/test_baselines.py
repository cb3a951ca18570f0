"""SRCNN, ESPCN and DRCN: their shapes, cost, engines, and that they learn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourfold.errors import WeightsError
from fourfold.evaluation.cost import network_cost
from fourfold.imaging import imresize, rgb_to_y
from fourfold.upscaling import load
from fourfold.weights import WeightsConfig, expected_shapes, load_weights, resolve_parameters, write_weights
from tests.conftest import make_photo, make_tensors

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny networks lose more to waking threads than they win."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL: dict[str, dict[str, Any]] = {
    "srcnn": {"width": 8, "inner": 4},
    "espcn": {"width": 8, "inner": 6},
    "drcn": {"width": 6, "recursions": 3},
}


def _weights(tmp_path: Path, architecture: str, parameters: dict[str, Any]) -> Path:
    config = WeightsConfig(architecture, parameters, name=architecture)
    return write_weights(tmp_path / f"{architecture}.safetensors", config, make_tensors(architecture, parameters))


def _run(network: Any, picture: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(picture.transpose(2, 0, 1)[None].copy())
    with torch.inference_mode():
        return np.asarray(network(x)[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("small", [True, False])
def test_the_schema_knows_the_tensors(architecture: str, small: bool) -> None:
    from fourfold.networks import build

    parameters = SMALL[architecture] if small else {}
    state = build(architecture, parameters).state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == expected_shapes(architecture, parameters)


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [("srcnn", 57_281), ("espcn", 24_752), ("drcn", 1_775_121), ("srresnet", 1_549_462)],
)
def test_parameters_of_the_papers_networks(architecture: str, parameters: int) -> None:
    # SRCNN 9-5-5: 9*9*64+64 + 5*5*64*32+32 + 5*5*32+1; SRResNet with one slope per PReLU
    assert network_cost(architecture, {}).parameters == parameters


@pytest.mark.parametrize("architecture", ["srresnet", *SMALL])
def test_multiply_adds_are_those_of_a_real_forward(architecture: str) -> None:
    from fourfold.networks import build

    parameters = {"blocks": 2, "width": 8} if architecture == "srresnet" else SMALL[architecture]
    network, counted = build(architecture, parameters), 0.0

    def count(module: Any, inputs: Any, output: Any) -> None:
        nonlocal counted
        counted += module.weight.numel() * inputs[0].shape[-1] * inputs[0].shape[-2]

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    _run(network, np.zeros((6, 5, 3), np.float32))
    assert network_cost(architecture, parameters).multiply_adds_per_pixel == pytest.approx(counted / (24 * 20))


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_every_engine_gives_the_networks_picture(architecture: str, engine: str, tmp_path: Path) -> None:
    from fourfold.networks import from_weights

    path = _weights(tmp_path, architecture, SMALL[architecture])
    picture = make_photo(23, 31).astype(np.float32) / 255
    ours = _run(from_weights(load_weights(path)), picture)
    theirs = load(path, engine=engine, precision="fp32")(picture)
    assert np.abs(theirs - ours.clip(0, 1)).max() < 1e-5


@pytest.mark.parametrize("architecture", SMALL)
def test_colour_comes_from_the_bicubic(architecture: str, tmp_path: Path) -> None:
    from fourfold.networks import from_weights

    path = _weights(tmp_path, architecture, SMALL[architecture])
    picture = make_photo(12, 16).astype(np.float32) / 255
    sr, bicubic = _run(from_weights(load_weights(path)), picture), imresize(picture, 4)
    difference = sr - bicubic
    assert np.abs(difference).max() > 0.01
    assert np.abs(difference - difference[..., :1]).max() < 1e-5  # the same on red, green and blue


@pytest.mark.parametrize("architecture", ["srcnn", "drcn"])
def test_training_starts_at_the_bicubic(architecture: str) -> None:
    from fourfold.networks import build

    picture = make_photo(14, 15).astype(np.float32) / 255
    sr = _run(build(architecture, SMALL[architecture]), picture)
    bicubic = imresize(picture, 4)
    error = rgb_to_y(sr) - rgb_to_y(bicubic)
    assert np.abs(error[8:-8, 8:-8]).max() < 2.0


@pytest.mark.parametrize("architecture", SMALL)
def test_it_learns(architecture: str) -> None:
    from fourfold.networks import build
    from fourfold.training.losses import pixel_loss
    from fourfold.training.recipe import LossSettings

    torch.manual_seed(0)
    network = build(architecture, SMALL[architecture])
    stripes = np.tile((np.arange(48) // 6 % 2 * 200 + 20).astype(np.uint8)[None, :, None], (48, 1, 3))
    lr, hr = (
        torch.from_numpy(p.transpose(2, 0, 1)[None].copy()).float() / 255 for p in (imresize(stripes, 0.25), stripes)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        loss = pixel_loss(network(lr), hr, LossSettings(pixel_channel="y"))
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters()) or not losses
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_luma_loss_is_the_loss_of_the_luma() -> None:
    from fourfold.training.losses import pixel_loss
    from fourfold.training.recipe import LossSettings

    sr, hr = (make_photo(16, 16, seed=k).astype(np.float32) / 255 for k in (0, 1))
    tensors = [torch.from_numpy(p.transpose(2, 0, 1)[None].copy()) for p in (sr, hr)]
    by_hand = np.mean(((rgb_to_y(sr) - rgb_to_y(hr)) / 219 * 2) ** 2)
    assert float(pixel_loss(*tensors, LossSettings(pixel_channel="y"))) == pytest.approx(float(by_hand), rel=1e-5)


def test_drcn_mixes_its_predictions() -> None:
    from fourfold.networks import DRCN

    torch.manual_seed(0)
    network = DRCN(**SMALL["drcn"])
    torch.nn.init.normal_(network.reconstruct2.weight, std=0.1)
    y = torch.rand(1, 1, 9, 8)
    each, mixed = network.predictions(y)
    assert len(each) == 3 and not torch.equal(each[0], each[2])
    assert torch.allclose(mixed, torch.stack(each).mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "parameters", "says"),
    [
        ("srcnn", {"kernel": 4}, "must be odd"),
        ("espcn", {"activation": "gelu"}, "'tanh' or 'relu'"),
        ("drcn", {"recursions": 0}, "1..4096"),
        ("drcn", {"blocks": 3}, "no parameter 'blocks'"),
        ("espcn", {"scale": 3}, "2, 4 or 8"),
    ],
)
def test_parameters_that_cannot_be(architecture: str, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        resolve_parameters(architecture, parameters)


def test_drcn_gives_every_recursion_for_training() -> None:
    from fourfold.networks import DRCN

    torch.manual_seed(0)
    network = DRCN(**SMALL["drcn"])
    torch.nn.init.normal_(network.reconstruct2.weight, std=0.1)
    lr = torch.rand(1, 3, 5, 4)
    *each, final = network(lr, True)
    assert len(each) == 3 and torch.allclose(final, network(lr), atol=1e-6)
    assert torch.allclose(final, torch.stack(each).mean(0), atol=1e-5)


def test_every_recursion_is_supervised() -> None:
    from fourfold.training.recipe import load_recipe
    from fourfold.training.run import make_fabric
    from fourfold.training.stage import make_stage

    small = ["network.parameters.width=6", "network.parameters.recursions=3", "run.precision=fp32"]
    recipe = load_recipe("drcn", settings=small)
    torch.manual_seed(0)
    stage = make_stage(recipe, make_fabric("cpu", "fp32"))
    hr = torch.rand(2, 3, 48, 48)
    values = stage.step(torch.rand(2, 3, 12, 12), hr)
    assert float(values["loss"]) == pytest.approx(float(values["loss_pixel"] + values["loss_recursions"]))
    # before anything is learnt all recursions and their mixture are the bicubic picture, and alpha is one half
    assert float(values["loss_pixel"]) == pytest.approx(float(values["loss_recursions"]), rel=1e-5)


@pytest.mark.parametrize("setting", ["network.architecture=srresnet", "loss.adversarial=0.001"])
def test_recursions_are_drcns(setting: str) -> None:
    from fourfold.errors import RecipeError
    from fourfold.training.recipe import load_recipe

    with pytest.raises(RecipeError):
        load_recipe("drcn", settings=[setting])

"""SRResNet: parameters, shapes, and layers that equal torch's own."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from fourfold.errors import WeightsError
from fourfold.networks import SRResNet, build, from_weights
from fourfold.networks.layers import FewOutputsConv2d, PReLU, ShuffleConv2d
from fourfold.weights import expected_shapes, read_weights


@pytest.mark.parametrize(("prelu", "count"), [("shared", 1_549_462), ("channel", 1_550_659)])
def test_parameter_count(prelu: str, count: int) -> None:
    network = SRResNet(prelu=prelu)  # type: ignore[arg-type]
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    "parameters",
    [
        {"blocks": 1, "width": 8},
        {"blocks": 2, "width": 4, "prelu": "channel", "scale": 2},
        {"blocks": 1, "width": 4, "scale": 8, "batch_norm": False},
    ],
)
def test_the_table_of_shapes_is_the_networks(parameters: dict[str, object]) -> None:
    state = build("srresnet", parameters).state_dict()
    found = {name: tuple(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert found == expected_shapes("srresnet", parameters)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_any_size_goes_in(scale: int) -> None:
    network = SRResNet(blocks=1, width=4, scale=scale).eval()
    assert network(torch.rand(2, 3, 5, 1)).shape == (2, 3, 5 * scale, scale)


def test_scale_three_is_refused() -> None:
    with pytest.raises(ValueError, match="2, 4 or 8"):
        SRResNet(scale=3)
    with pytest.raises(WeightsError, match="2, 4 or 8"):
        build("srresnet", {"scale": 3})


def test_it_equals_the_papers_plain_layers() -> None:
    """The same weights through torch's own modules, written down from the figure."""
    torch.manual_seed(0)
    network = SRResNet(blocks=2, width=8).eval()
    x = torch.rand(1, 3, 7, 6)

    def block(h: torch.Tensor, b: nn.Module) -> torch.Tensor:
        r = functional.prelu(b.bn1(functional.conv2d(h, b.conv1.weight, b.conv1.bias, padding=1)), b.activation.weight)
        return h + b.bn2(functional.conv2d(r, b.conv2.weight, b.conv2.bias, padding=1))

    first = functional.prelu(network.head(x), network.activation.weight)
    h = first
    for b in network.body:
        h = block(h, b)
    h = first + network.fusion_bn(network.fusion(h))
    for up in network.upsampling:
        h = functional.pixel_shuffle(functional.conv2d(h, up.conv.weight, up.conv.bias, padding=1), 2)
        h = functional.prelu(h, up.activation.weight)
    sr = (functional.conv2d(h, network.tail.weight, network.tail.bias, padding=4) + 1) / 2
    assert torch.allclose(network(x), sr, atol=1e-5)


@pytest.mark.parametrize("slopes", [1, 5])
def test_prelu_has_torchs_gradients(slopes: int) -> None:
    torch.manual_seed(0)
    ours, theirs = PReLU(slopes).double(), nn.PReLU(slopes).double()
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    a = torch.autograd.grad((ours(x) * target).sum(), [x, ours.weight])
    b = torch.autograd.grad((theirs(x) * target).sum(), [x, theirs.weight])
    assert all(torch.allclose(p, q, rtol=1e-5, atol=1e-6) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("height", [1, 3, 9])
def test_few_outputs_equals_the_plain_convolution(height: int) -> None:
    torch.manual_seed(0)
    conv = FewOutputsConv2d(4, 3, 9, padding=4)
    x = torch.rand(2, 4, height, 11, requires_grad=True)
    plain = functional.conv2d(x, conv.weight, conv.bias, padding=4)
    target = torch.rand_like(plain)
    ours = conv(x)
    assert torch.allclose(ours, plain, atol=1e-5)
    a = torch.autograd.grad((ours * target).sum(), [x, conv.weight, conv.bias])
    b = torch.autograd.grad((plain * target).sum(), [x, conv.weight, conv.bias])
    assert all(torch.allclose(p, q, atol=1e-3, rtol=1e-4) for p, q in zip(a, b, strict=True))


def test_shuffle_equals_conv_and_pixel_shuffle() -> None:
    torch.manual_seed(0)
    conv = ShuffleConv2d(4, 20, 3, padding=1)
    x = torch.rand(2, 4, 5, 3)
    plain = functional.pixel_shuffle(functional.conv2d(x, conv.weight, conv.bias, padding=1), 2)
    assert torch.allclose(conv(x), plain, atol=1e-6)


def test_a_weights_file_becomes_its_network(tiny_weights: Path) -> None:
    weights = read_weights(tiny_weights)
    network = from_weights(weights)
    assert not network.training
    assert torch.equal(network.state_dict()["head.weight"], torch.from_numpy(weights.tensors["head.weight"]))
    assert torch.isfinite(network(torch.rand(1, 3, 8, 8))).all()

import pytest
import torch
from torch import nn

from fourfold.networks import Discriminator, PatchDiscriminator
from fourfold.networks.patch_discriminator import RECEPTIVE_FIELD_PX


def test_one_logit_for_every_fourth_pixel() -> None:
    logits = PatchDiscriminator(width=8)(torch.rand(3, 3, 32, 40))
    assert logits.shape == (3, 1, 8, 10)
    assert logits.dtype == torch.float32


def test_a_logit_looks_at_its_surroundings_only() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(width=8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # its statistics are of the whole picture
            module.forward = lambda x: x  # type: ignore[method-assign]
    picture = torch.rand(1, 3, 96, 96, requires_grad=True)
    network(picture)[0, 0, 12, 12].backward()
    assert picture.grad is not None
    seen = picture.grad.abs().sum(dim=(0, 1)).nonzero()
    sides = seen.max(dim=0).values - seen.min(dim=0).values + 1
    assert sides.tolist() == [RECEPTIVE_FIELD_PX, RECEPTIVE_FIELD_PX]


def _cost(network: nn.Module) -> tuple[str, str]:
    """Returns millions of multiply-adds for a crop of 96 pixels, and of parameters."""
    multiply_adds = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal multiply_adds
        if isinstance(module, nn.Conv2d | nn.Linear):
            multiply_adds += output[0].numel() * module.weight[0].numel()

    for module in network.modules():
        module.register_forward_hook(count)
    network(torch.rand(1, 3, 96, 96))
    return f"{multiply_adds / 1e6:.0f}", f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f}"


def test_it_says_what_it_costs_beside_the_papers() -> None:
    ours, theirs = _cost(PatchDiscriminator()), _cost(Discriminator(96))
    said = " ".join((PatchDiscriminator.__doc__ or "").split())
    assert f"{ours[0]} million multiply-adds, the paper's {theirs[0]}" in said
    assert f"{ours[1]} million parameters, the paper's {theirs[1]}" in said


def test_it_keeps_nothing_of_what_it_sees() -> None:
    network = PatchDiscriminator(width=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(2, 3, 32, 32))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("width", [8, 32])
def test_the_width_is_that_of_the_first_convolution(width: int) -> None:
    convolutions = [m for m in PatchDiscriminator(width).modules() if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.stride[0]) for c in convolutions] == [
        (width, 1), (2 * width, 2), (4 * width, 2), (4 * width, 1), (1, 1),
    ]  # fmt: skip

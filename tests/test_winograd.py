"""The kernels that train faster on processor cores give what torch gives."""

import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.networks import VGG19Features
from fourfold.networks.srresnet import SRResNet
from fourfold.training.stage import freeze_statistics
from scripts.winograd.kernels import KINDS, channels_last, convolve, is_supported, pack, weight_gradient, working_type
from scripts.winograd.layers import FrozenConv2d, can_restore, restore
from scripts.winograd.tail import Tail

HERE = [dtype for dtype in KINDS if is_supported(dtype)]

pytestmark = pytest.mark.skipif(not HERE or shutil.which("g++") is None, reason="needs AVX2 and a compiler")

#: Relative error of sums of products of such values; a wrong index gives 0.1 and more.
ROUNDING = {torch.bfloat16: 0.01, torch.float32: 1e-5}

of_each_kind = pytest.mark.parametrize("dtype", HERE, ids=str)


def off(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().float(), expected.detach()
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def fits(shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    return all(side % KINDS[dtype].multiple == 0 for side in shape[1:])


SHAPES = [(1, 2, 2), (2, 6, 10), (3, 12, 8), (1, 24, 30), (1, 1, 1), (2, 5, 3), (1, 23, 33)]


@pytest.mark.parametrize(("dtype", "shape"), [(d, s) for d in HERE for s in SHAPES if fits(s, d)], ids=str)
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (128, 64), (64, 192), (256, 64)])
@pytest.mark.parametrize("slope", [None, 0.2])
def test_a_convolution_and_its_gradients(
    shape: tuple[int, int, int], inputs: int, outputs: int, slope: float | None, dtype: torch.dtype
) -> None:
    pictures, height, width = shape
    x = channels_last(torch.randn(pictures, inputs, height, width), dtype)
    kernels, bias = torch.randn(outputs, inputs, 3, 3) / 30, torch.randn(outputs)
    plain = [part.float().clone().requires_grad_() for part in (x, kernels, bias)]
    activated = plain[0] if slope is None else functional.leaky_relu(plain[0], slope)
    expected = functional.conv2d(activated, plain[1], plain[2], padding=1)
    gradient = channels_last(torch.randn_like(expected), dtype)
    expected.backward(gradient.float())
    assert all(part.grad is not None for part in plain)

    assert off(convolve(x, pack(kernels, dtype)[0], outputs, slope=slope, bias=bias), expected) < ROUNDING[dtype]
    of_kernels, of_bias = weight_gradient(x, gradient, slope=slope)
    assert off(of_kernels, plain[1].grad) < ROUNDING[dtype]
    assert off(of_bias, plain[2].grad) < 1e-5
    of_slope = torch.zeros(1, dtype=torch.float64)
    gate = {} if slope is None else {"gate": x, "gate_slope": slope, "slope_gradient": of_slope}
    of_x = convolve(gradient, pack(kernels, dtype, backwards=True)[0], inputs, **gate)
    assert off(of_x, plain[0].grad) < ROUNDING[dtype]
    if slope is not None:
        # of the slope, the sum over negative inputs times the gradient of what they became
        of_activated = functional.conv_transpose2d(gradient.float(), kernels, padding=1)
        assert float(of_slope) == pytest.approx(float((of_activated * x.float().clamp(max=0)).sum()), rel=0.02, abs=20)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(d, (11, width)) for d in HERE for width in (4, 12, 32)]
    + [(torch.float32, size) for size in ((1, 1), (2, 3), (13, 7), (9, 41))],
    ids=str,
)
def test_the_tail_and_its_gradients(size: tuple[int, int], dtype: torch.dtype) -> None:
    x = channels_last(torch.randn(2, 64, *size), dtype)
    kernels, slope = torch.randn(3, 64, 9, 9) / 70, torch.tensor([0.2])
    plain = [part.float().clone().requires_grad_() for part in (x, kernels, slope)]
    expected = functional.conv2d(functional.prelu(plain[0], plain[2]), plain[1], padding=4)
    gradient = torch.rand_like(expected)
    expected.backward(gradient)
    ours = [part.clone().requires_grad_() for part in (x, kernels, slope)]
    found = Tail.apply(*ours)
    found.backward(gradient)
    assert off(found, expected) < ROUNDING[dtype]
    for one, other in zip(ours, plain, strict=True):
        assert one.grad is not None and other.grad is not None
        assert off(one.grad, other.grad) < 2 * ROUNDING[dtype]


def network(blocks: int = 2, *, frozen: bool = True, batch_norm: bool = True) -> SRResNet:
    made = SRResNet(blocks=blocks, batch_norm=batch_norm).to(memory_format=torch.channels_last)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    made.train()
    if frozen:
        freeze_statistics(made)
    return made


def gradients(of: SRResNet, sr: Tensor) -> dict[str, Tensor]:
    of.zero_grad(set_to_none=True)
    (sr - 0.3).square().mean().backward()
    found = {name: part.grad.clone() for name, part in of.named_parameters() if part.numel() > 1}
    # of a single number the relative error may by chance be anything: the slopes of PReLU are one vector
    return found | {"slopes": torch.cat([part.grad for part in of.parameters() if part.numel() == 1])}


@of_each_kind
@pytest.mark.parametrize(
    ("frozen", "batch_norm"), [(True, True), (False, True), (False, False)], ids=["fixed", "trained", "none"]
)
def test_a_network_trains_alike(frozen: bool, batch_norm: bool, dtype: torch.dtype) -> None:
    """To float32, the bfloat16 kernels are as near as torch's own bfloat16; those in float32 are the same."""
    made, lr = network(frozen=frozen, batch_norm=batch_norm), torch.rand(3, 3, 16, 24)
    exact = made(lr)
    expected = gradients(made, exact)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        assert can_restore(made, lr)
        assert working_type() == dtype
        theirs, ours = made(lr), restore(made, lr)
    assert ours.dtype == torch.float32
    slack = ROUNDING[dtype]
    assert off(ours, exact) < 2 * off(theirs, exact) + slack / 10
    their_gradients, our_gradients = gradients(made, theirs), gradients(made, ours)
    largest = max(float(wanted.norm()) for wanted in expected.values())
    for name, wanted in expected.items():
        found = our_gradients[name]
        assert found.shape == wanted.shape
        if wanted.norm() < 1e-5 * largest:  # of a bias that batch norm takes out again, nothing but rounding
            assert found.norm() < max(1e-4, slack) * largest, name
        else:
            # values near a PReLU's kink may fall on its other side
            assert off(found, wanted) < 2 * off(their_gradients[name], wanted) + max(1e-3, slack), name


def test_without_bfloat16_in_the_processor_autocast_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    made, lr = network(1), torch.rand(1, 3, 8, 8)
    expected = made(lr)
    monkeypatch.setattr("scripts.winograd.kernels.is_supported", lambda dtype: dtype == torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert can_restore(made, lr)
        assert off(restore(made, lr), expected) < ROUNDING[torch.float32]


def test_gradients_can_be_asked_for_twice() -> None:
    made, lr = network(1), torch.rand(1, 3, 8, 8)
    loss = restore(made, lr).square().mean()
    first, again = (torch.autograd.grad(loss, list(made.parameters()), retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_what_does_not_fit_is_left_to_torch() -> None:
    made, lr = network(1), torch.rand(1, 3, 8, 8)
    assert can_restore(made, lr)
    with torch.autocast("cpu", torch.bfloat16):
        assert can_restore(made, torch.rand(1, 3, 8, 7)) == (working_type() == torch.float32)
    assert not can_restore(SRResNet(blocks=1, width=32), lr)
    assert not can_restore(SRResNet(blocks=1, prelu="channel"), lr)
    with torch.no_grad():
        assert not can_restore(made, lr)


@of_each_kind
@pytest.mark.parametrize("side", [64, 80])
def test_frozen_features_and_their_gradient(side: int, dtype: torch.dtype) -> None:
    plain = VGG19Features("44")
    with torch.no_grad():
        for convolution in plain.features:
            nn.init.kaiming_normal_(convolution.weight)
    exact = VGG19Features("44")
    exact.load_state_dict(plain.state_dict())
    plain = plain.to(memory_format=torch.channels_last, dtype=dtype)
    pictures = torch.rand(2, 3, side, side)

    def seen(by: VGG19Features) -> tuple[Tensor, Tensor]:
        x = pictures.clone().requires_grad_()
        features = by(x).float()
        features.square().mean().backward()
        assert x.grad is not None
        return features.detach(), x.grad

    expected, theirs = seen(exact), seen(plain)
    for convolution in plain.features:
        convolution.__class__ = FrozenConv2d
    ours = seen(plain)
    assert not torch.equal(ours[0], theirs[0])
    assert off(ours[0], expected[0]) < 2 * off(theirs[0], expected[0]) + ROUNDING[dtype]
    # a value near a kink of ReLU, or two that are nearly the largest of four, may send its gradient elsewhere
    assert off(ours[1], expected[1]) < 2 * off(theirs[1], expected[1]) + 0.02


@of_each_kind
def test_what_is_not_a_number_stays_so(dtype: torch.dtype) -> None:
    """A loss that broke must be seen, not be made finite by a PReLU on the way."""
    x = channels_last(torch.full((1, 64, 8, 8), torch.nan), dtype)
    kernels = pack(torch.randn(64, 64, 3, 3), dtype)[0]
    for slope in (None, 0.2):
        assert convolve(x, kernels, 64, slope=slope).isnan().all()
    assert Tail.apply(x, torch.randn(3, 64, 9, 9), torch.tensor([0.2])).isnan().all()


def test_another_device_is_left_to_torch() -> None:
    convolution = FrozenConv2d(64, 64, 3, padding=1).bfloat16().requires_grad_(False).to("meta")
    assert convolution(torch.empty(1, 64, 8, 8, dtype=torch.bfloat16, device="meta")).shape == (1, 64, 8, 8)


@of_each_kind
def test_frozen_weights_that_change_are_transformed_anew(dtype: torch.dtype) -> None:
    convolution = FrozenConv2d(64, 64, 3, padding=1).to(dtype).requires_grad_(False)
    x = channels_last(torch.randn(1, 64, 8, 8), dtype)
    before = convolution(x)
    convolution.weight.mul_(2)
    expected = functional.conv2d(x.float(), convolution.weight.float(), convolution.bias.float(), padding=1)
    assert off(convolution(x), expected) < ROUNDING[dtype] < off(before, expected)


def test_frozen_weights_that_are_cast_are_transformed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As VGG19's are, which is calibrated in float32 before it is cast to what the processor is fast at."""
    made: list[torch.dtype] = []
    monkeypatch.setattr("scripts.winograd.layers.pack", lambda weight, dtype, **how: (made.append(dtype) or weight, 0))
    convolution = FrozenConv2d(64, 64, 3, padding=1).requires_grad_(False)
    for dtype in (torch.float32, torch.float32, torch.bfloat16, torch.bfloat16):
        assert convolution.to(dtype).packed(backwards=False).dtype == dtype
    assert made == [torch.float32, torch.bfloat16]

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from fourfold.errors import TrainingError
from fourfold.imaging import resize_array
from fourfold.networks import VGG19Features
from fourfold.training import losses
from fourfold.training.degradation import Degradation
from fourfold.training.gradients import gradient_shares
from fourfold.training.losses import (
    adversarial_loss,
    colour_loss,
    consistency_loss,
    content_terms,
    discriminator_loss,
    fine_loss,
    flat_loss,
    lattice_loss,
    pixel_loss,
    total_variation,
    vgg_loss,
)
from fourfold.training.recipe import DataSettings, LossSettings


def test_pixel_loss_counts_on_minus_one_to_one() -> None:
    sr, hr = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.25)
    assert pixel_loss(sr, hr, LossSettings()) == pytest.approx(0.25)  # a difference of 0.5, squared
    assert pixel_loss(sr, hr, LossSettings(pixel_kind="l1")) == pytest.approx(0.5)
    assert pixel_loss(sr, hr, LossSettings(pixel_kind="charbonnier")) == pytest.approx(math.sqrt(0.25 + 1e-6))
    assert pixel_loss(sr, hr, LossSettings(pixel_kind="psnr")) == pytest.approx(math.log(0.25 + 1e-3))
    lower = LossSettings(pixel_kind="psnr", pixel_floor=2e-5)
    assert pixel_loss(sr, hr, lower) == pytest.approx(math.log(0.25 + 2e-5))
    assert pixel_loss(sr, hr, LossSettings(pixel_channel="y")) == pytest.approx(0.25)


def test_a_share_of_the_pixel_loss_is_of_the_luma() -> None:
    sr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    for kind in ("mse", "psnr", "l1", "charbonnier"):
        rgb = float(pixel_loss(sr, hr, LossSettings(pixel_kind=kind)))
        luma = float(pixel_loss(sr, hr, LossSettings(pixel_kind=kind, pixel_channel="y")))
        mixed = float(pixel_loss(sr, hr, LossSettings(pixel_kind=kind, pixel_luma=0.75)))
        assert mixed == pytest.approx(0.25 * rgb + 0.75 * luma, rel=1e-5)
        assert luma != pytest.approx(rgb, rel=0.01)


def test_psnr_weighs_every_crop_alike() -> None:
    """Its gradient in a crop goes with 1 / MSE: a hard crop, a hundred times as far off, pulls no more than others."""
    hr = torch.full((2, 3, 16, 16), 0.5)
    sr = (hr + torch.tensor([0.05, 0.5]).view(2, 1, 1, 1)).requires_grad_()
    pixel_loss(sr, hr, LossSettings(pixel_kind="psnr")).backward()
    easy, hard = sr.grad.square().sum(dim=(1, 2, 3)).sqrt()
    assert float(easy / hard) == pytest.approx((0.05 / 0.5) * (1.0 + 1e-3) / (0.01 + 1e-3), rel=1e-4)


def test_psnr_leaves_even_crops_alone() -> None:
    hr = torch.full((1, 3, 16, 16), 0.5)
    sr = hr.clone().requires_grad_()
    loss = pixel_loss(sr, hr, LossSettings(pixel_kind="psnr"))
    loss.backward()
    assert loss.isfinite()
    assert float(sr.grad.abs().max()) == 0


def test_total_variation_sums_steps_of_each_picture() -> None:
    step = torch.zeros(1, 1, 3, 4)
    step[..., 2:] = 0.5  # one vertical edge of height 1 on -1..1, three rows long
    assert total_variation(step) == pytest.approx(3.0)
    assert total_variation(torch.cat([step, torch.zeros_like(step)])) == pytest.approx(1.5)


def test_adversarial_losses_are_the_papers_logarithms() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([-3.0, 0.5])
    d_real, d_fake = torch.sigmoid(real), torch.sigmoid(fake)
    assert adversarial_loss(fake) == pytest.approx(float(-d_fake.log().mean()))
    expected = float(-d_real.log().mean() - (1 - d_fake).log().mean())
    assert discriminator_loss(real, fake) == pytest.approx(expected)
    assert torch.isfinite(adversarial_loss(torch.tensor([-1e4])))


def test_vgg_loss_is_the_scaled_mean_square() -> None:
    torch.manual_seed(0)
    features = VGG19Features("12", "torchvision")
    sr, hr = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)
    loss = vgg_loss(sr, hr, features, 0.5)
    expected = (features(sr) - features(hr)).square().mean().item()
    assert loss.item() == pytest.approx(0.5 * expected)
    loss.backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0


def test_consistency_compares_what_lr_shows_and_nothing_else() -> None:
    shrink = Degradation(DataSettings(crop_px=32), 4, torch.device("cpu")).shrink
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 3, 32, 32, requires_grad=True), torch.rand(2, 3, 32, 32)
    loss = consistency_loss(sr, hr, shrink)
    difference = 2 * (resize_array(sr.detach(), (8, 8)) - resize_array(hr, (8, 8)))
    assert loss.item() == pytest.approx(float(difference.square().mean()), rel=1e-4)
    loss.backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    # a shift of brightness counts in full, a pattern that shrinking removes next to nothing
    assert consistency_loss(hr + 0.1, hr, shrink).item() == pytest.approx(0.04, rel=1e-4)
    assert consistency_loss(hr + 0.1 * (-1.0) ** torch.arange(32), hr, shrink).item() < 1e-3


def test_colour_sees_a_shift_and_no_texture() -> None:
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)
    shift = torch.tensor([0.1, 0.0, -0.2]).view(1, 3, 1, 1)
    assert colour_loss(hr + shift, hr).item() == pytest.approx(4 * (0.01 + 0.04) / 3, rel=1e-4)
    assert colour_loss(hr + 0.1 * (-1.0) ** torch.arange(16), hr).item() < 1e-9
    colour_loss(sr, hr).backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0


def test_lattice_sees_grids_and_hardly_anything_else() -> None:
    torch.manual_seed(0)
    hr = torch.rand(2, 3, 48, 48)
    grid = torch.zeros(1, 1, 48, 48)
    grid[..., ::4, 1::4] = 0.1  # one place in every cell
    noise = (0.1 / 4) * torch.randn(2, 3, 48, 48)  # of the same energy
    seen = lattice_loss(hr + grid, hr, 4)
    assert seen.item() == pytest.approx(0.2**2 / 16 * 15 / 16, rel=1e-3)
    assert lattice_loss(hr + 0.1, hr, 4) < 1e-9
    assert lattice_loss(hr + noise, hr, 4) < 0.05 * seen
    assert lattice_loss(hr + grid.roll((2, 1), (2, 3)), hr, 4).item() == pytest.approx(seen.item())


def test_flat_sees_errors_on_flat_ground_and_leaves_texture_and_edges_alone() -> None:
    torch.manual_seed(0)
    even = torch.full((1, 3, 32, 32), 0.7)
    texture = (even + 0.1 * torch.randn(1, 3, 32, 32)).clamp(0, 1)
    edge = even.clone()
    edge[..., 16:] = 0.2
    error = 0.02 * torch.randn(1, 3, 32, 32)
    assert flat_loss(even + error, even).item() == pytest.approx((2 * error).square().mean().item(), rel=1e-4)
    assert flat_loss(texture + error, texture) < 0.02 * flat_loss(even + error, even)
    beside = torch.zeros(1, 3, 32, 32)
    beside[..., 14:18] = 0.02  # the two columns on either side
    assert flat_loss(edge + beside, edge) < 0.01 * flat_loss(even + beside, even)
    assert flat_loss(edge + beside.roll(-4, 3), edge).item() == pytest.approx(flat_loss(even + beside, even).item())
    assert flat_loss(even, even).item() == 0


@pytest.mark.parametrize(
    ("along", "across", "share"),
    [(1 / 8, 0, 0.0214), (1 / 4, 0, 0.25), (1 / 3, 0, 0.5625), (0.44, 0.1, 0.937), (0.5, 0.5, 1.0)],
)
def test_fine_counts_waves_by_how_short_they_are(along: float, across: float, share: float) -> None:
    row, column = torch.arange(96.0)[:, None], torch.arange(96.0)[None]
    wave = 0.1 * torch.cos(2 * math.pi * (along * column + across * row)).expand(1, 3, 96, 96)
    hr = torch.full_like(wave, 0.5)
    power = (2 * wave).square().mean().item()
    assert fine_loss(hr + wave, hr).item() == pytest.approx(share * power, rel=0.1)


def test_fine_leaves_brightness_and_slopes_alone() -> None:
    hr = torch.rand(2, 3, 48, 48)
    slope = torch.linspace(0, 0.5, 48).expand_as(hr)
    assert fine_loss(hr + 0.1, hr).item() == pytest.approx(0, abs=1e-10)
    assert fine_loss(hr + slope, hr).item() == pytest.approx(0, abs=1e-10)


def test_flat_counts_half_where_hr_varies_as_faint_noise_does() -> None:
    hr = torch.full((1, 3, 32, 32), 0.9)
    hr[..., ::2] += 3 / 255  # 1.5 of 255 to either side
    # a window of five columns has three of one kind and two of the other: 24/25 of the variance
    sr = hr.clone()
    sr[..., 8:24, 8:24] += 0.1  # a quarter of the crop, away from its border
    assert flat_loss(sr, hr).item() == pytest.approx(0.04 / 4 / (1 + 24 / 25), rel=1e-3)


def test_a_shifted_vgg_loss_sees_both_pictures_from_the_same_place() -> None:
    torch.manual_seed(0)
    features = VGG19Features("22", "torchvision")
    hr = torch.rand(1, 3, 32, 32)
    assert vgg_loss(hr.clone(), hr, features, 1.0, 16).item() == 0
    sr = torch.rand(1, 3, 32, 32, requires_grad=True)
    seen = {round(vgg_loss(sr, hr, features, 1.0, 4).item(), 9) for _ in range(12)}
    assert len(seen) > 1
    vgg_loss(sr, hr, features, 1.0, 16).backward()
    assert sr.grad is not None
    assert int((sr.grad.abs().sum(dim=1) > 0).any(dim=1).sum()) <= 16  # columns that VGG19 looked at


def test_a_zoomed_vgg_loss_sees_the_same_part_of_both_pictures_another_each_time() -> None:
    torch.manual_seed(0)
    features = VGG19Features("22", "torchvision")
    hr = torch.rand(3, 3, 32, 32)
    assert vgg_loss(hr.clone(), hr, features, 1.0, zoom=(1.0, 2.0)).item() == 0
    assert vgg_loss(hr.clone(), hr, features, 1.0, 8, (1.5, 2.0)).item() == 0
    sr = torch.rand(3, 3, 32, 32, requires_grad=True)
    seen = {round(vgg_loss(sr, hr, features, 1.0, zoom=(1.0, 1.5)).item(), 9) for _ in range(12)}
    assert len(seen) == 12
    vgg_loss(sr, hr, features, 1.0, zoom=(1.0, 1.5)).backward()
    assert sr.grad is not None
    assert torch.isfinite(sr.grad).all()
    assert (sr.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_zooming_enlarges_by_the_factors_and_stays_inside() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 64).expand(40, 3, 64, 64)  # grows along the columns: its slope tells the factor
    zoomed, same = losses._zoomed(ramp, ramp, (1.2, 2.0))
    assert torch.equal(zoomed, same)
    factors = (ramp[0, 0, 0, 52] - ramp[0, 0, 0, 12]) / (zoomed[:, 0, 32, 52] - zoomed[:, 0, 32, 12])
    assert 1.19 <= factors.min() < 1.35
    assert 1.8 < factors.max() <= 2.01
    assert zoomed.min() >= -0.01
    assert zoomed.max() <= 1.01
    assert zoomed[:, 0, 32, 32].std() > 0.05  # the parts lie anywhere


def test_a_weight_of_zero_leaves_a_term_out() -> None:
    assert [t.name for t in content_terms(LossSettings(), None, None)] == ["pixel"]
    guards = {"consistency": 10, "colour": 5, "lattice": 30, "flat": 9, "fine": 40, "total_variation": 2e-8}
    terms = content_terms(LossSettings(pixel=0, vgg=1, vgg_layer="12", **guards), VGG19Features("12"), 1.0, lambda x: x)
    assert [t.name for t in terms] == ["vgg", "consistency", "colour", "lattice", "flat", "fine", "total_variation"]


def _network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 3, padding=1)
    return network, network(torch.rand(1, 3, 8, 8))


def test_shares_are_norms_over_the_parameters() -> None:
    network, y = _network()
    terms = {"a": y.square().mean(), "b": 0.1 * y.abs().mean()}
    shares = {name: float(v) for name, v in gradient_shares(terms, network).items()}
    norms = {}
    for name, loss in terms.items():
        network.zero_grad()
        loss.backward(retain_graph=True)
        norms[name] = math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None))
    assert shares["gradient_share_a"] == pytest.approx(norms["a"] / sum(norms.values()), rel=1e-4)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_shares_are_those_of_the_whole_batch() -> None:
    """Two processes with half of it each: the norms are of the mean of their gradients, whatever each has alone."""
    network, y = _network()
    terms = {"a": y[:, :1].mean(), "b": 0.5 * y[:, 1:].square().mean()}
    alone = [float(share) for share in gradient_shares(terms, network).values()]
    other = {"a": -0.8, "b": 0.3}  # what the other process has, in this one's
    seen: list[torch.Tensor] = []

    def mean(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return (x + list(other.values())[len(seen) - 1] * x) / 2

    first, second = (float(share) for share in gradient_shares(terms, network, mean).values())
    expected = alone[0] * 0.1 / (alone[0] * 0.1 + alone[1] * 0.65)
    assert (first, second) == (pytest.approx(expected), pytest.approx(1 - expected))


@pytest.mark.parametrize("how", ["detached", "multiplied by zero", "clamped away"])
def test_a_term_without_gradient_is_named(how: str) -> None:
    network, y = _network()
    dead = {
        "detached": torch.tensor([functional.mse_loss(y, y + 1).item()]).sum(),
        "multiplied by zero": 0.0 * y.mean(),
        "clamped away": y.clamp(100.0, 101.0).mean(),
    }[how]
    with pytest.raises(TrainingError, match="'vgg'"):
        gradient_shares({"pixel": y.square().mean(), "vgg": dead}, network)

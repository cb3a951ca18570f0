from pathlib import Path

import pytest
import torch
from torch import Tensor

from fourfold.networks import PatchDiscriminator, load_vgg19
from fourfold.training.graph import GraphedStage
from fourfold.training.processes import make_fabric
from fourfold.training.recipe import OptimiserSettings
from fourfold.training.stage import (
    AdversarialStage,
    ContentStage,
    bounding_factor,
    can_capture,
    load_optimiser,
    make_optimiser,
    make_stage,
)
from tests.training.conftest import tiny_recipe


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(4, 3, 8, 8, generator=generator), torch.rand(4, 3, 32, 32, generator=generator)


def stage_of(name: str, vgg: Path, *settings: str) -> ContentStage:
    torch.manual_seed(0)
    recipe = tiny_recipe(name, *settings)
    features = load_vgg19(vgg, "22", "oxford") if recipe.loss.vgg else None
    return make_stage(recipe, make_fabric("cpu", "fp32"), features=features, content_scale=1e-3)


def snapshot(stage: ContentStage, name: str) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in stage.networks[name].state_dict().items()}


VARIANTS = ["srresnet-mse", "srresnet-vgg22", "srgan-mse", "srgan-vgg22", "srgan-vgg54"]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_moves_its_networks_and_reports_its_terms(name: str, vgg: Path) -> None:
    stage = stage_of(name, vgg)
    before = {network: snapshot(stage, network) for network in stage.networks}
    values = stage.step(*batch(), measure=True)
    assert set(stage.networks) == ({"generator", "discriminator"} if "gan" in name else {"generator"})
    for network, state in before.items():
        moved = [key for key, value in snapshot(stage, network).items() if not torch.equal(value, state[key])]
        assert set(moved) >= {key for key, _ in stage.networks[network].named_parameters() if "weight" in key}
    shares = {k.removeprefix("gradient_share_"): float(v) for k, v in values.items() if k.startswith("gradient")}
    wanted = {"vgg" if "vgg" in name else "pixel"}
    wanted |= {"adversarial"} if "gan" in name else set()
    wanted |= {"total_variation"} if name == "srresnet-vgg22" else set()
    assert set(shares) == wanted
    assert all(share > 0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)


def test_every_term_of_the_plus_recipe_moves_the_generator(vgg: Path) -> None:
    stage = stage_of("srgan-plus", vgg)
    values = stage.step(*batch(), measure=True)
    shares = {k.removeprefix("gradient_share_"): float(v) for k, v in values.items() if k.startswith("gradient")}
    assert set(shares) == {"pixel", "vgg", "consistency", "colour", "lattice", "flat", "adversarial"}
    assert all(share > 0 for share in shares.values())
    assert isinstance(stage.networks["discriminator"], PatchDiscriminator)


def test_the_generators_step_leaves_the_discriminator_untouched(vgg: Path) -> None:
    stage = stage_of("srgan-mse", vgg)
    assert isinstance(stage, AdversarialStage)
    stage.networks["discriminator"].zero_grad()
    seen: list[dict[str, Tensor]] = []
    original = stage._generator_step

    def watched(losses: dict[str, Tensor], measure: bool) -> dict[str, Tensor]:
        seen.append(snapshot(stage, "discriminator"))
        for parameter in stage.networks["discriminator"].parameters():
            parameter.grad = None
        result = original(losses, measure)
        seen.append(snapshot(stage, "discriminator"))
        return result

    stage._generator_step = watched  # type: ignore[method-assign, assignment]
    stage.step(*batch(), measure=True)
    assert all(torch.equal(seen[0][key], seen[1][key]) for key in seen[0])
    assert all(p.grad is None for p in stage.networks["discriminator"].parameters())
    assert all(p.requires_grad for p in stage.networks["discriminator"].parameters())
    assert not any(key.endswith(("running_mean", "num_batches_tracked")) for key in seen[0])


def test_the_discriminators_step_leaves_the_generator_untouched(vgg: Path) -> None:
    stage = stage_of("srgan-mse", vgg)
    assert isinstance(stage, AdversarialStage)
    lr, hr = batch()
    sr = stage._call("generator", lr)
    before, old = snapshot(stage, "generator"), snapshot(stage, "discriminator")
    stage._discriminator_step(sr.detach(), hr)
    assert all(torch.equal(before[key], value) for key, value in snapshot(stage, "generator").items())
    assert all(p.grad is None for p in stage.networks["generator"].parameters())
    assert any(not torch.equal(old[key], value) for key, value in snapshot(stage, "discriminator").items())


def test_batch_norm_counts_one_forward_per_update(vgg: Path) -> None:
    stage = stage_of("srgan-mse", vgg)
    for seed in range(3):
        stage.step(*batch(seed), measure=seed == 1)
    assert int(stage.networks["generator"].state_dict()["body.0.bn1.num_batches_tracked"]) == 3


def test_frozen_statistics_stay_while_all_weights_learn(vgg: Path) -> None:
    stage = stage_of("srgan-mse", vgg, "network.frozen_statistics=true")
    before = snapshot(stage, "generator")
    stage.step(*batch())
    after = snapshot(stage, "generator")
    statistics = {key for key in before if "running" in key or "num_batches" in key}
    assert statistics
    for key, value in after.items():
        assert torch.equal(value, before[key]) == (key in statistics), key


def test_frozen_statistics_train_the_network_that_is_used(vgg: Path) -> None:
    stage = stage_of("srgan-mse", vgg, "network.frozen_statistics=true")
    lr, _ = batch()
    trained = stage.networks["generator"](lr)
    torch.testing.assert_close(trained, stage.networks["generator"].eval()(lr))


def test_measuring_does_not_change_the_update(vgg: Path) -> None:
    plain, measured = stage_of("srgan-vgg22", vgg), stage_of("srgan-vgg22", vgg)
    for seed in range(2):
        plain.step(*batch(seed))
        measured.step(*batch(seed), measure=True)
    for network in plain.networks:
        other = snapshot(measured, network)
        assert all(torch.equal(value, other[key]) for key, value in snapshot(plain, network).items())


def test_it_overfits_one_batch(vgg: Path) -> None:
    stage = stage_of("srresnet-mse", vgg, "optimiser.learning_rate=1e-2")
    lr, _ = batch()
    hr = torch.nn.functional.interpolate(lr, scale_factor=4, mode="bilinear")
    first = float(stage.step(lr, hr)["loss"])
    for _ in range(200):
        last = float(stage.step(lr, hr)["loss"])
    assert last < 0.1 * first


def test_the_discriminator_learns_and_the_generator_answers(vgg: Path) -> None:
    """On fixed pictures, D first tells them apart; then, D held fixed, G's step lowers its adversarial loss."""
    stage = stage_of("srgan-mse", vgg, "loss.adversarial=1.0")
    lr, hr = batch()
    values = [stage.step(lr, hr) for _ in range(30)]
    assert float(values[-1]["real_accuracy"]) == float(values[-1]["fake_accuracy"]) == 1.0
    assert float(values[-1]["loss_discriminator"]) < 0.5 * float(values[0]["loss_discriminator"])
    stage._discriminator_step = lambda sr, hr: {}  # type: ignore[attr-defined]
    answers = [float(stage.step(lr, hr)["loss_adversarial"]) for _ in range(30)]
    assert answers[-1] < answers[0]


def test_bf16_trains_too(vgg: Path) -> None:
    torch.manual_seed(0)
    recipe = tiny_recipe("srgan-mse", "run.precision=bf16")
    stage = make_stage(recipe, make_fabric("cpu", "bf16"))
    values = stage.step(*batch(), measure=True)
    assert all(torch.isfinite(v) for v in values.values())
    assert all(p.dtype == torch.float32 for p in stage.networks["generator"].parameters())


def test_no_graph_on_the_cpu() -> None:
    assert not can_capture(tiny_recipe(), make_fabric("cpu", "fp32"))


def test_where_no_graph_can_be_captured_plain_updates_go_on(vgg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: GraphedStage, _lr: Tensor, _hr: Tensor) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    monkeypatch.setattr(GraphedStage, "_capture", refuse)
    monkeypatch.setattr("fourfold.training.graph.WARM_UPDATES", 0)  # the warm ones need CUDA's streams
    plain, graphed = stage_of("srgan-mse", vgg), GraphedStage(stage_of("srgan-mse", vgg))
    for seed in range(2):
        torch.testing.assert_close(graphed.step(*batch(seed)), plain.step(*batch(seed)))
    means = {"real_accuracy": 0.6, "fake_accuracy": 0.6}
    (remark,) = graphed.remarks(2, means)
    assert "without a CUDA graph" in remark
    assert "not permitted when stream is capturing" in remark
    assert graphed.remarks(3, means) == []


@pytest.mark.gpu
def test_graphed_updates_equal_plain_ones(vgg: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    recipe, fabric = tiny_recipe("srgan-mse"), make_fabric("cuda", "fp32")
    results = []
    for graphed in (False, True):
        torch.manual_seed(0)
        stage = make_stage(recipe, fabric)
        runner = GraphedStage(stage) if graphed else stage
        for seed in range(10):
            lr, hr = (x.cuda() for x in batch(seed))
            values = runner.step(lr, hr)
        results.append((snapshot(stage, "generator"), values))
    for key, value in results[0][0].items():
        torch.testing.assert_close(value, results[1][0][key], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(results[0][1]["loss"], results[1][1]["loss"], rtol=1e-3, atol=1e-5)


def test_adam_is_the_papers() -> None:
    optimiser = make_optimiser(torch.nn.Linear(2, 2), tiny_recipe().optimiser)
    assert optimiser.defaults["betas"][0] == 0.9
    assert optimiser.defaults["fused"]


@pytest.mark.parametrize("newer", [False, True])
def test_adam_of_another_torch_is_adam(newer: bool) -> None:
    """torch 2.7 has given it one setting more than 2.6 had."""
    network = torch.nn.Linear(2, 2)
    before, after = (make_optimiser(network, tiny_recipe().optimiser) for _ in range(2))
    network(torch.ones(1, 2)).sum().backward()
    before.step()
    state = before.state_dict()
    if newer:
        state["param_groups"][0]["another"] = False
    else:
        del state["param_groups"][0]["amsgrad"]
    assert load_optimiser(after, state)
    for parameter in network.parameters():
        assert torch.equal(after.state[parameter]["exp_avg"], before.state[parameter]["exp_avg"])
    assert not load_optimiser(make_optimiser(network, OptimiserSettings(kind="soap")), state)


def _bounded(vgg: Path, share: float, *settings: str) -> tuple[ContentStage, dict[str, Tensor]]:
    stage = stage_of("srgan-mse", vgg, "loss.adversarial=1.0", f"loss.adversarial_share={share}", *settings)
    return stage, stage.step(*batch(), measure=True)


def test_a_loud_adversary_is_bounded_and_a_quiet_one_is_left_alone(vgg: Path) -> None:
    free, loud = _bounded(vgg, 1.0)
    bounded, values = _bounded(vgg, 0.25)
    assert 0 < float(values["adversarial_factor"]) < 1
    assert values["gradient_share_adversarial"] < loud["gradient_share_adversarial"]
    torch.testing.assert_close(values["loss_adversarial"], values["adversarial_factor"] * loud["loss_adversarial"])
    quiet, values = _bounded(vgg, 0.9999)
    assert float(values["adversarial_factor"]) == 1
    for key, value in snapshot(free, "generator").items():
        torch.testing.assert_close(value, snapshot(quiet, "generator")[key], rtol=1e-3, atol=1e-6)
    assert any(not torch.equal(v, snapshot(free, "generator")[k]) for k, v in snapshot(bounded, "generator").items())


@pytest.mark.parametrize(("adversary", "factor"), [(0.1, 1.0), (1.0, 1.0), (3.0, 1 / 3), (300.0, 1 / 300), (0.0, 1.0)])
def test_the_bound_is_on_the_norms(adversary: float, factor: float) -> None:
    gradient = torch.randn(2, 3, 8, 8)
    other = gradient.flip(3)  # of the same norm
    found = bounding_factor(gradient, adversary * other, 0.5, make_fabric("cpu", "fp32"))
    assert float(found) == pytest.approx(factor, rel=1e-5)


def test_measuring_does_not_change_a_bounded_update(vgg: Path) -> None:
    settings = ("loss.adversarial=1.0", "loss.adversarial_share=0.3")
    plain, measured = stage_of("srgan-vgg22", vgg, *settings), stage_of("srgan-vgg22", vgg, *settings)
    for seed in range(2):
        plain.step(*batch(seed))
        measured.step(*batch(seed), measure=True)
    other = snapshot(measured, "generator")
    assert all(torch.equal(value, other[key]) for key, value in snapshot(plain, "generator").items())

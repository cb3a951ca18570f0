"""Whole runs of tiny networks: what they leave behind, resuming bit for bit, and how they stop."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fourfold.errors import CheckpointError, DataError, FourfoldError, TrainingError, UsageError, WeightsError
from fourfold.imaging import Picture
from fourfold.networks import from_weights
from fourfold.training import DataSource, load_recipe, run, run_training
from fourfold.training.checkpoint import checkpoints, load_checkpoint
from fourfold.training.recipe import Recipe
from fourfold.training.run_folder import RunFolder, next_run_folder
from fourfold.training.stage import AdversarialStage, ContentStage
from fourfold.weights import read_weights
from tests.conftest import make_photo
from tests.training.conftest import has_vgg, tiny_recipe, tiny_settings


def train(recipe: Recipe, pictures: Path, folder: Path, **values: Any) -> list[tuple[str, dict[str, Any]]]:
    events: list[tuple[str, dict[str, Any]]] = []
    run_training(
        recipe, DataSource([pictures]), folder=folder, device="cpu",
        listener=lambda kind, found: events.append((kind, found)), **values,
    )  # fmt: skip
    return events


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(v, right[k]) for k, v in left.items())
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def test_a_run_explains_itself(tmp_path: Path, pictures: Path, valid: Path, vgg: Path) -> None:
    folder = tmp_path / "run"
    recipe = tiny_recipe("srgan-vgg22", "run.best_by=content")
    events = train(recipe, pictures, folder, valid=valid, vgg=vgg)
    kinds = [kind for kind, _ in events]
    assert {"reading", "bank", "data", "content_scale", "progress", "validation", "checkpoint"} <= set(kinds)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    progress = [line for line in lines if line["kind"] == "progress"]
    assert [line["update"] for line in progress] == [1, 2, 4, 6, 8]
    assert all({"loss", "loss_vgg", "loss_adversarial", "real_accuracy", "learning_rate"} <= set(p) for p in progress)
    measured = [line["update"] for line in progress if "gradient_share_adversarial" in line]
    assert measured == [1, 4, 8]
    validation = [line for line in lines if line["kind"] == "validation"]
    assert [line["update"] for line in validation] == [4, 8]
    assert all({"psnr_y", "ssim_wang", "content_loss"} <= set(line) for line in validation)
    assert RunFolder(folder).recipe() == recipe
    assert json.loads((folder / "data.json").read_text())["used"] == 7
    assert sorted(p.name for p in (folder / "pictures").iterdir()) == [
        f"v{k}-0000000{u}.png" for k in (0, 1) for u in (4, 8)
    ]
    assert list((folder / "tensorboard").glob("events*"))
    weights = read_weights(folder / "latest.safetensors")
    assert weights.config.updates == 8
    assert weights.config.content_scale == pytest.approx(
        next(values["scale"] for kind, values in events if kind == "content_scale")
    )
    from_weights(weights)
    assert read_weights(folder / "best.safetensors").config.scores["valid"]["psnr_y"] > 0


def test_a_run_says_which_precision_auto_was(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.training.processes.has_fast_bf16", lambda device: False)
    train(tiny_recipe("srresnet-mse", "run.precision=auto", "run.updates=1"), pictures, tmp_path / "run")
    assert RunFolder(tmp_path / "run").recipe().run.precision == "fp32"


@pytest.mark.parametrize(
    ("name", "bank", "precision", "optimiser"),
    [
        ("srresnet-mse", "streamed", "fp32", "soap"),
        ("srgan-mse", "resident", "bf16", "adam"),
        ("srgan-vgg22", "resident", "fp32", "soap"),
        ("srgan-plus", "resident", "fp32", "adam"),
    ],
)
def test_resuming_is_exact(
    name: str, bank: str, precision: str, optimiser: str, tmp_path: Path, pictures: Path, valid: Path, vgg: Path
) -> None:
    settings = [f"data.bank={bank}", f"run.precision={precision}", "schedule.kind=step", "schedule.milestones=[5]"]
    settings.append(f"optimiser.kind={optimiser}")
    recipe = tiny_recipe(name, *settings)
    if recipe.network.frozen_statistics:
        train(tiny_recipe(), pictures, tmp_path / "first")
        recipe = recipe.model_copy(update={"init": str(tmp_path / "first/latest.safetensors")})
    files = {"valid": valid, **({"vgg": vgg} if has_vgg(name) else {})}
    train(recipe, pictures, tmp_path / "whole", **files)
    # the same run, its end lost after update 4
    train(recipe, pictures, tmp_path / "parts", **files)
    checkpoints(tmp_path / "parts/checkpoints")[-1].unlink()
    torch.manual_seed(99)
    torch.rand(7)
    events = train(recipe, pictures, tmp_path / "parts", resume=True, **files)
    assert ("resumed", {"update": 4}) in events
    whole, parts = (load_checkpoint(tmp_path / run / "checkpoints") for run in ("whole", "parts"))
    assert whole is not None and parts is not None
    assert whole["update"] == parts["update"] == 8
    for key in ("networks", "optimisers", "average", "sampler", "random", "content_scale"):
        assert same(whole[key], parts[key]), key
    ours, theirs = (read_weights(tmp_path / run / "latest.safetensors") for run in ("whole", "parts"))
    assert all((ours.tensors[k] == theirs.tensors[k]).all() for k in ours.tensors)


def test_the_discriminator_may_learn_faster(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe("srgan-mse", "discriminator.learning_rate_factor=5", "discriminator.kind=patch")
    progress = [values for kind, values in train(recipe, pictures, tmp_path) if kind == "progress"]
    for values in progress:
        assert values["learning_rate_discriminator"] == pytest.approx(5 * values["learning_rate"])


def test_a_head_start_teaches_the_discriminator_alone(tmp_path: Path, pictures: Path, valid: Path) -> None:
    settings = ["discriminator.head_start=4", "run.checkpoint_every=2", "run.validate_every=2", "run.keep=9"]
    recipe = tiny_recipe("srgan-mse", *settings, "run.gradients_every=100")
    events = train(recipe, pictures, tmp_path, valid=valid)
    found = [torch.load(path, weights_only=True) for path in checkpoints(tmp_path / "checkpoints")]
    states = [state["networks"] for state in found]
    assert same(found[1]["average"], states[1]["generator"])
    learns = {
        name: [not same(a[name], b[name]) for a, b in itertools.pairwise(states)]
        for name in ("generator", "discriminator")
    }
    assert learns == {"generator": [False, True, True], "discriminator": [True, True, True]}
    progress = {values["update"]: values for kind, values in events if kind == "progress"}
    assert [update for update, values in progress.items() if "loss" not in values] == [1, 2, 4]
    assert all("real_accuracy" in values for values in progress.values())
    # what counts from its end on: the check for terms without gradient, validation, the weights' updates
    assert [update for update, values in progress.items() if "gradient_share_pixel" in values] == [5]
    assert [values["update"] for kind, values in events if kind == "validation"] == [6, 8]
    assert read_weights(tmp_path / "latest.safetensors").config.updates == 4
    # and a run may be stopped in the middle of it
    for path in checkpoints(tmp_path / "checkpoints")[1:]:
        path.unlink()
    assert ("resumed", {"update": 2}) in train(recipe, pictures, tmp_path, valid=valid, resume=True)
    again = load_checkpoint(tmp_path / "checkpoints")
    assert again is not None and same(again["networks"], states[-1])


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe(), pictures, tmp_path)
    events = train(tiny_recipe("srresnet-mse", "run.updates=10"), pictures, tmp_path, resume=True)
    assert [v["update"] for kind, v in events if kind == "checkpoint"] == [10]


@pytest.mark.parametrize("how", ["missing", "older"])
def test_weights_that_an_ended_run_could_not_write_are_written_when_it_goes_on(
    how: str, tmp_path: Path, pictures: Path
) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=6"), pictures, tmp_path)
    latest = tmp_path / "latest.safetensors"
    written = latest.read_bytes()
    if how == "missing":
        latest.unlink()
    else:
        train(tiny_recipe("srresnet-mse", "run.updates=2"), pictures, tmp_path / "other")
        latest.write_bytes((tmp_path / "other/latest.safetensors").read_bytes())
    train(tiny_recipe("srresnet-mse", "run.updates=6"), pictures, tmp_path, resume=True)
    now, then = read_weights(latest), tmp_path / "then.safetensors"
    then.write_bytes(written)
    assert now.config.updates == 6
    assert all((now.tensors[k] == v).all() for k, v in read_weights(then).tensors.items())


def test_a_stage_is_shown_other_crops_than_the_one_before(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe("srresnet-mse", "run.updates=2")
    train(recipe, pictures, tmp_path / "first")
    first = str(tmp_path / "first/latest.safetensors")
    for name in ("second", "again"):
        train(recipe.model_copy(update={"init": first}), pictures, tmp_path / name)

    def order(name: str) -> Any:
        state = load_checkpoint(tmp_path / name / "checkpoints")
        assert state is not None
        return state["sampler"]

    assert not same(order("first"), order("second"))
    assert same(order("second"), order("again"))


def test_checkpoints_of_the_first_format_load(tmp_path: Path, pictures: Path) -> None:
    """Written before the best update and the content scale were kept."""
    train(tiny_recipe(), pictures, tmp_path)
    path = checkpoints(tmp_path / "checkpoints")[-1]
    state = torch.load(path, weights_only=True)
    state["progress"] = {key: state["progress"][key] for key in ("update", "best_psnr", "elapsed_s")}
    del state["content_scale"], state["sampler"]["pictures"]
    torch.save(state, path)
    events = train(tiny_recipe("srresnet-mse", "run.updates=9"), pictures, tmp_path, resume=True)
    assert [v["update"] for kind, v in events if kind == "checkpoint"] == [9]


def test_the_best_is_kept_with_its_checkpoint(tmp_path: Path, pictures: Path, valid: Path) -> None:
    settings = ["run.validate_every=2", "run.checkpoint_every=100", "run.keep=1", "run.updates=6"]
    events = train(tiny_recipe("srresnet-mse", *settings), pictures, tmp_path, valid=valid)
    best = [v for kind, v in events if kind == "validation" and v["best"]][-1]
    kept = {path.name for path in checkpoints(tmp_path / "checkpoints")}
    assert kept == {f"update-{best['update']:08d}.pt", "update-00000006.pt"}
    assert read_weights(tmp_path / "best.safetensors").config.updates == best["update"]


def test_init_starts_from_a_weights_file(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe(), pictures, tmp_path / "first")
    first = tmp_path / "first/latest.safetensors"
    recipe = tiny_recipe("srgan-mse", "optimiser.learning_rate=1e-12", "run.updates=1")
    train(recipe.model_copy(update={"init": str(first)}), pictures, tmp_path / "second")
    # the weights file travels, and says nothing of this machine's folders
    assert read_weights(tmp_path / "second/latest.safetensors").config.recipe["init"] == first.name
    before, after = (read_weights(p).tensors for p in (first, tmp_path / "second/latest.safetensors"))
    assert all(abs(before[k] - after[k]).max() < 1e-6 for k in before if ".running_" not in k)
    deeper = tiny_recipe("srgan-mse", "network.parameters.blocks=2").model_copy(update={"init": str(first)})
    with pytest.raises(TrainingError, match=r"network\.parameters"):
        train(deeper, pictures, tmp_path / "third")
    with pytest.raises(TrainingError, match=r"frozen_statistics.*--init"):
        train(tiny_recipe("srresnet-mse", "network.frozen_statistics=true"), pictures, tmp_path / "fourth")


def test_other_depths_and_widths_train_from_the_same_recipe(tmp_path: Path, pictures: Path) -> None:
    settings = ["network.parameters.blocks=3", "network.parameters.width=6", "network.parameters.prelu=channel"]
    train(tiny_recipe("srgan-mse", *settings, "run.updates=1"), pictures, tmp_path)
    assert read_weights(tmp_path / "latest.safetensors").config.parameters["blocks"] == 3


def test_a_broken_loss_stops_and_keeps_the_last_good_state(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = ContentStage.step, iter(range(1, 100))

    def breaking(self: ContentStage, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        values = original(self, *args, **kwargs)
        return {**values, "loss_pixel": torch.tensor(float("nan") if next(calls) == 7 else 1.0)}

    monkeypatch.setattr(ContentStage, "step", breaking)
    with pytest.raises(TrainingError, match="loss_pixel is not finite at update 7"):
        train(tiny_recipe(), pictures, tmp_path)
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["update-00000004.pt"]


@pytest.mark.parametrize(
    ("network", "kind", "value", "words"),
    [
        ("generator", "weight", float("inf"), r"the generator's \S+\.weight is not finite after update 8"),
        ("generator", "weight", float("nan"), r"the generator's \S+\.weight is not finite after update 8"),
        ("discriminator", "weight", float("inf"), r"the discriminator's \S+\.weight is not finite after update 8"),
        ("discriminator", "exp_avg_sq", float("inf"), r"the discriminator's optimiser, exp_avg_sq of .* is not finite"),
    ],
)
def test_a_step_that_breaks_a_network_is_not_kept(
    network: str, kind: str, value: float, words: str,
    tmp_path: Path, pictures: Path, valid: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The losses of that update are fine: they were computed before its step."""
    original, calls = AdversarialStage.step, iter(range(1, 100))

    def breaking(self: AdversarialStage, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        values = original(self, *args, **kwargs)
        if next(calls) == 8:
            parameter = next(p for name, p in self.networks[network].named_parameters() if name.endswith(".weight"))
            broken = parameter if kind == "weight" else self.optimisers[network].state[parameter][kind]
            with torch.no_grad():
                broken[(0,) * broken.ndim] = value
        return values

    monkeypatch.setattr(AdversarialStage, "step", breaking)
    with pytest.raises(TrainingError, match=words):
        train(tiny_recipe("srgan-mse", "run.gradients_every=0"), pictures, tmp_path, valid=valid)
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["update-00000004.pt"]
    assert all(read_weights(tmp_path / f"{name}.safetensors").config.updates == 4 for name in ("latest", "best"))


def test_a_term_without_gradient_stops_the_run(
    tmp_path: Path, pictures: Path, vgg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fourfold.training import losses

    monkeypatch.setattr(losses, "vgg_loss", lambda sr, hr, features, scale, shift_px, zoom: torch.tensor([0.3]).sum())
    recipe = tiny_recipe("srgan-vgg22", "loss.vgg_scale=1.0")
    with pytest.raises(TrainingError, match="update 1: the loss term 'vgg'"):
        train(recipe, pictures, tmp_path, vgg=vgg)


def test_runs_that_cannot_start(tmp_path: Path, pictures: Path, vgg: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(TrainingError, match="--resume"):
        train(tiny_recipe(), pictures, tmp_path / "taken")
    with pytest.raises(TrainingError, match="no checkpoint"):
        train(tiny_recipe(), pictures, tmp_path / "none", resume=True)
    with pytest.raises(UsageError, match="no VGG term"):
        train(tiny_recipe(), pictures, tmp_path / "a", vgg=vgg)
    with pytest.raises(WeightsError, match="vgg_normalisation"):
        train(tiny_recipe("srgan-vgg22"), pictures, tmp_path / "b")
    with pytest.raises(DataError, match="--data"):
        train(tiny_recipe(), tmp_path / "nowhere", tmp_path / "c")
    with pytest.raises(DataError, match=r"crop_px"):
        train(tiny_recipe("srresnet-mse", "data.crop_px=512"), pictures, tmp_path / "d")
    with pytest.raises(DataError, match="--valid"):
        train(tiny_recipe(), pictures, tmp_path / "e", valid=tmp_path / "nowhere")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "what, words",
    [
        ("init", "no model 'nothing'"),
        ("valid", "--valid .*nowhere: no such folder"),
        ("small", "small.png is too small"),
        ("vgg", "small.png"),
        ("no vgg", "vgg_normalisation"),
    ],
)
def test_what_is_no_good_is_told_before_the_pictures_are_read(
    what: str, words: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may take an hour."""
    monkeypatch.setattr(run, "open_bank", lambda *_, **__: pytest.fail("the pictures are read"))
    (tmp_path / "valid").mkdir()
    small = Picture(make_photo(16, 40)).save(tmp_path / "valid" / "small.png")
    recipe = tiny_recipe("srgan-vgg22" if "vgg" in what else "srresnet-mse")
    valid = {"valid": tmp_path / "nowhere", "small": small.parent}.get(what)
    with pytest.raises(FourfoldError, match=words):
        train(
            recipe.model_copy(update={"init": "nothing" if what == "init" else None}),
            pictures, tmp_path / "run", valid=valid, vgg=small if what == "vgg" else None,
        )  # fmt: skip


def test_closed_folders(closed: Path, pictures: Path, valid: Path, vgg: Path, tmp_path: Path) -> None:
    """Of another user, say: every option that names one has an answer."""
    cannot = r"cannot be read \(Permission denied\)"
    for folder in (closed, closed / "run"):
        for resume in (False, True):
            with pytest.raises(TrainingError, match=f"run folder {folder} {cannot}"):
                train(tiny_recipe(), pictures, folder, resume=resume)
    with pytest.raises(CheckpointError, match=f"checkpoints in .* {cannot}"):
        load_checkpoint(closed)
    with pytest.raises(DataError, match=f"--data .*: {cannot}"):
        train(tiny_recipe(), closed / "pictures", tmp_path / "a")
    with pytest.raises(DataError, match=f"--lr-data .*: {cannot}"):
        source = DataSource([pictures], lr_folder=closed)
        run_training(tiny_recipe(), source, folder=tmp_path / "b", device="cpu")
    with pytest.raises(DataError, match=f"--valid .*: {cannot}"):
        train(tiny_recipe(), pictures, tmp_path / "c", valid=closed / "valid")
    with pytest.raises(WeightsError, match=r"vgg\.safetensors: cannot be read as VGG19 weights \(Permission denied\)"):
        train(tiny_recipe("srgan-vgg22"), pictures, tmp_path / "d", vgg=closed / "vgg.safetensors")


def test_a_checkpoint_of_other_networks(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe(), pictures, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(CheckpointError, match="other networks: generator, not generator, discriminator"):
        train(tiny_recipe("srresnet-mse", "loss.adversarial=1e-3"), pictures, tmp_path, resume=True)
    had = "give the settings that it had; those that differ are network.parameters.width 4 -> 8$"
    with pytest.raises(CheckpointError, match=had):
        train(tiny_recipe("srresnet-mse", "network.parameters.width=8"), pictures, tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


def test_an_adversary_is_not_left_behind(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srgan-mse"), pictures, tmp_path)
    with pytest.raises(CheckpointError, match="other networks: generator, discriminator, not generator"):
        train(tiny_recipe("srgan-mse", "loss.adversarial=0"), pictures, tmp_path, resume=True)


@pytest.mark.parametrize("other", [{"name": "srgan-mse"}, {"profile": "cpu"}])
def test_going_on_with_another_recipe(tmp_path: Path, pictures: Path, other: dict[str, str]) -> None:
    train(tiny_recipe(), pictures, tmp_path)
    recipe = tiny_recipe("srresnet-mse", "run.updates=12")
    with pytest.raises(TrainingError, match="of srresnet-mse, profile paper, and was to go on with"):
        train(recipe.model_copy(update=other), pictures, tmp_path, resume=True)
    assert RunFolder(tmp_path).recipe().run.updates == 8
    train(recipe, pictures, tmp_path, resume=True)
    assert RunFolder(tmp_path).recipe().run.updates == 12


def test_the_end_of_a_run_is_validated(tmp_path: Path, pictures: Path, valid: Path) -> None:
    """The best is never missing, and is the newest where that was asked for."""
    recipe = tiny_recipe("srresnet-mse", "run.updates=5", "run.validate_every=2", "run.best_by=newest")
    events = train(recipe, pictures, tmp_path, valid=valid)
    assert [values["update"] for kind, values in events if kind == "validation"] == [2, 4, 5]
    assert read_weights(tmp_path / "best.safetensors").config.updates == 5


def test_the_log_on_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="No space left"):
        RunFolder(tmp_path).log("progress", update=1)


def test_run_folders_are_numbered(tmp_path: Path) -> None:
    for name in ("a-001", "a-007", "a-b", "b-009"):
        (tmp_path / name).mkdir()
    assert next_run_folder("a", tmp_path) == tmp_path / "a-008"
    assert next_run_folder("c", tmp_path) == tmp_path / "c-001"
    assert next_run_folder("c", tmp_path) == tmp_path / "c-002", "a run that begins at the same time gets its own"


def test_a_name_is_no_pattern(tmp_path: Path) -> None:
    for name in ("a**b", "a [x]", "a?"):
        (tmp_path / f"{name}-003").mkdir()
        assert next_run_folder(name, tmp_path) == tmp_path / f"{name}-004"


def test_a_place_for_runs_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "disk-not-mounted" / "runs")
    with pytest.raises(TrainingError, match="cannot make the folder"):
        next_run_folder("a", tmp_path / "runs")


def test_a_folder_that_another_run_works_in_is_left_alone(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe(), pictures, tmp_path / "run")
    with RunFolder(tmp_path / "run").held(), pytest.raises(TrainingError, match="another run is at work"):
        train(tiny_recipe(), pictures, tmp_path / "run", resume=True)
    with RunFolder(tmp_path / "new").held(), pytest.raises(TrainingError, match="another run is at work"):
        train(tiny_recipe(), pictures, tmp_path / "new")
    assert not (tmp_path / "new").exists(), "a run that has written nothing leaves nothing"
    train(tiny_recipe("srresnet-mse", "run.updates=9"), pictures, tmp_path / "run", resume=True)


def test_calibration_reaches_its_ratio_and_disturbs_nothing(pictures: Path, vgg: Path, tmp_path: Path) -> None:
    from fourfold.networks import load_vgg19
    from fourfold.training.calibration import calibrate
    from fourfold.training.data import open_bank

    cpu = torch.device("cpu")
    features = load_vgg19(vgg, "22", "oxford")
    recipe = tiny_recipe("srgan-vgg22")
    bank, _ = open_bank(DataSource([pictures]), recipe.data, 4, cpu, default_cache=tmp_path)
    state = torch.get_rng_state()
    once = calibrate(features, bank, recipe, cpu)
    assert calibrate(features, bank, recipe, cpu) == once
    assert torch.equal(torch.get_rng_state(), state)
    doubled = load_recipe("srgan-vgg22", settings=tiny_settings("srgan-vgg22", "loss.vgg_ratio=13.8"))
    assert calibrate(features, bank, doubled, cpu) == pytest.approx(2 * once)
    with torch.no_grad():  # features ten times as large: a loss a hundred times as large
        features.features[3].weight.mul_(10)  # type: ignore[union-attr, operator]
    assert calibrate(features, bank, recipe, cpu) == pytest.approx(once / 100, rel=1e-3)
    with torch.no_grad():
        features.features[3].weight.zero_()  # type: ignore[union-attr, operator]
    with pytest.raises(TrainingError, match=r"loss\.vgg_scale"):
        calibrate(features, bank, recipe, cpu)


@pytest.mark.gpu
@pytest.mark.parametrize("bank", ["resident", "streamed"])
def test_a_run_with_a_graph(tmp_path: Path, pictures: Path, bank: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    recipe = tiny_recipe("srgan-mse", f"data.bank={bank}", "run.updates=40", "run.gradients_every=7", "run.graph=true")
    events: list[tuple[str, dict[str, Any]]] = []
    run_training(
        recipe, DataSource([pictures]), folder=tmp_path / "run", device="cuda",
        listener=lambda kind, found: events.append((kind, found)),
    )  # fmt: skip
    assert not [found for kind, found in events if kind == "remark" and "CUDA graph" in found["text"]]

"""Going on with a run: what is kept of it, what is made anew because it no longer fits, and what was never begun."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fourfold.errors import TrainingError
from fourfold.imaging import Picture, read_rgb, write_picture
from fourfold.training.calibration import calibrated_for
from fourfold.training.checkpoint import checkpoints, save_checkpoint
from fourfold.training.data import DataSource
from fourfold.training.discriminator_watch import DiscriminatorWatch
from fourfold.training.going_on import how_to_go_on
from fourfold.training.pictures import BankReport, overlooked
from fourfold.training.recipe import Recipe, load_recipe
from fourfold.training.run import _known_scale, run_training
from fourfold.training.run_folder import RunFolder
from fourfold.weights import read_weights
from tests.conftest import make_photo
from tests.training.conftest import tiny_recipe
from tests.training.test_run import train

SHORT = ("run.validate_every=0", "run.checkpoint_every=1", "run.gradients_every=0")


def of(events: list[tuple[str, dict[str, Any]]], kind: str) -> list[dict[str, Any]]:
    return [values for found, values in events if found == kind]


@pytest.mark.parametrize("old", [False, True], ids=["checkpoint", "checkpoint-that-does-not-say"])
@pytest.mark.parametrize(
    ("before", "now", "scale", "how"),
    [
        ([], [], 2.0, "of the checkpoint"),
        ([], ["loss.vgg_shift_px=4", "loss.vgg_zoom=[1,2]", "loss.vgg=0.5", "run.updates=9"], 2.0, "of the checkpoint"),
        ([], ["loss.vgg_layer=21"], None, "calibrated again: the checkpoint's is for another loss.vgg_layer"),
        ([], ["loss.vgg_ratio=3"], None, "calibrated again: the checkpoint's is for another loss.vgg_ratio"),
        ([], ["loss.vgg_normalisation=torchvision"], None, "another loss.vgg_normalisation"),
        ([], ["data.degradation=gaussian"], None, "another data.degradation"),
        ([], ["loss.vgg_scale=0.5"], 0.5, "of the recipe"),
        (["loss.vgg_scale=2"], ["loss.vgg_scale=0.5"], 0.5, "of the recipe"),
        (["loss.vgg_scale=2"], [], None, "another loss.vgg_scale"),
    ],
)
def test_the_content_scale_belongs_to_its_settings(
    tmp_path: Path, before: list[str], now: list[str], scale: float | None, how: str, old: bool
) -> None:
    first, second = tiny_recipe("srgan-vgg22", *before), tiny_recipe("srgan-vgg22", *now)
    said = {} if old else {"calibrated_for": calibrated_for(first)}
    save_checkpoint(tmp_path / "checkpoints", 1, {"content_scale": 2.0, **said}, keep=1)
    # what the recipe of the run says is believed only where the checkpoint does not: it may have been written anew
    found, words = _known_scale(second, RunFolder(tmp_path), first if old else second)
    assert found == scale
    assert how in words
    assert _known_scale(tiny_recipe("srgan-vgg22"), RunFolder(tmp_path), None) == (None, "calibrated")


def test_another_layer_is_calibrated_again(tmp_path: Path, pictures: Path, vgg: Path) -> None:
    def scale(*settings: str, resume: bool) -> dict[str, Any]:
        events = train(tiny_recipe("srgan-vgg22", *SHORT, *settings), pictures, tmp_path, vgg=vgg, resume=resume)
        return of(events, "content_scale")[0]

    first = scale("run.updates=1", resume=False)
    other = scale("run.updates=2", "loss.vgg_layer=21", resume=True)
    assert "another loss.vgg_layer" in other["how"]
    assert other["scale"] != pytest.approx(first["scale"], rel=0.01)
    again = scale("run.updates=3", "loss.vgg_layer=21", resume=True)
    assert (again["scale"], again["how"]) == (other["scale"], "of the checkpoint")
    assert read_weights(tmp_path / "latest.safetensors").config.content_scale == other["scale"]


def test_a_discriminator_that_won_before_a_stop_is_named_after_it(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiscriminatorWatch, "_judge", staticmethod(lambda real, fake: "won"))
    monkeypatch.setattr(DiscriminatorWatch.__init__, "__defaults__", (3,))

    def remarks(*settings: str, resume: bool) -> list[int]:
        recipe = tiny_recipe("srgan-mse", *SHORT, "run.log_every=1", *settings)
        found = of(train(recipe, pictures, tmp_path, resume=resume), "remark")
        return [values["update"] for values in found if "nearly always" in values["text"]]

    assert remarks("run.updates=2", resume=False) == []
    assert remarks("run.updates=5", resume=True) == [4]
    assert remarks("run.updates=6", resume=True) == []


def test_what_lasts_over_a_stop_is_not_judged_by_one_update(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's first line, also where it goes on, is of one update: of 16 crops, one that is taken wrongly is 6 %."""
    looked: list[int] = []

    def look(self: DiscriminatorWatch, update: int, real: float, fake: float) -> list[str]:
        looked.append(update)
        return []

    monkeypatch.setattr(DiscriminatorWatch, "look", look)
    for updates, resume in ((6, False), (11, True)):
        settings = ("run.log_every=3", "run.checkpoint_every=6", f"run.updates={updates}")
        lines = of(train(tiny_recipe("srgan-mse", *settings), pictures, tmp_path, resume=resume), "progress")
        assert lines[0]["update"] == (7 if resume else 1)
    assert looked == [3, 6, 9, 11]


@pytest.mark.parametrize(
    ("best_by", "progress", "kept"),
    [
        ("psnr", {"best_score": 1e6, "best_psnr": 1e6, "best_by": "psnr"}, True),
        ("psnr", {"best_score": 1e6, "best_by": "newest"}, False),
        ("newest", {"best_score": 1e6, "best_by": "psnr"}, False),
        ("psnr", {"best_score": math.inf, "best_psnr": math.inf, "best_by": "psnr"}, False),
        ("psnr", {"best_score": 1e6, "best_by": "psnr"}, False),  # by age, and the recipe was written anew since
        # checkpoints that do not say: the run's recipe does, and that is by PSNR
        ("psnr", {"best_score": 1e6, "best_psnr": 1e6}, True),
        ("newest", {"best_score": 1e6}, False),
        ("psnr", {"best_psnr": 1e6, "best_score": None}, True),
    ],
)
def test_the_best_is_compared_with_its_like(
    tmp_path: Path, pictures: Path, valid: Path, best_by: str, progress: dict[str, Any], kept: bool
) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=2"), pictures, tmp_path, valid=valid)
    path = checkpoints(tmp_path / "checkpoints")[-1]
    state = torch.load(path, weights_only=True)
    assert state["progress"].pop("best_by") == "psnr"
    state["progress"].update(progress)
    state["progress"] = {key: value for key, value in state["progress"].items() if value is not None}
    torch.save(state, path)
    recipe = tiny_recipe("srresnet-mse", "run.updates=3", f"run.best_by={best_by}")
    events = train(recipe, pictures, tmp_path, valid=valid, resume=True)
    assert [values["best"] for values in of(events, "validation")] == [not kept]
    remarks = [values["text"] for values in of(events, "remark")]
    assert sum(text.startswith("the best so far") for text in remarks) == (0 if kept else 1)
    assert read_weights(tmp_path / "best.safetensors").config.updates == (2 if kept else 3)
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_the_best_on_other_pictures_does_not_count(tmp_path: Path, pictures: Path, valid: Path) -> None:
    recipe = tiny_recipe("srresnet-mse", "run.updates=2")
    train(recipe, pictures, tmp_path / "run", valid=valid)
    path = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    state = torch.load(path, weights_only=True)
    assert state["progress"]["best_on"].startswith("2 pictures, ")
    state["progress"] |= {"best_score": 1e6, "best_psnr": 1e6}
    torch.save(state, path)
    easier = tmp_path / "easier"
    shutil.copytree(valid, easier)
    name = sorted(easier.iterdir())[0]
    write_picture(Picture(np.rot90(read_rgb(name)).copy()), name, overwrite=True)
    for folder, updates, kept in ((valid, 3, True), (easier, 4, False)):
        events = train(
            tiny_recipe("srresnet-mse", f"run.updates={updates}"), pictures, tmp_path / "run", valid=folder, resume=True
        )
        assert [values["best"] for values in of(events, "validation")] == [not kept]
        said = [values["text"] for values in of(events, "remark")]
        assert said == [] if kept else "other validation pictures" in said[0]


def test_what_the_optimiser_was_is_read_from_the_checkpoint(tmp_path: Path, pictures: Path) -> None:
    """A run that went on with another optimiser and was killed before its next checkpoint has its record already."""
    train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path)
    changed = tiny_recipe("srresnet-mse", "run.updates=2", "optimiser.kind=soap")
    (tmp_path / "recipe.json").write_text(changed.model_dump_json())
    events = train(changed, pictures, tmp_path, resume=True)
    assert "until now the optimiser was adam, now it is soap" in of(events, "remark")[0]["text"]


def begun(folder: Path, recipe: Recipe) -> None:
    """Leaves what a run leaves that was killed before its first checkpoint."""
    RunFolder(folder).start(recipe, BankReport(), "0", "again")
    RunFolder(folder).log("progress", update=1)
    (folder / "lock").touch()


def test_a_run_without_a_checkpoint_begins_anew(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe("srresnet-mse", "run.updates=2")
    begun(tmp_path / "run", recipe)
    with pytest.raises(TrainingError, match="was to go on with srgan-mse"):
        train(tiny_recipe("srgan-mse"), pictures, tmp_path / "run", resume=True)
    events = train(recipe, pictures, tmp_path / "run", resume=True)
    assert "begins anew" in of(events, "remark")[0]["text"]
    train(recipe, pictures, tmp_path / "whole")
    ours, theirs = (read_weights(tmp_path / run / "latest.safetensors") for run in ("run", "whole"))
    assert all((ours.tensors[name] == theirs.tensors[name]).all() for name in ours.tensors)


def test_a_run_without_a_checkpoint_begins_from_what_it_was_to_begin_from(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=1", "run.seed=3"), pictures, tmp_path / "first")
    own = {"init": str(tmp_path / "first/latest.safetensors")}
    begun(tmp_path / "run", tiny_recipe("srresnet-mse", "run.updates=1", "loss.pixel=0.5").model_copy(update=own))
    recipe = tiny_recipe("srresnet-mse", "run.updates=1")
    events = train(recipe, pictures, tmp_path / "run", resume=True)
    assert [remark["text"] for remark in of(events, "remark")][1:] == [
        "settings that differ from before: loss.pixel 0.5 -> 1.0"
    ]
    assert RunFolder(tmp_path / "run").recipe().init == own["init"]
    train(recipe.model_copy(update=own), pictures, tmp_path / "whole")
    ours, theirs = (read_weights(tmp_path / run / "latest.safetensors") for run in ("run", "whole"))
    assert all((ours.tensors[name] == theirs.tensors[name]).all() for name in ours.tensors)


def test_a_run_that_was_killed_at_its_very_beginning(tmp_path: Path, pictures: Path) -> None:
    recipe = tiny_recipe("srresnet-mse", "run.updates=1")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    (tmp_path / "a" / ".fourfold.0123456789ab.part").write_bytes(b"{")
    (tmp_path / "b" / "recipe.json").write_text(recipe.model_dump_json())
    train(recipe, pictures, tmp_path / "a")
    assert not list((tmp_path / "a").glob(".*"))
    train(recipe, pictures, tmp_path / "b", resume=True)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "holiday.txt").touch()
    with pytest.raises(TrainingError, match="is not a run folder"):
        train(tiny_recipe(), pictures, tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_going_on_needs_no_initial_weights(tmp_path: Path, pictures: Path) -> None:
    first = tmp_path / "first.safetensors"
    train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path / "first")
    (tmp_path / "first/latest.safetensors").rename(first)

    def going_on(*settings: str, resume: bool) -> None:
        recipe = tiny_recipe("srresnet-mse", "network.frozen_statistics=true", *settings)
        train(recipe.model_copy(update={"init": str(first)}), pictures, tmp_path / "run", resume=resume)

    going_on("run.updates=2", resume=False)
    first.unlink()
    going_on("run.updates=3", resume=True)
    assert read_weights(tmp_path / "run/latest.safetensors").config.updates == 3


def test_what_a_run_began_from_stays_what_it_was(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path / "first")
    began, recipe = str(tmp_path / "first/latest.safetensors"), tiny_recipe("srresnet-mse", "run.updates=2")
    train(recipe.model_copy(update={"init": began}), pictures, tmp_path / "run")
    longer = tiny_recipe("srresnet-mse", "run.updates=3").model_copy(update={"init": "srresnet-mse"})
    train(longer, pictures, tmp_path / "run", resume=True)
    assert read_weights(tmp_path / "run/latest.safetensors").config.recipe["init"] == "latest.safetensors"
    assert json.loads((tmp_path / "run/recipe.json").read_text())["init"] == began


def test_settings_that_were_forgotten_are_pointed_out(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=1", "data.batch=2", "loss.pixel=0.5"), pictures, tmp_path / "run")
    events = train(tiny_recipe("srresnet-mse", "run.updates=2"), pictures, tmp_path / "run", resume=True)
    said = "settings that differ from before: data.batch 2 -> 4, loss.pixel 0.5 -> 1.0"
    assert of(events, "remark") == [{"update": 1, "text": said}]
    events = train(tiny_recipe("srresnet-mse", "run.updates=3"), pictures, tmp_path / "run", resume=True)
    assert of(events, "remark") == []


@pytest.mark.parametrize("first", [False, True])
def test_lr_of_another_kind_is_refused(first: bool, tmp_path: Path, pictures: Path) -> None:
    """It would be another task, and nothing in the log would show it."""
    for path in pictures.rglob("*.png"):
        hr = read_rgb(path)
        lr = np.zeros((hr.shape[0] // 4, hr.shape[1] // 4, 3), np.uint8)
        (tmp_path / "lr" / path.relative_to(pictures)).parent.mkdir(parents=True, exist_ok=True)
        write_picture(Picture(lr), tmp_path / "lr" / path.relative_to(pictures))

    events: list[tuple[str, dict[str, Any]]] = []

    def go(given: bool, updates: int, name: str = "lr") -> None:
        source = DataSource([pictures], tmp_path / name if given else None)
        recipe = tiny_recipe("srresnet-mse", f"run.updates={updates}")
        run_training(
            recipe, source, folder=tmp_path / "run", device="cpu", resume=updates > 1,
            listener=lambda kind, found: events.append((kind, found)),
        )  # fmt: skip

    go(first, 1)
    says = "has LR pictures of --lr-data .*/lr; give it again" if first else "makes LR from HR; leave --lr-data out"
    with pytest.raises(TrainingError, match=says):
        go(not first, 2)
    go(first, 2)
    assert of(events, "remark") == []
    if first:
        go(first, 3, "lr/../lr")  # the same folder, otherwise written
        assert of(events, "remark") == []
        (tmp_path / "lr").rename(tmp_path / "other")
        go(first, 4, "other")
        said = f"LR pictures are those in {tmp_path}/other; until now they were those in {tmp_path}/lr/../lr"
        assert of(events, "remark") == [{"update": 3, "text": said}]


def test_a_checkpoint_that_is_passed_over_is_told(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.checkpoint_every=2", "run.updates=4"), pictures, tmp_path / "run")
    (tmp_path / "run/checkpoints/update-00000004.pt").write_bytes(b"cut off")
    events = train(tiny_recipe("srresnet-mse", "run.checkpoint_every=2"), pictures, tmp_path / "run", resume=True)
    said = "update-00000004.pt cannot be read; the run goes on from the newest checkpoint that can"
    assert of(events, "remark")[0] == {"update": 2, "text": said}


def test_the_folder_names_the_command_that_goes_on(tmp_path: Path) -> None:
    recipe = load_recipe("srresnet-mse", profile="quick")
    assert how_to_go_on(tmp_path / "my run", recipe) == (
        f"fourfold train srresnet-mse --profile quick --run '{tmp_path}/my run' --resume ..."
    )
    own = recipe.model_copy(update={"name": "mine"})
    assert how_to_go_on(Path("runs/mine"), own) == (
        "fourfold train RECIPE.toml --profile quick --run runs/mine --resume ..."
    )
    assert how_to_go_on(Path("runs/mine"), recipe, "my recipes/copy.toml") == (
        "fourfold train 'my recipes/copy.toml' --profile quick --run runs/mine --resume ..."
    )
    assert "--profile 'my own' --run" in how_to_go_on(Path("runs/mine"), own.model_copy(update={"profile": "my own"}))


def test_what_is_overlooked_is_told(tmp_path: Path, pictures: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "some"))
    (folder / "more").mkdir()
    for name in ("more/a.bmp", "more/b.BMP", "c.heic", ".hidden.bmp", "notes.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "linked").symlink_to(pictures)
    told = [
        f"2 .bmp, 1 .heic in {folder} or below, not read here; convert them first",
        f"links to folders are not followed: {folder / 'linked'}",
    ]
    assert overlooked(folder) == told
    events = train(tiny_recipe("srresnet-mse", "run.updates=1"), folder, tmp_path / "run", valid=folder)
    assert json.loads((tmp_path / "run/data.json").read_text())["overlooked"] == told
    said = str(of(events, "remark"))
    assert all(sentence in said and f"--valid: {sentence}" in said for sentence in told)


def test_other_pictures_of_the_same_names_are_pointed_out(tmp_path: Path, pictures: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "some"))
    train(tiny_recipe("srresnet-mse", "run.updates=1"), folder, tmp_path / "run")
    told = "pictures are not the files of before, though called the same"
    events = train(tiny_recipe("srresnet-mse", "run.updates=2"), folder, tmp_path / "run", resume=True)
    assert told not in str(of(events, "remark"))
    for k, path in enumerate(sorted(folder.iterdir())):
        Picture(make_photo(64, 64, seed=50 + k)).save(path, overwrite=True)
    events = train(tiny_recipe("srresnet-mse", "run.updates=3"), folder, tmp_path / "run", resume=True)
    assert told in str(of(events, "remark"))


@pytest.mark.parametrize("letter", ["n", "猫"])
def test_a_validation_picture_may_have_a_long_name(letter: str, tmp_path: Path, pictures: Path) -> None:
    valid = tmp_path / "valid"
    valid.mkdir()
    stem = letter * (240 // len(letter.encode()))
    for k in range(2):
        Picture(make_photo(48, 48, seed=k)).save(valid / f"{stem}{k}.png")
    train(tiny_recipe("srresnet-mse", "run.updates=4"), pictures, tmp_path / "run", valid=valid)
    assert len(list((tmp_path / "run/pictures").glob("*-00000004.png"))) == 2


def test_other_pictures_and_another_seed_are_pointed_out(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    first = min(other.rglob("*.png"))
    first.rename(first.with_name("zzz.png"))
    recipe = tiny_recipe("srresnet-mse", "run.updates=2", "run.seed=5")
    said = " ".join(r["text"] for r in of(train(recipe, other, tmp_path / "run", resume=True), "remark"))
    assert "the pictures are not those of before, or in another order" in said
    assert "run.seed counts where a run begins" in said


def test_copies_of_validation_pictures_are_pointed_out(tmp_path: Path, pictures: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for number, path in enumerate(sorted(pictures.rglob("*.png"))[:2]):
        shutil.copy(path, copies / f"held-back-{number}.png")
    events = train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path / "run", valid=copies)
    assert [r["text"][:36] for r in of(events, "remark")] == ["2 of the validation pictures are tra"]


def test_validation_pictures_that_are_trained_on_are_pointed_out(tmp_path: Path, pictures: Path) -> None:
    events = train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path / "run", valid=pictures)
    said = "7 of the validation pictures are trained on, too; their scores say little"
    assert of(events, "remark") == [{"update": 0, "text": said}]


def test_a_run_that_ends_before_its_milestones_says_so(tmp_path: Path, pictures: Path) -> None:
    events = train(tiny_recipe("srgan-mse", "schedule.kind=step", "run.updates=1"), pictures, tmp_path)
    said = "schedule.milestones begin with 100000, and the schedule has 1 update: the learning rate never falls"
    assert of(events, "remark") == [{"update": 0, "text": said}]


def test_a_run_that_has_its_updates_says_so(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=2"), pictures, tmp_path)
    events = train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path, resume=True)
    assert [remark["text"] for remark in of(events, "remark")] == [
        "2 updates are done already, and run.updates is 1: more go on"
    ]

"""``fourfold train``: options, plans, errors and what it says."""

import json
import os
import re
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fourfold.cli.train import app
from fourfold.cli.training_display import TrainingDisplay
from fourfold.errors import (
    CheckpointError,
    DataError,
    FourfoldError,
    RecipeError,
    TrainingError,
    UsageError,
    WeightsError,
)
from fourfold.imaging import Picture
from fourfold.training import load_recipe, streaming
from fourfold.training.stage import ContentStage
from fourfold.training.validation import Validator
from tests.conftest import make_photo

TINY = [
    "--init", "none", "--device", "cpu",
    "--set", "network.parameters.blocks=1", "--set", "network.parameters.width=4", "--set", "discriminator.width=8",
    "--set", "data.crop_px=32", "--set", "data.batch=2", "--set", "run.precision=fp32", "--set", "run.updates=2",
    "--set", "run.gradients_every=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for k in range(3):
        Picture(make_photo(40, 48, seed=k)).save(folder / f"{k}.png")
    (folder / "small").mkdir()
    Picture(make_photo(8, 8)).save(folder / "small" / "small.png")
    return folder


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("valid")
    Picture(make_photo(40, 48, seed=9)).save(folder / "v.png")
    return folder


def test_a_run_and_its_continuation(tmp_path: Path, data: Path, valid: Path) -> None:
    runner, folder = CliRunner(), tmp_path / "run"
    arguments = ["srgan-mse", "--data", str(data), "--valid", str(valid)]
    arguments += ["--set", "run.validate_every=2", "--run", str(folder), *TINY]
    first = runner.invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert first.stdout == ""
    for words in ("3 pictures; left out: 1 too small", "of the generator's gradient", "PSNR", "D ", "updates/s"):
        assert words in first.stderr
    again = runner.invoke(app, [*arguments, "--resume", "--set", "run.updates=3"])
    assert again.exit_code == 0, again.output
    assert "going on after update 2" in again.stderr


def killed_by(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every update send this process a signal."""
    original = ContentStage.step

    def step(self: ContentStage, *args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), number)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(ContentStage, "step", step)


@pytest.mark.usefixtures("terminals_matter")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("torchrun", [False, True])
def test_a_run_that_is_stopped_says_so(
    number: signal.Signals, torchrun: bool, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its exit status, too; but torchrun would begin it anew, and it was to stop."""
    torchrun_says = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "RANK": "0"}
    for name, value in torchrun_says.items() if torchrun else ():
        monkeypatch.setenv(name, value)
    original = ContentStage.step
    killed_by(number, monkeypatch)
    folder = tmp_path / "run [old] :smile:"
    done = CliRunner().invoke(app, ["srresnet-mse", "--data", str(data), "--run", str(folder), *TINY])
    assert done.exit_code == (0 if torchrun else 128 + number), done.output
    assert f"{number.name}: stopped after update 1, checkpoint written" in done.stderr
    assert f"--run {folder} --resume" in done.stderr
    monkeypatch.setattr(ContentStage, "step", original)
    arguments = ["srresnet-mse", "--data", str(data), "--run", str(folder), "--resume", *TINY]
    assert CliRunner().invoke(app, arguments).exit_code == 0


@pytest.mark.usefixtures("terminals_matter")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_before_its_first_update_tidies_up(
    number: signal.Signals, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_stored", lambda _: os.kill(os.getpid(), number))  # pictures are decoded by then
    arguments = ["srresnet-mse", "--data", str(data), "--run", str(tmp_path / "run"), *TINY]
    done = CliRunner().invoke(app, [*arguments, "--cache", str(tmp_path / "c"), "--set", "data.bank=streamed"])
    assert done.exit_code == 128 + number, done.output
    how = " at once; --resume goes on" if number == signal.SIGINT else "; no update was under way"
    assert f"{number.name}: stopped{how}" in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]


def test_under_nohup_a_closed_terminal_stops_nothing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, terminals_matter: None
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    killed_by(signal.SIGHUP, monkeypatch)
    done = CliRunner().invoke(app, ["srresnet-mse", "--data", str(data), "--run", str(tmp_path / "run"), *TINY])
    assert done.exit_code == 0, done.output


def test_a_closed_terminal_stops_no_run_halfway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would have shown is lost, not the update that is being finished."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with TrainingDisplay(load_recipe("srresnet-mse"), tmp_path) as display:
            os.close(ours)
            with pytest.raises(OSError, match="Input/output"):
                os.write(theirs, b"x")
            display.listen("remark", {"update": 1, "text": "into the void"})
        monkeypatch.undo()
        with suppress(OSError):
            terminal.close()


def test_one_of_several_processes_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay(load_recipe("srresnet-mse"), tmp_path, quiet=True) as display:
        display.listen("remark", {"update": 1, "text": "unheard"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["weird[/b]", "run [old]", ":smile:", "a" * 120])
def test_run_folders_are_shown_as_they_are(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay(load_recipe("srresnet-mse"), tmp_path / name) as display:
        display.listen("bank", {"text": f"into {tmp_path / name}"})
        display.listen("remark", {"update": 1, "text": f"of {tmp_path / name}"})
        display.listen("stopped", {"update": 1, "signal": "SIGINT"})
    shown = capsys.readouterr().err
    assert shown.count(str(tmp_path / name)) == 4, shown


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["srresnet-mse", "--data", "EMPTY"], DataError, "no picture"),
        (["srresnet-mse", "--data", "SMALL"], DataError, "at least 32x32 pixels"),
        (["srresnet-mse", "--data", "BROKEN"], DataError, "broken_share"),
        (["srresnet-mse", "--data", "BROKEN", "--set", "data.broken_share=1"], DataError, "none of the 1 pictures"),
        (["srresnet-mse", "--data", "DATA", "--set", "data.batch=4"], DataError, "3 pictures are fewer"),
        (["srresnet-mse", "--data", "DATA", "--init", "none.safetensors"], FourfoldError, r"none\.safetensors"),
        (["srresnet-mse", "--data", "DATA", "--init", "srresnet-mse"], TrainingError, "the recipe trains"),
        (["srresnet-mse", "--data", "DATA", "--valid", "EMPTY"], DataError, "--valid"),
        (["srresnet-mse", "--data", "DATA", "--vgg", "x.pth"], UsageError, "no VGG term"),
        (["srgan-vgg54", "--data", "DATA", "--vgg", "x.pth"], WeightsError, "no VGG19 weights"),
        (["srresnet-mse", "--data", "DATA", "--lr-data", "EMPTY"], DataError, "no LR picture"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(
    arguments: list[str], kind: type[FourfoldError], words: str, tmp_path: Path, data: Path
) -> None:
    places = {"EMPTY": tmp_path / "empty", "SMALL": data / "small", "BROKEN": tmp_path / "broken", "DATA": data}
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"rubbish")
    arguments = [str(places.get(part, part)) for part in arguments]
    for more in (["--dry-run"], ["--run", str(tmp_path / "run")]):
        done = CliRunner().invoke(app, [arguments[0], *TINY, *arguments[1:], *more])
        assert isinstance(done.exception, kind), done.output
        assert re.search(words, str(done.exception))
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["--run", "TAKEN"], TrainingError, "not empty"),
        (["--run", "TAKEN", "--resume"], TrainingError, "not a run folder"),
        (["--run", "NOWHERE", "--resume"], TrainingError, "no checkpoint"),
        (["--set", "loss.vgg=1", "--set", "loss.vgg_normalisation=oxford"], WeightsError, "--vgg FILE"),
    ],
)
def test_a_dry_run_looks_at_the_run_folder_and_at_what_vgg19_is_wanted(
    arguments: list[str], kind: type[FourfoldError], words: str, tmp_path: Path, data: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    places = {"TAKEN": tmp_path / "taken", "NOWHERE": tmp_path / "nowhere"}
    arguments = ["srresnet-mse", "--data", str(data), *TINY, *(str(places.get(part, part)) for part in arguments)]
    for more in (["--dry-run"], []):
        done = CliRunner().invoke(app, [*arguments, *more])
        assert isinstance(done.exception, kind), done.output
        assert re.search(words, str(done.exception))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["taken", "x"]


def test_a_dry_run_refuses_to_go_on_with_other_networks(tmp_path: Path, data: Path) -> None:
    arguments = ["srresnet-mse", "--data", str(data), *TINY, "--run", str(tmp_path / "run")]
    assert CliRunner().invoke(app, [*arguments, "--set", "run.updates=1"]).exit_code == 0
    going_on = [*arguments, "--resume", "--set", "run.updates=2"]
    plan = CliRunner().invoke(app, [*going_on, "--dry-run"])
    assert plan.exit_code == 0
    needs = json.loads(plan.stdout)["estimate"]
    assert (needs["updates_left"], needs["run_s"]) == (1, needs["update_s"])
    assert "the 1 updates left of 2 in about" in plan.stderr
    for more in (["--dry-run"], []):
        done = CliRunner().invoke(app, [*going_on, "--set", "network.parameters.width=12", *more])
        assert isinstance(done.exception, CheckpointError), done.output


def test_a_dry_run_refuses_to_go_on_with_fewer_pictures_or_other_lr(tmp_path: Path, data: Path) -> None:
    arguments = ["srresnet-mse", *TINY, "--run", str(tmp_path / "run")]
    assert CliRunner().invoke(app, [*arguments, "--data", str(data), "--set", "run.updates=1"]).exit_code == 0
    (tmp_path / "fewer").mkdir()
    for k in range(2):
        shutil.copy(data / f"{k}.png", tmp_path / "fewer")
    for more in (["--dry-run"], []):
        fewer = [*arguments, "--data", str(tmp_path / "fewer"), "--resume", *more]
        done = CliRunner().invoke(app, fewer)
        assert isinstance(done.exception, CheckpointError), done.output
        assert "on 3 pictures and there are 2 now" in str(done.exception)
        done = CliRunner().invoke(app, [*arguments, "--data", str(data), "--lr-data", str(data), "--resume", *more])
        assert isinstance(done.exception, TrainingError) and "leave --lr-data out" in str(done.exception), done.output


def test_a_dry_run_of_a_run_that_begins_anew_looks_at_what_it_begins_from(tmp_path: Path, data: Path) -> None:
    arguments = ["srresnet-mse", *TINY, "--data", str(data), "--set", "network.frozen_statistics=true"]
    (tmp_path / "run").mkdir()
    begun = load_recipe("srresnet-mse", settings=[*TINY[5::2], "network.frozen_statistics=true"])
    (tmp_path / "run" / "recipe.json").write_text(begun.model_copy(update={"init": None}).model_dump_json())
    for more in (["--dry-run"], []):
        done = CliRunner().invoke(app, [*arguments, "--run", str(tmp_path / "run"), "--resume", *more])
        assert isinstance(done.exception, FourfoldError), done.output
        assert "frozen_statistics" in str(done.exception)


def test_a_dry_run_counts_the_largest_validation_picture(
    tmp_path: Path, data: Path, valid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(Validator, "restore", lambda self, network, lr, fabric: seen.append(lr.shape))
    done = CliRunner().invoke(app, ["srresnet-mse", *TINY, "--data", str(data), "--valid", str(valid), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert seen == [(10, 12, 3)]


@pytest.mark.parametrize("name", ["srresnet-mse", "srgan-vgg54"])
def test_a_dry_run_is_a_plan_and_writes_nothing(
    name: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layer = ["--set", "loss.vgg_layer=12"]
    done = CliRunner().invoke(app, [name, "--data", str(data), "--profile", "quick", "--dry-run", *TINY, *layer])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["recipe"]["run"]["updates"] == 2
    assert plan["recipe"]["profile"] == "quick"
    assert plan["estimate"]["pictures"] == 3
    assert plan["estimate"]["left_out"] == 1
    assert plan["estimate"]["data_kept"] == "resident"
    assert plan["estimate"]["run_s"] == pytest.approx(2 * plan["estimate"]["update_s"])
    assert plan["estimate"]["update_bytes"] > 0
    assert "2 updates in about" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["srgan-vgg45"], RecipeError, "did you mean 'srgan-vgg54'"),
        (["srresnet-mse", "--resume"], UsageError, "--run"),
        (
            ["srresnet-mse", "--init", "w\udcff.safetensors"],
            UsageError,
            r"w\udcff.safetensors: this name is not in UTF-8",
        ),
        (["srresnet-mse", "--set", "run.update=3"], RecipeError, "did you mean 'run.updates'"),
        (["srresnet-mse", "--device", "tpu"], UsageError, "tpu"),
        (["srresnet-mse", "--run", "."], TrainingError, "not empty"),
        (["srresnet-mse", "--run", "new", "--valid", "small", *TINY], DataError, "too small"),
        (["srresnet-mse", "--profile", "fast"], RecipeError, "paper, quick, cpu"),
    ],
)
def test_wrong_calls(
    arguments: list[str], kind: type[FourfoldError], words: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    result = CliRunner().invoke(app, [*arguments, "--data", str(data)])
    assert isinstance(result.exception, kind)
    assert words in str(result.exception)


def test_a_device_that_is_not_there_leaves_nothing_behind(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["srresnet-mse", "--data", str(data), *TINY, "--device", "tpu"])
    assert isinstance(result.exception, UsageError) and "it can be auto, cpu" in str(result.exception)
    assert not result.output and not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--data", "--valid", "--run", "--vgg", "--lr-data", "--cache"])
def test_an_empty_path_is_not_the_current_folder(option: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    before = sorted(data.rglob("*"))
    result = CliRunner().invoke(app, ["srresnet-mse", "--data", str(data), option, "", *TINY])
    assert result.exit_code == 2
    assert "the path is empty" in result.output
    assert sorted(data.rglob("*")) == before


def test_several_processes_need_a_run_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["srresnet-mse", "--data", str(data)])
    assert isinstance(result.exception, UsageError)
    assert "--run" in str(result.exception)

"""Launchers that begin anew: what is theirs to go on with, what is not, and one process where there could be more."""

import time
from pathlib import Path

import pytest

from fourfold.errors import TrainingError, UsageError
from fourfold.training.going_on import folder_of, recipe_before
from fourfold.training.pictures import BankReport
from fourfold.training.processes import Launch, make_fabric, read_launch
from fourfold.training.run_folder import RunFolder
from tests.training.conftest import tiny_recipe
from tests.training.test_going_on import of
from tests.training.test_run import train


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


def test_a_requeued_job_goes_on_with_its_run(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    train(tiny_recipe("srresnet-mse", "run.updates=2"), pictures, tmp_path / "run")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    events = train(tiny_recipe("srresnet-mse", "run.updates=3"), pictures, tmp_path / "run")
    assert of(events, "resumed") == [{"update": 2}]


@pytest.mark.parametrize("there", ["run", "other", "file"])
def test_what_is_not_of_the_job_stays(
    there: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt is refused, and launchers begin anew whatever it failed of."""
    folder = tmp_path / "run"
    if there == "file":
        folder.mkdir()
        (folder / "README.md").write_text("somebody's")
    else:
        if there == "other":
            monkeypatch.setenv("SLURM_JOB_ID", "6")
        train(tiny_recipe("srresnet-mse", "run.updates=2"), pictures, folder)
    before = snapshot(folder)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(TrainingError, match="not empty"):
        train(tiny_recipe("srresnet-mse", "run.updates=3"), pictures, folder)
    assert snapshot(folder) == before


def test_a_job_that_got_nowhere_begins_quietly(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert of(train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path / "run"), "remark") == []


def test_a_run_from_before_the_launcher_is_not_its_own(tmp_path: Path) -> None:
    """torchrun calls itself "none" where nobody names it: only its age tells one launch from the next."""
    run, recipe = RunFolder(tmp_path / "runs" / "a-001"), tiny_recipe("srresnet-mse")
    run.start(recipe, BankReport(), "0", "again", "torchrun none")
    again = Launch(2, 1, 1, 0, "torchrun none", time.time() - 60)
    assert recipe_before(run, recipe, False, again) is None
    later = Launch(2, 1, 1, 0, "torchrun none", time.time() + 60)
    with pytest.raises(TrainingError, match="not empty"):
        recipe_before(run, recipe, False, later)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "slurm 7", "time": "x"}'])
def test_a_damaged_record_is_nobodys(text: str, tmp_path: Path) -> None:
    run, recipe = RunFolder(tmp_path), tiny_recipe("srresnet-mse")
    run.start(recipe, BankReport(), "0", "again", "slurm 7")
    (tmp_path / "launch.json").write_text(text)
    with pytest.raises(TrainingError, match="not empty"):
        recipe_before(run, recipe, False, Launch(restarts=1, name="slurm 7"))


def test_a_requeued_job_finds_its_numbered_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    again = Launch(restarts=1, name="slurm 7")
    assert folder_of(again, tiny_recipe()) is None
    name = tiny_recipe().name
    for number, job in ((1, "6"), (2, "7"), (3, "8")):
        RunFolder(Path(f"runs/{name}-00{number}")).start(tiny_recipe(), BankReport(), "0", "again", f"slurm {job}")
    assert folder_of(again, tiny_recipe()) == Path(f"runs/{name}-002")
    assert folder_of(Launch(restarts=1, name="slurm 9"), tiny_recipe()) is None
    assert folder_of(Launch(restarts=0, name="slurm 7"), tiny_recipe()) is None


def test_a_requeued_job_finds_a_name_that_looks_like_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe().model_copy(update={"name": "mine [x] **"})
    RunFolder(Path("runs/mine [x] **-001")).start(recipe, BankReport(), "0", "again", "slurm 7")
    assert folder_of(Launch(restarts=1, name="slurm 7"), recipe) == Path("runs/mine [x] **-001")


def test_a_job_of_several_runs_finds_the_one_that_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    again, name = Launch(restarts=1, name="slurm 7"), tiny_recipe().name
    rates = [tiny_recipe("srresnet-mse", f"optimiser.learning_rate={rate}") for rate in ("1e-3", "2e-3", "3e-3")]
    for number, recipe in enumerate(rates[:2], start=1):
        RunFolder(Path(f"runs/{name}-00{number}")).start(recipe, BankReport(), "0", "again", "slurm 7")
    assert [folder_of(again, recipe) for recipe in rates] == [
        Path(f"runs/{name}-001"), Path(f"runs/{name}-002"), None,
    ]  # fmt: skip
    RunFolder(Path(f"runs/{name}-003")).start(rates[0], BankReport(), "0", "again", "slurm 7")
    with pytest.raises(TrainingError, match=r"-001 and .*-003, with the same settings; give each"):
        folder_of(again, rates[0])


def test_one_process_in_an_allocation_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    assert make_fabric("cpu", "fp32").world_size == 1


def test_srun_must_say_how_many_processes_a_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="--ntasks-per-node"):
        make_fabric("cpu", "fp32")


def test_torchruns_own_age(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "RANK": "0"}
    assert time.time() - 24 * 3600 < read_launch(environment).since <= time.time() + 1  # that of the process above
    assert read_launch({**environment, "SLURM_RESTART_COUNT": "1"}).since == 0
    monkeypatch.setattr("os.getppid", lambda: 2**30)
    assert read_launch(environment).since == 0

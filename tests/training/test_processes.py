"""Several processes: what the launcher says, and that two processes are one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

from fourfold.errors import TrainingError, UsageError
from fourfold.networks import from_weights
from fourfold.training.processes import (
    Launch,
    SynchronisedBatchNorm2d,
    make_fabric,
    naming_a_lost_process,
    own_rand,
    read_launch,
    settled,
)
from fourfold.training.recipe import load_recipe
from fourfold.weights import read_weights
from tests.training.trainer import ROOT, Trainer

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "RANK": "9"}


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        ({}, Launch()),
        ({"WORLD_SIZE": "4"}, Launch()),
        (TORCHRUN, Launch(16, 2, 0, 9, "torchrun x")),
        ({**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "2"}, Launch(16, 2, 2, 9, "torchrun x")),
        (
            {**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "2", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"},
            Launch(16, 2, 3, 9, "slurm 7"),
        ),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, Launch()),
        ({"SLURM_NTASKS": "8"}, Launch()),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_NNODES": "2"}, Launch(8, 2, 0, 3)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}, Launch(8, 1, 0, 0)),
        ({"SLURM_RESTART_COUNT": "1", "SLURM_JOB_ID": "7"}, Launch(1, 1, 1, 0, "slurm 7")),
    ],
)
def test_what_the_launcher_says(environment: dict[str, str], launch: Launch) -> None:
    assert read_launch(environment) == launch


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_ID": "4294967290"}], ids=["batch script", "interactive shell"])
def test_without_srun_a_process_does_not_wait_for_others(step: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="write srun before the command"):
        read_launch({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", **step})


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16"), (False, "fp32")])
def test_the_precision_is_what_the_device_is_fast_at(
    fast: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("fourfold.training.processes.has_fast_bf16", lambda device: asked.append(device) or fast)
    recipe = load_recipe("srresnet-mse", profile="quick")
    assert recipe.run.precision == "auto"
    assert settled(recipe, "auto").run.precision == settled(recipe, "cpu").run.precision == precision
    assert asked == [None, "cpu"]
    for by_hand in ("bf16", "fp32"):
        chosen = load_recipe("srresnet-mse", profile="quick", settings=[f"run.precision={by_hand}"])
        assert settled(chosen, "cpu") == chosen


@pytest.mark.parametrize("device", ["tpu", "cuda", "mps"])
def test_devices_that_are_not_there(device: str) -> None:
    if {"cuda": torch.cuda, "mps": torch.backends.mps}.get(device, torch.cuda).is_available():
        pytest.skip("it is there")
    with pytest.raises(UsageError, match=device):
        make_fabric(device, settled(load_recipe("srresnet-mse"), device).run.precision)


@pytest.fixture
def alone() -> Any:
    """A process group of one."""
    distributed.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float32, 1e-4, 1e-5), (torch.bfloat16, 1e-2, 1e-4)])
def test_synchronised_batch_norm_equals_torchs(
    alone: None, tracked: bool, dtype: torch.dtype, rtol: float, atol: float
) -> None:
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(5, track_running_stats=tracked)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    ours = SynchronisedBatchNorm2d.like(plain)
    results = []
    for norm in (plain, ours):
        x = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(1)) * 3 + 1
        x = x.to(dtype, memory_format=torch.channels_last).requires_grad_()
        y = norm(x)
        (y**3).mean().backward()
        trained = norm(x.detach())
        results.append([y, x.grad, norm.weight.grad, norm.bias.grad, trained, norm.eval()(x.detach())])
        results[-1] += list(norm.state_dict().values())
    for theirs, mine in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)


def progress(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "progress"]


def restored(folder: Path) -> torch.Tensor:
    network = from_weights(read_weights(folder / "latest.safetensors"))
    with torch.no_grad():
        return network(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3)))


COMPARED = ("loss", "loss_pixel", "loss_adversarial", "loss_discriminator", "real_accuracy", "learning_rate")
SETTINGS = ("run.updates=6", "run.gradients_every=3")


def assert_equal_runs(one: list[dict[str, Any]], two: list[dict[str, Any]], rel: float = 2e-3) -> None:
    assert [line["update"] for line in one] == [line["update"] for line in two]
    for ours, theirs in zip(one, two, strict=True):
        assert ours.keys() == theirs.keys()
        factor = ["adversarial_factor"] if "adversarial_factor" in ours else []
        for name in (*factor, *COMPARED):
            assert ours[name] == pytest.approx(theirs[name], rel=rel, abs=1e-6), (ours["update"], name)


# along directions in which there is no gradient but rounding, SOAP's first updates are as large as along the others
@pytest.mark.parametrize(
    ("changed", "rel"),
    [
        ([], 2e-3),
        (["loss.adversarial=1.0", "loss.adversarial_share=0.3"], 2e-3),
        (["optimiser.kind=soap"], 2e-2),
    ],
)
def test_two_processes_are_one(changed: list[str], rel: float, trainer: Trainer, tmp_path: Path, valid: Path) -> None:
    """Two gloo processes with half the batch each; both networks, both steps, batch norm over the whole batch."""
    settings = ("run.updates=3", "run.gradients_every=2", *changed)
    assert trainer.wait(trainer.start(tmp_path / "one", *settings)) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    children = [
        trainer.start(
            tmp_path / "two", *settings,
            TORCHELASTIC_RUN_ID="test", MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="2",
            LOCAL_WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank), GROUP_RANK="0", TORCHELASTIC_RESTART_COUNT="0",
        )
        for rank in (0, 1)
    ]  # fmt: skip
    assert [trainer.wait(child) for child in children] == [0, 0]
    assert_equal_runs(progress(tmp_path / "one"), progress(tmp_path / "two"), rel)
    assert (restored(tmp_path / "one") - restored(tmp_path / "two")).abs().max() < rel
    assert read_weights(tmp_path / "two/latest.safetensors").config.device.endswith("x 2")


def test_random_numbers_of_the_rows_do_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(world: int, rank: int) -> torch.Tensor:
        monkeypatch.setattr(distributed, "is_initialized", lambda: world > 1)
        monkeypatch.setattr(distributed, "get_world_size", lambda: world)
        monkeypatch.setattr(distributed, "get_rank", lambda: rank)
        torch.manual_seed(0)
        own = own_rand(4 // world, 2, torch.device("cpu"))
        return torch.cat([own, torch.rand(1, 2)])  # whatever is drawn next is the same again

    one, first, second = drawn(1, 0), drawn(2, 0), drawn(2, 1)
    assert torch.equal(one[:4], torch.cat([first[:2], second[:2]]))
    assert torch.equal(one[4:], first[2:])
    assert torch.equal(one[4:], second[2:])


def documented_launches() -> list[str]:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("torchrun ")]


@pytest.mark.parametrize("line", documented_launches())
def test_documented_launches_reach_the_command_whole(line: str) -> None:
    """torchrun has options of its own, and takes abbreviations of them: --run must not become its --run-path."""
    from torch.distributed.run import get_args_parser

    options = get_args_parser().parse_args(line.split()[1:])
    assert options.module
    started = [options.training_script, *options.training_script_args]
    assert [part for part in started if part != "--"] == line.split(" -- ")[1].split()


@pytest.mark.parametrize(
    ("processes", "error", "told"),
    [
        (2, RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1234"), TrainingError),
        (2, RuntimeError("shapes cannot be multiplied"), RuntimeError),
        (1, RuntimeError("Connection closed by peer"), RuntimeError),
    ],
)
def test_a_lost_process_is_told_in_a_sentence(processes: int, error: RuntimeError, told: type[Exception]) -> None:
    says = "another process of this run has ended" if told is TrainingError else str(error)
    with pytest.raises(told, match=says), naming_a_lost_process(Launch(world_size=processes)):
        raise error


@pytest.mark.slow
def test_torchrun_makes_a_failure_good(trainer: Trainer, tmp_path: Path, pictures: Path) -> None:
    """One of two processes dies in the middle; torchrun begins anew, from the newest checkpoint."""
    assert trainer.wait(trainer.start(tmp_path / "one", *SETTINGS)) == 0
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1",
        "-m", "tests.training.distributed_target", str(pictures), str(tmp_path / "two"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    two = progress(tmp_path / "two")
    assert [line["update"] for line in two] == [1, 2, 3, 3, 4, 5, 6]  # 3 was made again, from the checkpoint at 2
    assert_equal_runs(progress(tmp_path / "one"), two[:2] + two[3:])

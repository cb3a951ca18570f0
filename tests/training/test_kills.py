"""A run that is killed loses at most the updates since its last checkpoint, and ends where it would have ended."""

import math
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from fourfold.training.checkpoint import checkpoints, load_checkpoint
from tests.training.fork_server import STOPPED
from tests.training.trainer import Trainer


def updates_done(folder: Path) -> int:
    found = checkpoints(folder / "checkpoints")
    return int(found[-1].stem.split("-")[1]) if found else 0


def begun(folder: Path) -> bool:
    """Returns whether --resume goes on there, or begins anew what was killed before its first checkpoint."""
    return (folder / "recipe.json").exists()


def kill_again_and_again(
    trainer: Trainer, folder: Path, updates: int, kills: int, in_writes: bool, late: float
) -> list[int]:
    """Kills a run at random moments, or in the middle of writing a checkpoint, then lets it end.

    Every third time it is killed early, perhaps before it trains; else within ``late`` seconds of saving something.

    Returns:
        The number of updates that each run had begun with; one that ends before it is killed is the last.
    """
    rng = random.Random(1)
    found: list[int] = []
    for k in range(kills):
        before = updates_done(folder)
        child = trainer.start(folder, f"run.updates={updates}", resume=begun(folder))
        early = k % 3 == 0  # from the start on, or from the first checkpoint on
        deadline = time.monotonic() + rng.uniform(0.0, 0.5) if early else math.inf
        while trainer.runs(child):
            saved = updates_done(folder) > before
            if saved and deadline == math.inf:
                deadline = time.monotonic() + rng.uniform(0.0, late)
            writing = saved and list((folder / "checkpoints").glob(".*.part"))
            if writing if in_writes else time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                break
        found.append(before)
        if trainer.wait(child) == 0:
            break
        assert updates_done(folder) >= before
    assert trainer.wait(trainer.start(folder, f"run.updates={updates}", resume=begun(folder))) == 0
    return found


def assert_same_end(one: Path, other: Path) -> None:
    states = [load_checkpoint(folder / "checkpoints") for folder in (one, other)]
    assert states[0] is not None and states[1] is not None
    for name, network in states[0]["networks"].items():
        for key, value in network.items():
            assert torch.equal(value, states[1]["networks"][name][key]), key
    assert not list((other / "checkpoints").glob(".*.part"))
    assert not list(other.glob(".*.part"))


@pytest.mark.parametrize("in_writes", [False, True])
def test_killed_now_and_then(trainer: Trainer, tmp_path: Path, in_writes: bool) -> None:
    assert trainer.wait(trainer.start(tmp_path / "whole", "run.updates=20")) == 0
    found = kill_again_and_again(trainer, tmp_path / "killed", 20, kills=3, in_writes=in_writes, late=0.05)
    assert max(found) > 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("in_writes", [False, True])
def test_killed_many_times(trainer: Trainer, tmp_path: Path, in_writes: bool) -> None:
    assert trainer.wait(trainer.start(tmp_path / "whole", "run.updates=600")) == 0
    found = kill_again_and_again(trainer, tmp_path / "killed", 600, kills=40, in_writes=in_writes, late=0.3)
    assert len(set(found)) > 10
    print(f"killed {len(found)} times; updates found at each start: {found}")
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("times", [1, 2], ids=["once", "by two at once"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_keeps_everything(
    trainer: Trainer, tmp_path: Path, number: signal.Signals, times: int
) -> None:
    child = trainer.start(tmp_path / "run", "run.updates=100000")
    while updates_done(tmp_path / "run") < 4:
        assert trainer.runs(child)
    for _ in range(times):
        os.kill(child, number)
        time.sleep(0.01)
    assert trainer.wait(child) == STOPPED
    last = (tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1]
    assert '"kind": "stopped"' in last
    assert f'"signal": "{number.name}"' in last
    assert f'"update": {updates_done(tmp_path / "run")}' in last

import errno
import os
from pathlib import Path

import pytest
import torch

from fourfold.errors import CheckpointError, TrainingError
from fourfold.training import checkpoint
from fourfold.training.checkpoint import checkpoints, load_checkpoint, remove_partial_files, save_checkpoint


def numbers(folder: Path) -> list[int]:
    return [int(path.stem.split("-")[1]) for path in checkpoints(folder)]


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for update in range(10, 60, 10):
        save_checkpoint(tmp_path, update, {"x": torch.tensor(update)}, keep=2, best=20)
    assert numbers(tmp_path) == [20, 40, 50]
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert int(state["x"]) == state["update"] == 50
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for update in (1, 2, 3):
        save_checkpoint(tmp_path, update, {}, keep=3)
    newest, middle = checkpoints(tmp_path)[2], checkpoints(tmp_path)[1]
    newest.write_bytes(newest.read_bytes()[:100])
    torch.save({"format": 99}, middle)
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["update"] == 1


def test_a_damaged_one_takes_no_good_ones_place(tmp_path: Path) -> None:
    """A run that goes on from the one before it makes new ones, with lower numbers at first."""
    save_checkpoint(tmp_path, 400, {}, keep=1)
    (tmp_path / "update-00000600.pt").write_bytes(b"cut off")
    save_checkpoint(tmp_path, 500, {}, keep=1)
    assert numbers(tmp_path) == [500, 600]
    save_checkpoint(tmp_path, 600, {}, keep=1)
    assert numbers(tmp_path) == [600]


def test_only_damaged_checkpoints(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    for update, content in enumerate([b"", b"rubbish"]):
        (tmp_path / f"update-{update:08d}.pt").write_bytes(content)
    torch.save([1, 2], tmp_path / "update-00000005.pt")
    with pytest.raises(CheckpointError, match=r"update-00000001\.pt"):
        load_checkpoint(tmp_path)


def test_no_code_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("echo owned",)

    torch.save({"format": 1, "evil": Evil()}, tmp_path / "update-00000001.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)


def test_a_full_disk_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, 1, {}, keep=1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space left.*--resume"):
        save_checkpoint(tmp_path, 2, {}, keep=1)
    assert numbers(tmp_path) == [1]
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    save_checkpoint(folder, 1, {}, keep=1)
    left = [folder / ".update-00000002.pt.x1.part", tmp_path / ".latest.safetensors.x2.part"]
    for path in left:
        path.write_bytes(b"half")
    remove_partial_files(folder)
    assert not any(path.exists() for path in left)
    assert numbers(folder) == [1]


def test_a_random_state_of_other_devices_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    state = checkpoint.random_state()
    first = torch.rand(3)
    checkpoint.restore_random_state({**state, "cuda": [state["torch"]] * 3})
    assert torch.equal(torch.rand(3), first)

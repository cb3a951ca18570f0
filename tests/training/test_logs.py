"""The log and the curves: every line whole, whatever the disk does."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from fourfold.errors import TrainingError
from fourfold.training.run_folder import RunFolder
from fourfold.training.tensorboard_log import TensorBoardLog
from tests.conftest import make_photo
from tests.training.conftest import tiny_recipe
from tests.training.test_run import train

resource = pytest.importorskip("resource")


def updates(folder: Path) -> list[int]:
    return [json.loads(line)["update"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_half_a_line_is_taken_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log("progress", update=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "log.jsonl").stat().st_size + 9, limits[1]))
    try:
        with pytest.raises(TrainingError, match="File too large"):
            folder.log("progress", update=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    folder.log("progress", update=3)
    assert updates(tmp_path) == [1, 3]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ('{"update": 1}\n{"upda', [1, 5]),
        ('{"update": 1}\n{"update": 2}', [1, 2, 5]),
        ('{"update": 1}\n', [1, 5]),
        ('{"upda', [5]),
        ("", [5]),
    ],
)
def test_a_last_line_without_an_end(tmp_path: Path, left: str, expected: list[int]) -> None:
    (tmp_path / "log.jsonl").write_text(left)
    RunFolder(tmp_path).log("resumed", update=5)  # which comes before anything else is written
    assert updates(tmp_path) == expected


def test_the_log_is_json(tmp_path: Path) -> None:
    RunFolder(tmp_path).log("validation", psnr_y=float("inf"), content_loss=float("nan"), best=True)
    line = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=pytest.fail)
    assert (line["psnr_y"], line["content_loss"], line["best"]) == (None, None, True)


def test_curves_can_be_read_by_tensorboard(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    curves = TensorBoardLog(tmp_path, first_update=6)
    curves.scalars(7, {"loss": 0.25, "best": True, "signal": "x"}, "training")
    curves.picture(7, "odd\udc80name", make_photo(24, 24))
    (path,) = tmp_path.iterdir()
    events = list(loader.LegacyEventFileLoader(str(path)).Load())  # written before it is closed
    curves.close()
    curves.close()
    tags = {value.tag: value for event in events for value in event.summary.value}
    assert set(tags) == {"training/loss", "validation/odd?name"}
    assert tags["training/loss"].simple_value == 0.25
    assert tags["validation/odd?name"].image.width == 24
    assert [event.step for event in events if event.HasField("session_log")] == [7]


def test_a_disk_that_takes_no_curves_costs_the_curves(
    tmp_path: Path, pictures: Path, valid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = TensorBoardLog._write, iter(range(100))

    def full(self: TensorBoardLog, **fields: Any) -> None:
        if next(calls) >= 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(self, **fields)

    monkeypatch.setattr(TensorBoardLog, "_write", full)
    events = train(tiny_recipe(), pictures, tmp_path, valid=valid)
    remarks = [values["text"] for kind, values in events if kind == "remark"]
    why = "tensorboard/ cannot be written (No space left on device)"
    assert remarks == [f"{why}: no more curves; log.jsonl has the same numbers"]
    assert [values["update"] for kind, values in events if kind == "checkpoint"] == [4, 8]


def test_a_place_for_curves_that_is_none(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path)
    for path in (tmp_path / "tensorboard").iterdir():
        path.unlink()
    (tmp_path / "tensorboard").rmdir()
    (tmp_path / "tensorboard").write_text("a file")
    events = train(tiny_recipe("srresnet-mse", "run.updates=2"), pictures, tmp_path, resume=True)
    remark = next(values["text"] for kind, values in events if kind == "remark")
    assert remark.startswith("tensorboard/ cannot be written (File exists)")

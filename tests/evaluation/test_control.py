"""The evaluation against known results on the standard sets (needs the benchmark pictures)."""

import csv
from pathlib import Path

import pytest

from fourfold.evaluation.benchmark import run_benchmark
from fourfold.evaluation.methods import make_methods
from fourfold.evaluation.sets import find_sets

#: column of the control file -> (our measure, agreement, half of the last digit that the file gives for means)
COLUMNS = {
    "psnr_y_float": ("psnr_y", 0.001, 0.00005),
    "ssim_wang": ("ssim_wang", 0.0005, 0.00005),
    "ssim_daala": ("ssim_daala", 0.00002, 0.00005),
}


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100"])
def test_control_comes_out(name: str, data_folder: Path) -> None:
    with (data_folder / "bench" / "CONTROL.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] == name]
    found = run_benchmark(find_sets(data_folder, [name]), make_methods(["nearest", "bicubic"]))
    assert rows and not found.problems
    for row in rows:
        of = (
            found.mean(name, row["method"])
            if row["image"] == "MEAN"
            else found.score(name, row["image"], row["method"])
        )
        assert of is not None
        for column, (measure, agreement, rounding) in COLUMNS.items():
            ours = of.values[measure]
            within = agreement + (rounding if row["image"] == "MEAN" else 0.0)
            assert ours == pytest.approx(float(row[column]), abs=within), (row, measure, ours)

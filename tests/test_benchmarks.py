"""The benchmarks are commands that anyone can run: each tells how, and prints its table on pictures of one's own."""

import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import fourfold
from fourfold.imaging import imresize
from fourfold.upscaling.alpha import enlarged_alpha
from tests.conftest import make_photo

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WITH_OPTIONS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "kernels")

#: Runs a benchmark's main() with arguments.
Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line of a benchmark, in this process."""

    def main(name: str, *arguments: str | Path) -> None:
        module = importlib.import_module(f"benchmarks.{name}")
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        module.main()

    return main


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, as many as a batch has."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(16):
        Image.fromarray(make_photo(104, 120, seed)).save(folder / f"{seed}.png")
    return folder


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_a_benchmark_tells_how_it_is_used(run: Run, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(name, "--help")
    assert stopped.value.code == 0
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize(("model", "said"), [("espcn", "espcn is no SRResNet"), ("nobody", "no model 'nobody'")])
def test_speed_is_measured_of_srresnet_alone(run: Run, model: str, said: str) -> None:
    with pytest.raises(SystemExit, match=f"error: {said}"):
        run("upscaling", "--model", model)


def test_the_errors_of_alpha_are_those_of_the_network_that_is_shipped() -> None:
    alpha = importlib.import_module("benchmarks.alpha")
    page = (BENCHMARKS.parent / "docs" / "pictures.md").read_text(encoding="utf-8")
    [said] = re.findall(r"^\| ellipse \| ([\d.]+) / ([\d.]+) \|", page, re.MULTILINE)
    large = alpha.drawn(alpha.SHAPES["ellipse"], 72, 96)
    true, small = (alpha.reduced(large, factor) for factor in (alpha.FINER // alpha.SCALE, alpha.FINER))
    network = enlarged_alpha(small, fourfold.load(precision="fp32"))
    measured = [alpha.error(large, true) for large in (imresize(small, alpha.SCALE), network)]
    assert measured == pytest.approx([float(number) for number in said], abs=0.02)


def test_errors_on_flat_ground(run: Run, photos: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("flat", photos, tiny_weights, tiny_weights)
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.split() == ["error", "in", "255ths", "flat", "flat", "beside", "edges"]
    assert len(rows) == 2 and rows[0] == rows[1]
    name, *errors = rows[0].split()
    assert name == tiny_weights.name
    assert all(float(error) > 0 for error in errors)


@pytest.mark.parametrize("format", ["jpg", "webp", "avif"])
def test_pictures_that_were_stored_with_losses(
    run: Run, photos: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    run("compressed", photos, tiny_weights, "bicubic", "--format", format, "--qualities", "90", "10", "--part", "96")
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.split() == [format, "PSNR", "SSIM"]
    cells = [row.split() for row in rows]
    assert [row[:2] for row in cells] == [[q, m] for q in ("none", "90", "10") for m in (tiny_weights.name, "bicubic")]
    clean, fine, coarse = (float(row[2]) for row in cells if row[1] == "bicubic")
    assert clean > fine > coarse


def test_traces_of_jpeg(run: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("jpeg_traces", photos, "--qualities", "90", "60", "--factors", "1", "--sides", "40")
    title, whole, parts = capsys.readouterr().out.splitlines()
    assert title.split()[2:] == ["never", "90", "60"]
    assert whole.split() == ["1/1", "0.0%", "100.0%", "100.0%"]
    assert parts.split()[:3] == ["40", "px", "0.0%"]


def test_the_fidelity_dial(run: Run, photos: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("fidelity", photos, "--model", tiny_weights, "--faithful", tiny_weights, "--steps", "2")
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.split()[:2] == ["fidelity", "PSNR"]
    assert [row.split()[0] for row in rows] == ["0.00", "1.00"]
    assert rows[0].split()[1:] == rows[1].split()[1:], "both ends are the same network"


def test_optimisers_side_by_side(run: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("optimisers", "--data", photos, "--valid", photos, "--updates", "2", "--rates", "adam=1e-4,soap=1e-3")
    rows = [line for line in capsys.readouterr().out.splitlines() if "updates/s (at" in line]
    assert [row.split(" | ")[0] for row in rows] == ["adam 0.0001", "soap 0.001"]
    assert all(re.search(r"\| \d+\.\d\d \| \d+\.\d\d \| .*\(at 1, 2\)", row) for row in rows)


@pytest.mark.parametrize(
    ("rates", "words"),
    [("adam", "adam"), ("adam=fast", "adam=fast"), ("sgd=1e-3", "sgd"), ("adam=1e-4,=", "="), ("", "")],
)
def test_rates_that_are_none_are_named(
    run: Run, photos: Path, rates: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("optimisers", "--data", photos, "--valid", photos, "--rates", rates)
    assert stopped.value.code == 2
    assert f"{words!r}" in capsys.readouterr().err


@pytest.mark.slow
def test_training_beside_the_plain_loop(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.json"
    options = ["--variants", "srresnet-mse", "--updates", "1", "--device", "cpu", "--clock", "processor"]
    run("training", "--data", photos, *options, "--json", table)
    assert "srresnet-mse, batch 16: plain" in capsys.readouterr().out
    (row,) = json.loads(table.read_text(encoding="utf-8"))
    assert row["ratio"] == row["ours_updates_per_s"] / row["plain_updates_per_s"] > 0


def test_too_few_pictures_are_no_traceback(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "0.png", tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run("training", "--data", tmp_path, "--variants", "srresnet-mse", "--device", "cpu")
    assert "1 pictures are fewer than the batch of 16" in str(stopped.value.code)


@pytest.mark.parametrize(
    ("variants", "words"), [("srgan-plus", "srgan-plus cannot be compared"), ("srresnet-max", "srresnet-max")]
)
def test_a_variant_that_does_not_compare_is_refused(
    run: Run, photos: Path, variants: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("training", "--data", photos, "--variants", variants)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_how_far_a_tiles_edge_is_felt(
    run: Run, photos: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("halo", photos, tiny_weights, "--parts", "1")
    title, row = capsys.readouterr().out.splitlines()
    assert title.split()[:3] == ["16", "parts;", "halo"]
    felt = [float(value) for value in row.split()[1:]]
    assert felt[0] > 1
    assert max(felt[2:]) < 0.001  # this network sees twelve pixels far


def test_outlines(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("alpha", "--height", "32", "--width", "40")
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.split() == ["shape", "in", "LR", "bicubic", "network"]
    assert len(rows) == 10
    ellipse = rows[0].split()
    assert float(ellipse[-1]) < float(ellipse[-2])

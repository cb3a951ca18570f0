"""``doctor psnr``: for every convention, a number made that way is traced back to it."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fourfold.cli.doctor_psnr import _half_digit
from fourfold.errors import EvaluationError
from fourfold.evaluation import planes, psnr, ssim_daala, ssim_wang
from fourfold.evaluation.explain import Quantity, _shrunk, explain, kernels, readings, uniform_ssim
from fourfold.imaging import imresize
from tests.conftest import make_photo
from tests.evaluation.conftest import save

HR = make_photo(64, 72, seed=6)
SR = imresize(imresize(HR, 0.25), 4)


def test_the_papers_convention_comes_first() -> None:
    ours = readings(SR, HR)[0]
    assert ours.value == psnr(SR, HR)
    assert (ours.channel, ours.rounded, ours.border_px) == ("y", False, 4)
    assert readings(SR, HR, "ssim")[0].value == pytest.approx(ssim_daala(SR, HR))


@pytest.mark.parametrize(
    ("value", "channel", "border_px", "words"),
    [
        (psnr(SR, HR, channel="rgb", border_px=0), "rgb", 0, "RGB, one error"),
        (psnr(SR, HR, channel="y-full", border_px=0), "y-full", 0, "full range"),
        (psnr(SR, HR, border_px=8), "y", 8, "8 px"),
        (psnr(SR, HR, rounded=True), "y", 4, "rounded to 8 bits"),
        (psnr(SR[..., ::-1], HR[..., ::-1]), "y-bgr", 4, "exchanged"),
    ],
)
def test_psnr_is_traced_back(value: float, channel: str, border_px: int, words: str) -> None:
    found = explain(SR, HR, value, tolerance=1e-7)
    assert (found.matches[0].channel, found.matches[0].border_px) == (channel, border_px)
    assert words in found.matches[0].words


def test_ssim_is_traced_back() -> None:
    assert "Wang" in explain(SR, HR, ssim_wang(SR, HR), tolerance=1e-9).matches[0].words
    assert "daala" in explain(SR, HR, ssim_daala(SR, HR, border_px=0), tolerance=1e-9).matches[0].words


def test_the_plain_window_is_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    first, second = (planes(p) for p in (SR, HR))
    theirs = metrics.structural_similarity(first[..., 0], second[..., 0], data_range=255)
    # scikit-image leaves out 3 pixels at every edge, where its window is not wholly inside
    assert uniform_ssim(first, second) == pytest.approx(theirs, abs=1e-10)


def test_a_number_of_another_downscaling_is_recognised() -> None:
    lr = HR.reshape(16, 4, 18, 4, 3).astype(float).mean(axis=(1, 3))
    other = imresize(np.floor(lr + 0.5).astype(np.uint8), 4)
    found = explain(SR, HR, psnr(other, HR), tolerance=1e-7)
    assert "mean of 4x4" in found.matches[0].words


def test_an_ssim_of_another_downscaling_is_recognised() -> None:
    other = imresize(imresize(HR, 0.25, kernel="gaussian"), 4)
    found = explain(SR, HR, ssim_wang(other, HR), quantity="ssim", tolerance=1e-9)
    assert "Gaussian blur" in found.matches[0].words


def test_every_kernel_gives_another_number() -> None:
    values = {
        r.sr: r.value
        for r in kernels(HR)
        if r.channel == "y" and r.border_px == 4 and not r.rounded and r.kind == "PSNR" and "on bicubic" in r.sr
    }
    assert len(values) == 7 and len({round(v, 6) for v in values.values()}) == 7


def test_the_cubic_without_antialiasing_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(HR.transpose(2, 0, 1)[None].astype(np.float32))
    theirs = torch.nn.functional.interpolate(x, scale_factor=0.25, mode="bicubic", align_corners=False)[0]
    theirs = theirs.permute(1, 2, 0).numpy().clip(0, 255)
    assert np.abs(_shrunk(HR, "plain") - theirs).max() <= 0.5001


def test_what_nothing_explains() -> None:
    found = explain(SR, HR, 99.0)
    assert not found.matches and found.nearest.value < 99


@pytest.mark.parametrize(
    ("side_px", "quantity", "kind", "border_px"),
    [
        (1, "psnr", "PSNR", 0),
        (3, "psnr", "PSNR", 0),
        (8, "psnr", "PSNR", 0),
        (9, "psnr", "PSNR", 4),
        (1, "ssim", "SSIM after daala", 0),
        (8, "ssim", "SSIM after daala", 0),
        (9, "ssim", "SSIM after daala", 4),
        (10, "ssim", "SSIM after daala", 4),
        (11, "ssim", "SSIM after daala", 4),
    ],
)
def test_small_pictures(side_px: int, quantity: Quantity, kind: str, border_px: int) -> None:
    sr, hr = SR[:side_px, :side_px], HR[:side_px, :side_px]
    found = explain(sr, hr, 99.0, quantity=quantity)  # nothing gives it, so the kernels are tried, too
    assert (found.ours.kind, found.ours.channel, found.ours.border_px) == (kind, "y", border_px)
    assert found.is_papers is (border_px == 4)


@pytest.mark.parametrize(
    ("side_px", "kind", "borders_px"),
    [
        (10, "Wang", []),
        (11, "Wang", [0]),
        (18, "Wang", [0, 1, 2, 3]),
        (19, "Wang", [0, 1, 2, 3, 4]),
        (6, "7x7", []),
        (7, "7x7", [0]),
        (14, "7x7", [0, 1, 2, 3]),
        (15, "7x7", [0, 1, 2, 3, 4]),
        (3, "daala", [0, 1]),
    ],
)
def test_a_window_is_used_wherever_it_fits(side_px: int, kind: str, borders_px: list[int]) -> None:
    found = readings(SR[:side_px], HR[:side_px], "ssim")
    assert sorted(r.border_px for r in found if kind in r.kind and r.channel == "y" and r.rounded) == borders_px
    assert all(np.isfinite(r.value) for r in found)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
@pytest.mark.parametrize("quantity", ["psnr", "ssim"])
def test_nothing_to_measure(shape: tuple[int, ...], quantity: Quantity) -> None:
    empty = np.zeros(shape, np.uint8)
    with pytest.raises(EvaluationError, match="too small to measure"):
        explain(empty, empty, 28.0, quantity=quantity)


@pytest.mark.parametrize(("side_px", "some"), [(3, False), (4, True), (7, True)])
def test_kernels_need_four_pixels(side_px: int, some: bool) -> None:
    assert bool(kernels(HR[:side_px])) is some
    assert bool(kernels(HR[:, :side_px], "ssim")) is some


def test_bad_input() -> None:
    with pytest.raises(EvaluationError, match="must be equal"):
        explain(SR, HR[:-4], 28.0)
    with pytest.raises(EvaluationError, match="nan"):
        explain(SR, HR, float("nan"))


def _doctor(*arguments: str) -> tuple[int, str]:
    import typer

    from fourfold.cli.doctor_psnr import psnr as command

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command(tmp_path: Path) -> None:
    sr, hr = str(save(tmp_path / "sr.png", SR)), str(save(tmp_path / "hr.png", HR))
    code, output = _doctor(sr, hr, "--expected", f"{psnr(SR, HR, channel='rgb', border_px=0):.4f}")
    assert code == 0 and "RGB, one error over the three channels, 0 px" in output
    assert f"the paper's convention gives {psnr(SR, HR):.3f}" in output
    code, output = _doctor(sr, hr, "--expected", "99.123")
    assert code == 0 and "nothing tried gives 99.123" in output
    code, output = _doctor(sr, hr, "--expected", f"{ssim_wang(SR, HR):.5f}")
    assert code == 0 and "Wang" in output


@pytest.mark.parametrize(("side_px", "told"), [(8, "the most similar one gives"), (9, "the paper's convention gives")])
def test_the_command_says_when_pictures_are_too_small_for_the_paper(side_px: int, told: str, tmp_path: Path) -> None:
    sr = str(save(tmp_path / "sr.png", SR[:side_px, :side_px]))
    hr = str(save(tmp_path / "hr.png", HR[:side_px, :side_px]))
    code, output = _doctor(sr, hr, "--expected", "28")
    assert code == 0 and told in output
    assert ("too small for the paper's convention, 4 px cut" in output) is (side_px == 8)
    assert ("the paper's convention gives" in output) is (side_px == 9)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 0, "is explained by"),
        (("--tolerance", "0"), 0, "nothing tried gives"),
        (("--tolerance", "0.5"), 0, "is explained by"),
        (("--tolerance", "-1"), 2, "--tolerance"),
    ],
)
def test_the_tolerance(options: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    sr, hr = str(save(tmp_path / "sr.png", SR)), str(save(tmp_path / "hr.png", HR))
    found, output = _doctor(sr, hr, "--expected", f"{psnr(SR, HR):.2f}", *options)
    assert found == code and told in output


def test_a_few_pixels_are_cropped_and_many_refused(tmp_path: Path) -> None:
    sr, hr = str(save(tmp_path / "sr.png", SR[:-2])), str(save(tmp_path / "hr.png", HR))
    code, output = _doctor(sr, hr, "--expected", "25")
    assert code == 0 and "cropped to 72x62" in output
    code, output = _doctor(str(save(tmp_path / "lr.png", imresize(HR, 0.25))), hr, "--expected", "25")
    assert code != 0 and "must be equal" in output
    code, output = _doctor(sr, hr, "--expected", "many")
    assert code != 0 and "not a number" in output


@pytest.mark.parametrize(
    ("text", "half"),
    [("28.43", 0.005), ("28", 0.5), ("2.843e1", 0.005), ("2.18e1", 0.05), ("3e1", 5.0), ("1E+9", 500.0),
     ("0e999", 500.0), ("0.8113", 5e-5), (".81", 0.005), ("0.811327", 2e-5), ("inf", 0.5), ("nan", 0.5)],
)  # fmt: skip
def test_half_of_the_last_digit(text: str, half: float) -> None:
    assert _half_digit(text) == pytest.approx(half)

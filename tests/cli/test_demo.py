"""``fourfold demo``: the sheet, its numbers, and what cannot be shown."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fourfold.cli import app
from fourfold.errors import FourfoldError
from fourfold.evaluation import psnr, samples
from fourfold.imaging import Picture, imresize, read_rgb, write_picture
from fourfold.weights import default_name
from tests.conftest import make_photo


@pytest.fixture
def run(tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["demo", "-n", str(tiny_weights), "--precision", "fp32", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def own(tmp_path):
    return write_picture(Picture(make_photo(150, 210)), tmp_path / "mine é.png")


def test_a_sample_photograph_ends_on_a_sheet(run, tmp_path):
    pytest.importorskip("skimage")
    result = run("--sample", "chelsea")
    assert "Chelsea, by Stefan van der Walt" in result.output
    assert str(Path("demo") / "sheet.png") in result.output
    sheet = read_rgb(tmp_path / "demo" / "sheet.png")
    # four columns of 448 pixels, the photograph and its detail in each
    assert sheet.shape[1] == 2 * 64 + 4 * 448 + 3 * 28
    assert sheet.shape[0] > 300 + 448
    run("--sample", "chelsea")  # its own file may be replaced


def test_the_numbers_are_those_of_the_pictures(run, own):
    report = json.loads(run("--picture", own, "-o", "sheet.png", "--json").stdout)
    hr = read_rgb(own)[1:149, 1:209]  # a multiple of four about the middle
    bicubic = imresize(imresize(hr, 0.25), 4)
    assert report["methods"]["bicubic"]["psnr_y_db"] == pytest.approx(psnr(bicubic, hr), abs=1e-4)
    assert list(report["methods"]) == ["nearest", "bicubic", "tiny", "original"]
    assert report["methods"]["original"]["psnr_y_db"] is None
    assert (report["size"], report["lr_size"]) == ([208, 148], [52, 37])
    assert report["sheet"] == "sheet.png" and report["engine"] == "openvino"


def test_several_networks_stand_side_by_side(run, own, tmp_path, tiny_weights):
    other = tmp_path / "other.safetensors"
    other.write_bytes(tiny_weights.read_bytes())
    report = json.loads(run("-n", other, "--picture", own, "-o", "sheet.png", "--json").stdout)
    assert list(report["methods"]) == ["nearest", "bicubic", "tiny", "tiny #2", "original"]
    result = CliRunner().invoke(app, ["demo", "--picture", str(own), "-o", "both.png", "--json"])
    report = json.loads(result.stdout)
    assert report["models"][0] == "srresnet-plus"
    assert report["models"][-1] == default_name()
    assert list(report["methods"]) == ["nearest", "bicubic", *report["models"], "original"]


def test_the_panels_show_the_restored_pictures(run, own, tmp_path):
    report = json.loads(run("--picture", own, "-o", "sheet.png", "--detail", "10,20,48", "--json").stdout)
    assert report["detail"] == [10, 20, 48]
    sheet = read_rgb(tmp_path / "sheet.png")
    photograph = read_rgb(own)
    hr = photograph[1:149, 1:209]
    last = 64 + 3 * (384 + 28)
    top = next(y for y in range(len(sheet)) if np.array_equal(sheet[y, last : last + 208], hr[0]))
    # the original below the frame of the detail, and the detail eight times as large
    assert np.array_equal(sheet[top + 80 : top + 148, last : last + 208], hr[80:])
    detail = sheet[top + 148 + 28 :, last:][8:376, 8:376]
    assert np.array_equal(detail, photograph[20:68, 10:58].repeat(8, axis=0).repeat(8, axis=1)[8:376, 8:376])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "lena"], "no sample 'lena'; there are astronaut, chelsea"),
        (["--sample", "chelsea", "--picture", "x.png"], "give one of them"),
        (["--picture", "nowhere.png"], "nowhere.png"),
        (["--picture", "OWN", "--detail", "a,b"], "is not X,Y or X,Y,SIDE"),
        (["--picture", "OWN", "--detail", "1,2,3,4"], "is not X,Y or X,Y,SIDE"),
        (["--picture", "OWN", "--detail", "200,10,48"], "does not lie in .* 208x148 pixels from 1,1 on"),
        (["--picture", "OWN", "--detail", "0,10,48"], "does not lie in .* 208x148 pixels from 1,1 on"),
        (["--picture", "OWN", "--detail", "10,-5,48"], "does not lie in"),
        (["--picture", "OWN", "--detail", "10,10,4"], "4 pixels is too small; give at least 8"),
        (["--picture", "SMALL"], "too small to shrink and compare"),
        (["--picture", "OWN", "-o", "OWN"], "exists"),
        (
            ["--picture", "OWN", "-o", "missing/sheet.png"],
            "missing/sheet.png: cannot be written: there is no such folder",
        ),
        (["--picture", "OWN", "-o", "sheet.bmp"], "no picture format ends in '.bmp'"),
    ],
)
def test_what_cannot_be_shown(run, own, tmp_path, arguments, message):
    small = write_picture(Picture(make_photo(30, 200)), tmp_path / "small.png")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FourfoldError, match=message):
        run(*({"OWN": own, "SMALL": small}.get(a, a) for a in arguments))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("mistake", [("-o", "sheet.bmp"), ("-o", "missing/sheet.png"), ("--detail", "a,b")])
def test_a_mistake_in_the_command_is_told_before_the_work(run, own, monkeypatch, mistake):
    monkeypatch.setattr("fourfold.evaluation.comparison.compare", lambda *_: pytest.fail("the networks ran"))
    with pytest.raises(FourfoldError):
        run("--picture", own, *mistake)


def test_the_sheets_folder_cannot_be_made(run, own, tmp_path):
    (tmp_path / "demo").write_text("a file is in the way")
    with pytest.raises(FourfoldError, match="name a file with -o"):
        run("--picture", own)


@pytest.mark.parametrize("x", [188, 400, 1148])
def test_the_detail_is_counted_in_the_photograph_where_it_is_cut(run, tmp_path, x):
    photograph = make_photo(80, 1400)
    big = write_picture(Picture(photograph), tmp_path / "big.png")
    report = json.loads(run("--picture", big, "--detail", f"{x},10,64", "--json").stdout)
    assert report["detail"] == [x, 10, 64]
    sheet = read_rgb(tmp_path / "demo" / "sheet.png")
    # the original's detail stands at the lower right, eight times as large, above footnote and margin
    left, top = 64 + 3 * (512 + 28), len(sheet) - 64 - 62 - 512
    expected = photograph[10:74, x : x + 64].repeat(8, axis=0).repeat(8, axis=1)
    assert np.array_equal(sheet[top + 8 : top + 504, left + 8 : left + 504], expected[8:504, 8:504])


def test_a_detail_outside_of_what_is_cut_is_refused(run, tmp_path):
    big = write_picture(Picture(make_photo(80, 1400)), tmp_path / "big.png")
    for x in (187, 1165):
        with pytest.raises(FourfoldError, match="1024x80 pixels from 188,0 on"):
            run("--picture", big, "--detail", f"{x},10,48")


def test_large_pictures_are_cut_to_a_screenful(run, tmp_path):
    big = write_picture(Picture(make_photo(80, 1400)), tmp_path / "big.png")
    assert json.loads(run("--picture", big, "--json").stdout)["size"] == [1024, 80]


def test_without_a_sample_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(samples, "_locate", lambda sample: None)
    with pytest.raises(FourfoldError, match=r"pip install 'fourfold\[demo\]'"):
        samples.find_sample()


def test_neither_torch_nor_the_samples_package_is_imported(tiny_weights, own, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['skimage'] = sys.modules['scipy'] = None\n"
        "from fourfold.cli import app\n"
        f"app(['demo', '-n', {str(tiny_weights)!r}, '-o', {str(tmp_path / 'sheet.png')!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "sheet.png").is_file()

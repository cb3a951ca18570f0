"""Targets to train on, of a model's self-ensemble."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fourfold
from fourfold.errors import UsageError
from fourfold.imaging import Picture, encode_picture, imresize, read_rgb
from scripts.targets import Shrinking, make_targets
from tests.conftest import make_photo

Run = subprocess.CompletedProcess[str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("one.png", "one.webp", "below/two.png")):
        data = encode_picture(Picture(make_photo(49, 66, number)), "webp" if name.endswith("webp") else "png")
        (folder / name).write_bytes(data)
    return folder


def run(*arguments: object) -> Run:
    command = [sys.executable, "-m", "scripts.targets", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])


def test_targets_lie_between_the_original_and_the_ensembles(photos: Path, tiny_weights: Path, tmp_path: Path) -> None:
    upscaler = fourfold.load(tiny_weights, precision="fp32", ensemble=True)
    assert make_targets(photos, upscaler, 0.75, tmp_path / "out") == 0
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert names == {f"{side}/{name}.png" for side in ("hr", "lr") for name in ("one.png", "one.webp", "below/two.png")}
    hr = read_rgb(photos / "one.png")[:48, :64]
    lr = read_rgb(tmp_path / "out/lr/one.png.png")
    np.testing.assert_array_equal(lr, imresize(hr, 0.25))
    mixed = read_rgb(tmp_path / "out/hr/one.png.png").astype(float)
    np.testing.assert_allclose(mixed, 0.25 * hr + 0.75 * 255 * upscaler(lr.astype(np.float32) / 255), atol=0.51)


def test_shrunk_pictures_make_more_targets(photos: Path, tiny_weights: Path, tmp_path: Path) -> None:
    upscaler = fourfold.load(tiny_weights, precision="fp32", ensemble=True)
    (photos / "large.png").write_bytes(encode_picture(Picture(make_photo(300, 250)), "png"))
    out = tmp_path / "out"
    make_targets(photos, upscaler, 0.5, out)
    for seed in (1, 2, 2):
        assert make_targets(photos, upscaler, 0.5, out, Shrinking(0.6, 0.9, seed)) == 0
    names = [f"large.png{ending}" for ending in (".png", ".shrunk-1.png", ".shrunk-2.png")]
    assert sorted(path.name for path in (out / "hr").glob("large*")) == names
    whole, *shrunk = (read_rgb(out / "hr" / name) for name in names)
    assert whole.shape == (300, 248, 3)
    for name, pixels in zip(names[1:], shrunk, strict=True):
        assert 176 <= pixels.shape[0] <= 270 and 144 <= pixels.shape[1] <= 225
        assert read_rgb(out / "lr" / name).shape == (pixels.shape[0] // 4, pixels.shape[1] // 4, 3)
    assert shrunk[0].shape != shrunk[1].shape or not np.array_equal(*shrunk)
    assert read_rgb(out / "hr/one.png.shrunk-1.png").shape[0] in (44, 48)  # 49 px, smaller than a crop: not shrunk


def test_no_targets_are_made_of_targets(photos: Path, tiny_weights: Path) -> None:
    upscaler = fourfold.load(tiny_weights, precision="fp32", ensemble=True)
    with pytest.raises(UsageError, match="a folder beside it"):
        make_targets(photos, upscaler, 0.5, photos / "targets")


def test_targets_made_otherwise_are_not_mixed(photos: Path, tiny_weights: Path, tmp_path: Path) -> None:
    upscaler = fourfold.load(tiny_weights, precision="fp32", ensemble=True)
    other = fourfold.load("espcn", precision="fp32", ensemble=True)
    out = tmp_path / "out"
    make_targets(photos, upscaler, 0.5, out, Shrinking(0.6, 0.9, 1))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for model, share, least, words in (
        (other, 0.5, 0.6, "made with model"),
        (upscaler, 0.75, 0.6, "made with share 0.5, not 0.75"),
        (upscaler, 0.5, 0.5, "made with shrink"),
    ):
        with pytest.raises(UsageError, match=words):
            make_targets(photos, model, share, out, Shrinking(least, 0.9, 1))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    make_targets(photos, upscaler, 0.75, out, Shrinking(0.5, 0.9, 2))  # which has names of its own


def test_pictures_of_another_folder_are_not_taken_for_those_that_are_there(
    photos: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    upscaler = fourfold.load(tiny_weights, precision="fp32", ensemble=True)
    make_targets(photos, upscaler, 0.5, tmp_path / "out")
    shutil.copytree(photos, tmp_path / "others")
    with pytest.raises(UsageError, match=r"made with folder .*, not .*others; name another folder"):
        make_targets(tmp_path / "others", upscaler, 0.5, tmp_path / "out")


def test_what_is_there_is_left(photos: Path, tiny_weights: Path, tmp_path: Path) -> None:
    upscaler = fourfold.load(tiny_weights, precision="fp32", ensemble=True)
    make_targets(photos, upscaler, 0.5, tmp_path / "out")
    kept, missing = tmp_path / "out/hr/one.png.png", tmp_path / "out/hr/one.webp.png"
    kept.write_bytes(b"of a run before")
    missing.unlink()
    make_targets(photos, upscaler, 0.5, tmp_path / "out")
    assert kept.read_bytes() == b"of a run before"
    assert missing.exists()


def test_a_damaged_picture_does_not_stop_the_others(photos: Path, tiny_weights: Path, tmp_path: Path) -> None:
    (photos / "below/damaged.png").write_bytes(b"\x89PNG\r\n")
    done = run(photos, tiny_weights, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "damaged.png" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out/hr").rglob("*.png")) == [
        "one.png.png",
        "one.webp.png",
        "two.png.png",
    ]


def test_16_bits_become_8_and_a_tiny_picture_is_passed_over(tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    dark = make_photo(24, 20).astype(np.uint16) // 4 * 257
    Picture(dark).save(tmp_path / "in/dark.png")
    Picture(make_photo(3, 40)).save(tmp_path / "in/tiny.png")
    done = run(tmp_path / "in", tiny_weights, "-o", tmp_path / "out", "--share", "0")
    assert done.returncode == 1
    assert "tiny.png: 40x3 is smaller than one LR pixel" in done.stderr
    assert np.array_equal(read_rgb(tmp_path / "out/hr/dark.png.png"), dark // 257)
    assert read_rgb(tmp_path / "out/lr/dark.png.png").dtype == np.uint8


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("no-such-model", [], "no-such-model"),
        ("srresnet-mse", ["--share", "1.5"], "--share 1.5"),
        ("srresnet-mse", ["--share", "nan"], "--share nan"),
        ("srresnet-mse", ["--shrink", "0", "1"], "--shrink 0 1"),
        ("srresnet-mse", ["--shrink", "0.9", "0.5"], "the least one first"),
        ("srresnet-mse", ["--shrink", "0.5", "1.5"], "two factors in 0..1"),
        ("srresnet-mse", ["--shrink", "nan", "1"], "--shrink nan 1"),
    ],
)
def test_what_is_refused(model: str, more: list[str], said: str, photos: Path, tmp_path: Path) -> None:
    done = run(photos, model, "-o", tmp_path / "out", *more)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be_written(photos: Path, tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    done = run(photos, tiny_weights, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert (tmp_path / "out").read_bytes() == b"a file"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path / "missing", "srresnet-mse", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "no such folder" in done.stderr

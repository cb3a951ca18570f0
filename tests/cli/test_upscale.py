"""``fourfold upscale``: what people do with it, and what goes wrong."""

import errno
import hashlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fourfold.cli.stopping import stopping_cleanly
from fourfold.errors import PictureError
from fourfold.imaging import Picture, encode_picture, imresize, read_picture
from fourfold.upscaling import load
from fourfold.upscaling.alpha import enlarged_alpha
from fourfold.upscaling.pictures import upscale, upscale_picture
from tests.cli.running import Cli, command
from tests.conftest import make_photo
from tests.imaging.samples import XMP, alpha_for, animation, encoded, exif_with, matrix_profile, png_header
from tests.upscaling.receipts import embedded_receipt


@pytest.fixture(autouse=True)
def load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiles each network once for all tests of this file."""
    monkeypatch.setattr("fourfold.upscaling.load", _cached_load)
    monkeypatch.setattr("fourfold.upscaling.pictures.load", _cached_load)


_cached_load = lru_cache(load)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_beside_itself(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    done = cli("upscale", cat, "-n", tiny_weights)
    assert done.code == 0, done.err
    assert names(cat.parent) == ["cat.png", "cat_x4.png"]
    expected = _cached_load(tiny_weights)(make_photo(20, 30))
    assert np.array_equal(read_picture(cat.parent / "cat_x4.png").pixels, expected)
    assert "80" in done.out and "cat_x4.png" in done.out and "120x80" in done.out
    assert done.err == ""


def test_into_a_file_and_into_a_folder(cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    assert cli("upscale", cat, "-n", tiny_weights, "-o", tmp_path / "big cät.jpg").code == 0
    assert read_picture(tmp_path / "big cät.jpg").metadata.format == "jpg"
    assert cli("upscale", cat, "-n", tiny_weights, "-o", tmp_path / "new" / "folder", "--ext", "webp").code == 0
    assert names(tmp_path / "new") == ["folder/cat_x4.webp"]
    assert cli("upscale", cat, "-n", tiny_weights, "-o", f"{tmp_path}/v1.0/", "--suffix", "").code == 0
    assert names(tmp_path / "v1.0") == ["cat.png"]


def test_folders_are_mirrored(cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    folder = cat.parent
    for name in ("a/b/dog.jpg", "a/cat.png", "a/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"") if name.endswith("txt") else Picture(make_photo(9, 8)).save(folder / name)
    assert cli("upscale", folder, "-n", tiny_weights, "-o", tmp_path / "flat").code == 0
    assert names(tmp_path / "flat") == ["cat_x4.png"]
    assert cli("upscale", folder, "-n", tiny_weights, "-o", tmp_path / "deep", "--recursive").code == 0
    assert names(tmp_path / "deep") == ["a/b/dog_x4.jpg", "a/cat_x4.png", "cat_x4.png"]


def test_an_output_folder_in_the_input_folder_can_be_taken_up_again(
    cli: Cli, cat: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cat.parent)
    arguments = ("upscale", ".", "-n", tiny_weights, "-o", "large", "-r", "--skip-existing", "--json")
    assert [o["status"] for o in cli(*arguments).objects] == ["done"]
    again = cli(*arguments)
    assert again.code == 0 and [(o["input"], o["status"]) for o in again.objects] == [("cat.png", "skipped")]
    assert names(cat.parent) == ["cat.png", "large/cat_x4.png"]


def test_a_missing_input_is_what_is_said(cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    done = cli("upscale", tmp_path / "none.png", "-n", tiny_weights, "-o", tmp_path / "out.png")
    assert done.code == 1 and done.err == f"error: {tmp_path / 'none.png'}: no such file or folder\n"


def test_a_gif_beside_a_png_of_its_name(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    Image.fromarray(make_photo(8, 8)).save(cat.with_suffix(".gif"))
    done = cli("upscale", cat.parent, "-n", tiny_weights)
    assert done.code == 0, done.err
    assert names(cat.parent) == ["cat.gif", "cat.gif_x4.png", "cat.png", "cat_x4.png"]
    assert "named cat.gif_x4.png" in done.err
    assert cli("upscale", cat.parent, "-n", tiny_weights, "--skip-existing", "--json").code == 0
    assert len(names(cat.parent)) == 4


def test_an_output_that_may_be_of_another_picture_is_not_taken_for_ones_own(
    cli: Cli, cat: Path, tiny_weights: Path
) -> None:
    png = cat.read_bytes()
    cat.unlink()
    Image.fromarray(make_photo(8, 8)).save(cat.with_suffix(".gif"))
    assert cli("upscale", cat.parent, "-n", tiny_weights).code == 0
    of_the_gif = (cat.parent / "cat_x4.png").read_bytes()
    cat.write_bytes(png)
    for _ in range(2):  # nothing is done that would hide it the second time
        done = cli("upscale", cat.parent, "-n", tiny_weights, "--skip-existing")
        assert done.code == 1 and "cat.gif or " in done.err and "move it away" in done.err
        assert names(cat.parent) == ["cat.gif", "cat.png", "cat_x4.png"]
        assert (cat.parent / "cat_x4.png").read_bytes() == of_the_gif
    (cat.parent / "cat_x4.png").unlink()
    assert cli("upscale", cat.parent, "-n", tiny_weights, "--skip-existing").code == 0
    assert names(cat.parent) == ["cat.gif", "cat.gif_x4.png", "cat.png", "cat_x4.png"]


def test_a_locked_folder_does_not_stop_the_tree(
    cli: Cli, cat: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cat.parent / "locked").mkdir()
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = cli("upscale", cat.parent, "-n", tiny_weights, "-r", "--json")
    assert done.code == 1
    assert [(Path(o["input"]).name, o["status"]) for o in done.objects] == [("locked", "failed"), ("cat.png", "done")]


@pytest.mark.parametrize("where", ["*", ""])
def test_a_link_that_leads_nowhere_is_told_and_costs_no_other_picture(
    where: str, cli: Cli, cat: Path, tiny_weights: Path
) -> None:
    (cat.parent / "annexed.jpg").symlink_to("../no/such/file")
    (cat.parent / "endless.png").symlink_to("a" * 300)
    (cat.parent / "circle").symlink_to("circle")
    done = cli("upscale", f"{cat.parent}/{where}", "-r", "-n", tiny_weights)
    assert done.code == 1
    assert "annexed.jpg: cannot be read (No such file or directory)" in done.err
    assert "endless.png: cannot be read (File name too long)" in done.err
    assert (cat.parent / "cat_x4.png").is_file()


def test_globs(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    Picture(make_photo(8, 8)).save(cat.parent / "dog.png")
    Picture(make_photo(8, 8)).save(cat.parent / "dog[1].png")
    (cat.parent / "dog.txt").write_text("no picture")
    done = cli("upscale", cat.parent / "d*", "-n", tiny_weights, "--json")
    assert sorted(Path(o["output"]).name for o in done.objects) == ["dog[1]_x4.png", "dog_x4.png"]
    done = cli("upscale", cat.parent / "dog[1].png", "-n", tiny_weights, "--json", "--overwrite")
    assert [Path(o["input"]).name for o in done.objects] == ["dog[1].png"]  # a file of that name is that file
    done = cli("upscale", cat.parent / "z*", "-n", tiny_weights)
    assert done.code == 1 and "no picture matches" in done.err


def test_json(cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    done = cli("upscale", cat, tmp_path / "none.png", "-n", tiny_weights, "--json")
    assert done.code == 1
    failed, made = done.objects
    assert failed == {
        "input": str(tmp_path / "none.png"),
        "output": None,
        "status": "failed",
        "error": f"{tmp_path / 'none.png'}: no such file or folder",
    }
    assert made.pop("seconds") > 0
    assert made.pop("precision") in ("bf16", "fp32")  # what the processor has
    assert made == {
        "input": str(cat),
        "output": str(cat.with_name("cat_x4.png")),
        "status": "done",
        "width": 120,
        "height": 80,
        "frames": 1,
        "model": "tiny",
        "notes": [],
        "receipt": None,
    }


def test_without_a_model_a_jpeg_has_its_own_and_it_is_said(cli: Cli, cat: Path) -> None:
    stored = encode_picture(Picture(make_photo(20, 30)), "jpg", quality=80)
    cat.with_name("dog.jpg").write_bytes(stored)
    done = cli("upscale", cat.parent, "--json")
    assert done.code == 0, done.err
    assert [(Path(o["input"]).name, o["model"]) for o in done.objects] == [
        ("cat.png", "srgan-plus"),
        ("dog.jpg", "srgan-jpeg"),
    ]
    assert "srgan-jpeg" in cli("upscale", cat.with_name("dog.jpg"), "--overwrite").out
    once = read_picture(encode_picture(Picture(make_photo(64, 96)), "jpg", quality=80))
    Picture(once.pixels).save(cat.with_name("hen.png"))
    done = cli("upscale", cat.with_name("hen.png"))
    assert "srgan-jpeg" in done.out and "its pixels have the traces of JPEG" in done.out + done.err
    assert "srgan-plus" in cli("upscale", cat.with_name("dog.jpg"), "-n", "srgan-plus", "--overwrite").out


def test_without_a_model_a_wrong_option_is_told_before_the_first_picture(cli: Cli, cat: Path) -> None:
    for arguments in (["--engine", "none"], ["--faithful", "srresnet-plus"]):
        done = cli("upscale", cat, *arguments)
        assert done.code == 2
        assert names(cat.parent) == ["cat.png"]


def test_one_failing_file_does_not_stop_the_rest(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    (cat.parent / "a_empty.png").write_bytes(b"")
    whole = encode_picture(Picture(make_photo(90, 90)), "png")
    (cat.parent / "b_half.png").write_bytes(whole[: len(whole) // 2])
    (cat.parent / "c_text.jpg").write_text("hello")
    Picture(make_photo(8, 8)).save(cat.parent / "z.png")
    done = cli("upscale", cat.parent, "-n", tiny_weights, "--json")
    assert done.code == 1
    status = {Path(o["input"]).name: o["status"] for o in done.objects}
    assert status == {
        "a_empty.png": "failed",
        "b_half.png": "failed",
        "c_text.jpg": "failed",
        "cat.png": "done",
        "z.png": "done",
    }
    assert done.err.count("error: ") == 3
    assert [n for n in names(cat.parent) if "_x4" in n or n.startswith(".")] == ["cat_x4.png", "z_x4.png"]


def bad_png(data: bytes) -> Any:
    return lambda folder: (folder / "bad.png").write_bytes(data)


BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "truncated": (encoded(Image.fromarray(make_photo(64, 64)), "PNG")[:1000], "damaged"),
    "not a picture": (b"hello" * 100, "not a picture"),
    "huge header": (png_header(100_000, 100_000), "--max-pixels 10000000000"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case: str, cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    data, message = BAD_FILES[case]
    path = tmp_path / "schlecht und böse.png"
    path.write_bytes(data)
    done = cli("upscale", path, "-n", tiny_weights)
    assert done.code == 1
    assert done.err.startswith(f"error: {path}: ") and message in done.err
    assert done.err.count("\n") == 1
    assert names(tmp_path) == [path.name]


ODD_FILES = {
    "1x1": Image.fromarray(make_photo(1, 1)),
    "3x5": Image.fromarray(make_photo(3, 5)),
    "CMYK": Image.fromarray(make_photo(9, 9)).convert("CMYK"),
    "palette": Image.fromarray(make_photo(9, 9)).convert("P"),
    "1-bit": Image.fromarray(make_photo(9, 9)).convert("1"),
    "grey": Image.fromarray(make_photo(9, 9)).convert("L"),
    "16-bit": Image.fromarray(make_photo(9, 9)[:, :, 0].astype(np.uint16) * 257),
}


@pytest.mark.parametrize("case", ODD_FILES)
def test_odd_files(case: str, cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    picture = ODD_FILES[case]
    path = tmp_path / "odd.tif"
    picture.save(path)
    done = cli("upscale", path, "-n", tiny_weights)
    assert done.code == 0, done.err
    found = read_picture(tmp_path / "odd_x4.tif")
    assert (found.width, found.height) == (picture.width * 4, picture.height * 4)
    assert found.pixels.dtype == (np.uint16 if case == "16-bit" else np.uint8)
    assert found.pixels.shape[2] == (1 if case in ("grey", "1-bit", "16-bit") else 3)
    assert ("CMYK converted" in done.err) == (case == "CMYK")


WRONG_USE = {
    "nothing": ([], "Missing argument"),
    "unknown model": (["{cat}", "-n", "srgam"], "no model 'srgam'"),
    "weights that are none": (["{cat}", "-n", "{cat}"], "not a safetensors file"),
    "unknown engine": (["{cat}", "-n", "{tiny}", "--engine", "abacus"], "no engine 'abacus'"),
    "unknown precision": (["{cat}", "-n", "{tiny}", "--precision", "fp7"], "no precision 'fp7'"),
    "unknown format": (["{cat}", "-n", "{tiny}", "--ext", "bmp"], "unknown picture format 'bmp'"),
    "fidelity": (["{cat}", "-n", "{tiny}", "--fidelity", "2"], "Invalid value"),
    "no size": (["{cat}", "-n", "{tiny}", "--max-memory", "lots"], "'lots' is no size"),
    "two formats": (["{cat}", "-n", "{tiny}", "-o", "{tmp}/a.jpg", "--ext", "png"], "name two formats"),
    "output format": (["{cat}", "-n", "{tiny}", "-o", "{tmp}/a.bmp"], "no picture format ends in '.bmp'"),
    "contradiction": (["{cat}", "-n", "{tiny}", "--overwrite", "--skip-existing"], "contradict"),
    "empty output": (["{cat}", "-n", "{tiny}", "-o", ""], "-o is empty"),
    "suffix": (["{cat}", "-n", "{tiny}", "--suffix", "/../x"], "part of a file name"),
    "itself": (["{cat}", "-n", "{tiny}", "--suffix", "", "--overwrite"], "would replace an input"),
    "standard output": (["{cat}", "-n", "{tiny}", "-o", "-"], "not written to standard output"),
    "many into one": (["{cat}", "{tiny}", "-n", "{tiny}", "-o", "{tmp}/a.png"], "there are several inputs"),
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use(case: str, cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    arguments, message = WRONG_USE[case]
    before = cat.read_bytes()
    done = cli("upscale", *(a.format(cat=cat, tiny=tiny_weights, tmp=tmp_path) for a in arguments))
    assert done.code == (1 if case == "weights that are none" else 2), done.err
    assert message in done.err
    assert names(tmp_path) == ["in/cat.png"] and cat.read_bytes() == before


def test_corrupt_weights(cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tiny_weights.read_bytes()[:-100])
    done = cli("upscale", cat, "-n", broken)
    assert done.code == 1 and str(broken) in done.err
    assert names(cat.parent) == ["cat.png"]


def test_a_folder_without_pictures(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    done = cli("upscale", tmp_path, "-n", tiny_weights)
    assert done.code == 1 and "no picture in it" in done.err


def test_pictures_of_other_kinds_are_pointed_out(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    """A folder from a phone: nobody should find out later that half of it is missing."""
    folder = cat.parent
    below = folder / "below"
    below.mkdir()
    for name in ("IMG_1.HEIC", "IMG_2.heic", "scan.bmp", "notes.txt", ".hidden.heic", "below/IMG_3.heic"):
        (folder / name).write_bytes(b"x")
    said = {
        (folder,): "left out 1 .bmp, 2 .heic, not read here; convert them first",
        (folder, "--recursive"): "left out 1 .bmp, 3 .heic, not read here",
        (folder / "*",): "left out 1 .bmp, 2 .heic, not read here",
    }
    for inputs, note in said.items():
        done = cli("upscale", *inputs, "-n", tiny_weights, "--overwrite")
        assert done.code == 0 and note in done.err
        assert (folder / "cat_x4.png").exists()
    for inputs, problem in {
        (below,): "it holds 1 .heic, not read here",
        (below, "-r"): "it holds 1 .heic, not read here",
        (folder / "*.HEIC",): "no picture matches; what does is 1 .heic, not read here",
        (folder / "IMG_1.HEIC",): "not a picture",
    }.items():
        done = cli("upscale", *inputs, "-n", tiny_weights)
        assert done.code == 1 and problem in done.err


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (("--ext", "jpg", "--lossless"), "JPEG always loses something"),
        (("-o", "{folder}/big.png", "--suffix", "_big"), "--suffix _big is not used"),
    ],
)
def test_options_that_cannot_act_are_said(
    options: tuple[str, ...], note: str, cli: Cli, cat: Path, tiny_weights: Path
) -> None:
    done = cli("upscale", cat, "-n", tiny_weights, *(text.format(folder=cat.parent) for text in options))
    assert done.code == 0 and note in done.err


def test_collisions_are_refused_before_anything_is_done(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    Picture(make_photo(8, 8)).save(cat.with_suffix(".jpg"))
    done = cli("upscale", cat.parent, "-n", tiny_weights, "--ext", "png")
    assert done.code == 2
    assert "cat.jpg" in done.err and "cat.png" in done.err and "would both become" in done.err
    assert names(cat.parent) == ["cat.jpg", "cat.png"]
    assert cli("upscale", cat.parent, "-n", tiny_weights).code == 0
    assert names(cat.parent) == ["cat.jpg", "cat.png", "cat_x4.jpg", "cat_x4.png"]


def test_two_of_one_name_cost_no_third(cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    Picture(make_photo(8, 8)).save(cat.with_name("dog.png"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cat.png").write_bytes(cat.read_bytes())
    done = cli("upscale", cat.parent, tmp_path / "other", "-o", tmp_path / "large", "-n", tiny_weights, "--json")
    assert done.code == 1
    assert [o["status"] for o in done.objects] == ["failed", "failed", "done"]
    assert names(tmp_path / "large") == ["dog_x4.png"]


def test_existing_outputs(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    target = cat.with_name("cat_x4.png")
    target.write_bytes(b"mine")
    done = cli("upscale", cat, "-n", tiny_weights)
    assert done.code == 1 and "exists already; --overwrite" in done.err
    assert target.read_bytes() == b"mine"
    done = cli("upscale", cat, "-n", tiny_weights, "--skip-existing", "--json")
    assert done.code == 0 and done.objects == [{"input": str(cat), "output": str(target), "status": "skipped"}]
    assert target.read_bytes() == b"mine"
    assert cli("upscale", cat, "-n", tiny_weights, "--overwrite").code == 0
    assert read_picture(target).width == 120


def test_earlier_outputs_are_not_enlarged_again(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    assert cli("upscale", cat.parent, "-n", tiny_weights).code == 0
    done = cli("upscale", cat.parent, "-n", tiny_weights, "--overwrite")
    assert done.code == 0 and "left out 1 pictures" in done.err
    assert names(cat.parent) == ["cat.png", "cat_x4.png"]


def test_the_same_file_twice_is_one(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    done = cli("upscale", cat, cat.parent, cat.parent / ".." / "in" / "cat.png", "-n", tiny_weights, "--json")
    assert done.code == 0 and len(done.objects) == 1


def test_everything_that_belongs_to_a_picture(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture = Image.fromarray(make_photo(20, 30))
    picture.save(path, exif=exif_with(6), icc_profile=matrix_profile(), dpi=(300, 300), xmp=XMP, quality=95)
    assert cli("upscale", path, "-n", tiny_weights).code == 0
    found = Image.open(io.BytesIO((tmp_path / "photo_x4.jpg").read_bytes()))
    assert found.size == (80, 120)  # upright
    exif = found.getexif()
    assert exif[0x0112] == 1 and exif[0x010F] == "Maker"
    assert exif.get_ifd(0x8825)[2] == (48.0, 8.0, 14.5)
    assert exif.get_ifd(0x8769)[0xA002] == 80
    assert found.info["icc_profile"] == matrix_profile()
    assert found.info["dpi"] == (300.0, 300.0)
    assert read_picture(tmp_path / "photo_x4.jpg").metadata.xmp == XMP
    assert cli("upscale", path, "-n", tiny_weights, "--strip", "--overwrite").code == 0
    data = (tmp_path / "photo_x4.jpg").read_bytes()
    assert b"Maker" not in data and b"dc:format" not in data
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == matrix_profile()


def test_what_is_lost_is_said(cli: Cli, cat: Path, tiny_weights: Path, tmp_path: Path) -> None:
    picture = Picture(make_photo(16, 16).astype(np.uint16) * 257, alpha_for(make_photo(16, 16)).astype(np.uint16) * 257)
    picture.save(tmp_path / "deep.png")
    done = cli("upscale", tmp_path / "deep.png", "-n", tiny_weights, "--ext", "jpg", "--json")
    assert done.code == 0
    assert done.objects[0]["notes"] == [
        "JPG holds no transparency: put on white",
        "JPG holds at most 8 bits per sample: reduced from 16",
    ]
    assert "note: " in done.err
    assert cli("upscale", tmp_path / "deep.png", "-n", tiny_weights, "--ext", "webp", "-q").err == ""


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_goes_along(dtype: str, cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    """Drawn by its own network, or by the exact bicubic where the model is on luma."""
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    colour = (make_photo(40, 33) / 255.0 * top).astype(dtype)
    alpha = (alpha_for(make_photo(40, 33)) / 255.0 * top).astype(dtype)
    Picture(colour, alpha).save(tmp_path / "a.tiff")
    drawn = enlarged_alpha(alpha, _cached_load(tiny_weights))
    for model, expected in (("espcn", np.clip(imresize(alpha, 4), 0, top)), (tiny_weights, drawn)):
        assert cli("upscale", tmp_path / "a.tiff", "-n", model, "--overwrite").code == 0
        found = read_picture(tmp_path / "a_x4.tiff")
        assert found.alpha is not None and found.alpha.dtype == alpha.dtype
        assert np.abs(found.alpha.astype(float) - expected).max() <= (1e-5 if dtype == "float32" else 1)
    whole = upscale_picture(Picture(colour, alpha), _cached_load(tiny_weights))
    difference = np.abs(found.pixels.astype(float) - whole.pixels.astype(float)).max()
    assert difference <= top / 255.0


@pytest.mark.parametrize(("source", "ext"), [("gif", "auto"), ("webp", "auto"), ("gif", "gif"), ("webp", "tiff")])
def test_animations(source: str, ext: str, cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    frames = animation(3)
    path = tmp_path / f"a.{source}"
    options: dict[str, Any] = {"lossless": True} if source == "webp" else {}
    path.write_bytes(
        encoded(
            frames[0], source.upper(), save_all=True, append_images=frames[1:], duration=[60, 70, 80], loop=0, **options
        )
    )
    done = cli("upscale", path, "-n", tiny_weights, "--ext", ext, "--lossless", "--json")
    assert done.code == 0, done.err
    output = Path(done.objects[0]["output"])
    assert output.suffix == {"auto": ".webp", "gif": ".gif", "tiff": ".tif"}[ext]
    found = Image.open(io.BytesIO(output.read_bytes()))
    assert found.n_frames == 3
    upscaler = _cached_load(tiny_weights)
    for k, frame in enumerate(frames):
        found.seek(k)
        expected = upscaler(np.asarray(frame))
        difference = np.abs(np.asarray(found.convert("RGB")).astype(float) - expected)
        assert difference.mean() < (12 if ext == "gif" else 1.5)
        if ext != "tiff":
            assert round(found.info["duration"]) == [60, 70, 80][k]
    assert source == "webp" or ext == "gif" or "written as WEBP" in done.err


def test_floating_point_beyond_one_comes_back(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    values = make_photo(24, 24).astype(np.float32) / 255.0 * 20.0
    import tifffile

    tifffile.imwrite(tmp_path / "hdr.tiff", values, photometric="rgb", metadata=None)
    assert cli("upscale", tmp_path / "hdr.tiff", "-n", tiny_weights).code == 0
    found = tifffile.imread(tmp_path / "hdr_x4.tiff")
    expected = _cached_load(tiny_weights)(values / values.max()) * values.max()
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-3


def test_floating_point_alpha_beyond_one_comes_back(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    import tifffile

    values = np.full((24, 24, 4), 128.0, np.float32)
    values[:, :, :3] = make_photo(24, 24)
    values[0, 0, 0] = 255.0
    tifffile.imwrite(tmp_path / "a.tiff", values, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    assert cli("upscale", tmp_path / "a.tiff", "-n", tiny_weights).code == 0
    assert np.allclose(tifffile.imread(tmp_path / "a_x4.tiff")[:, :, 3], 128.0, rtol=1e-5)
    assert cli("upscale", tmp_path / "a.tiff", "-n", tiny_weights, "-o", tmp_path / "a.png").code == 0
    alpha = read_picture(tmp_path / "a.png").alpha
    assert alpha is not None and np.abs(alpha / 65535.0 - 128 / 255).max() < 1e-4


def test_receipts(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    done = cli("upscale", cat, "-n", tiny_weights, "--receipt", "--embed-receipt", "--json", "--precision", "fp32")
    output = cat.with_name("cat_x4.png")
    assert done.objects[0]["receipt"] == f"{output}.receipt.json"
    assert done.objects[0]["precision"] == "fp32"
    receipt = json.loads(Path(f"{output}.receipt.json").read_text())
    assert receipt["input"]["sha256"] == hashlib.sha256(cat.read_bytes()).hexdigest()
    assert receipt["output"]["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert receipt["model"]["sha256"] == hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
    assert receipt["model"]["name"] == "tiny"
    assert receipt["settings"]["precision"] == "fp32"
    assert receipt["software"].startswith("Fourfold ")
    embedded = embedded_receipt(read_picture(output).metadata.xmp)
    assert embedded == {key: value for key, value in receipt.items() if key != "output"}


def test_a_receipt_of_the_picture_before_does_not_stay(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    assert cli("upscale", cat, "-n", tiny_weights, "--embed-receipt").code == 0
    done = cli("upscale", cat.with_name("cat_x4.png"), "-n", tiny_weights)
    assert "the receipt in the XMP was left out: it is of the picture as it was" in done.err
    assert embedded_receipt(read_picture(cat.with_name("cat_x4_x4.png")).metadata.xmp) is None


def test_a_receipt_names_both_ends_of_the_dial(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    done = cli(
        "upscale", cat, "-n", tiny_weights, "--faithful", tiny_weights, "--fidelity", 0.25, "--receipt", "--json"
    )
    receipt = json.loads(Path(done.objects[0]["receipt"]).read_text())
    sha256 = hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
    assert [w["sha256"] for w in receipt["model"]["made_of"]] == [sha256, sha256]
    assert receipt["settings"]["fidelity"] == 0.25


def test_a_dial_with_one_network_at_both_ends_is_told(cli: Cli, cat: Path) -> None:
    done = cli("upscale", cat, "-n", "srresnet-mse", "--fidelity", 0.5)
    assert done.code == 0
    assert "--fidelity 0.5 changes nothing: srresnet-mse is the faithful network itself" in done.err


def test_an_ensemble_is_another_picture_and_the_receipt_says_so(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    settings, pixels = [], []
    for more in ([], ["--ensemble", "--overwrite"]):
        done = cli("upscale", cat, "-n", tiny_weights, "--receipt", "--json", *more)
        settings.append(json.loads(Path(done.objects[0]["receipt"]).read_text())["settings"]["ensemble"])
        pixels.append(read_picture(Path(done.objects[0]["output"])).pixels)
    assert settings == [False, True]
    assert not np.array_equal(*pixels)


def test_a_receipt_joins_what_is_in_the_xmp() -> None:
    from fourfold.upscaling.receipt import embed_receipt, without_receipt

    once = embed_receipt(XMP, {"a": "<&>", "ä": 1})
    twice = embed_receipt(once, {"b": 2})
    assert b"dc:format='kept'" in twice
    assert embedded_receipt(once) == {"a": "<&>", "ä": 1}
    assert embedded_receipt(twice) == {"b": 2} and twice.count(b"<fourfold:receipt>") == 1
    assert embedded_receipt(XMP) is None
    assert without_receipt(XMP) == XMP and b"dc:format='kept'" in without_receipt(twice)
    assert embedded_receipt(without_receipt(twice)) is None
    import xml.etree.ElementTree

    # as other programs write the same
    rewritten = (
        once.replace(b'rdf:about=""', b"rdf:about=''"),
        once.replace(b"<fourfold:", b"<ns1:").replace(b"/fourfold:", b"/ns1:").replace(b"xmlns:fourfold", b"xmlns:ns1"),
        re.sub(rb"<fourfold:receipt>(.*?)</fourfold:receipt>", b"", once, flags=re.DOTALL).replace(
            b'rdf:about="" xmlns:rdf', b"""rdf:about="" fourfold:receipt='{"a": 1}' xmlns:rdf"""
        ),
    )
    for packet in rewritten:
        assert b'"a": ' in packet.replace(b"&quot;", b'"')
        replaced = embed_receipt(packet, {"b": 2})
        assert replaced.count(b"receipt>") == 2 and b'"a": ' not in replaced
        assert b"dc:format='kept'" in replaced
    for packet in (once, twice, embed_receipt(None, {"c": 3}), embed_receipt(b"not xml", {"c": 3})):
        xml.etree.ElementTree.fromstring(packet.decode().strip("\ufeff"))


_BARE = XMP.decode().replace("rdf:", "").replace("xmlns:rdf=", "xmlns=")
#: packets as other programs write them
PACKETS = {
    "UTF-8 with its mark": b"\xef\xbb\xbf" + XMP,
    "UTF-16, little end first": XMP.decode().encode("utf-16-le"),
    "UTF-16, big end first": XMP.decode().encode("utf-16-be"),
    "UTF-16 with its mark": XMP.decode().encode("utf-16"),
    "UTF-32": XMP.decode().encode("utf-32-be"),
    "an XML declaration": ('<?xml version="1.0" encoding="UTF-16"?>' + XMP.decode()).encode("utf-16"),
    "another prefix": XMP.replace(b"rdf:", b"r:").replace(b"xmlns:rdf", b"xmlns:r"),
    "no prefix": _BARE.replace("about=''", "").encode(),
    "a space": XMP.replace(b"</rdf:RDF>", b"</rdf:RDF >"),
}


@pytest.mark.parametrize("case", PACKETS)
def test_a_receipt_joins_xmp_of_any_kind(case: str) -> None:
    import xml.etree.ElementTree

    from fourfold.upscaling.receipt import embed_receipt, takes_receipt

    assert takes_receipt(PACKETS[case])
    made = embed_receipt(embed_receipt(PACKETS[case], {"a": 1}), {"b": 2})
    assert embedded_receipt(made) == {"b": 2} and made.count(b"<fourfold:receipt>") == 1
    kept = [
        e.attrib.get("{http://purl.org/dc/elements/1.1/}format") for e in xml.etree.ElementTree.fromstring(made).iter()
    ]
    assert "kept" in kept


def test_xmp_that_takes_no_receipt_is_missed(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    picture = Picture(make_photo(12, 12))
    picture.metadata.xmp = XMP.replace(b"</rdf:RDF>", b"")
    picture.save(tmp_path / "a.png")
    done = cli("upscale", tmp_path / "a.png", "-n", tiny_weights, "--embed-receipt", "--json")
    assert done.objects[0]["notes"] == ["the XMP is damaged and was replaced by the receipt"]


def test_large_for_jpeg_becomes_png(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    Picture(make_photo(1, 16_400)).save(tmp_path / "wide.jpg")
    done = cli("upscale", tmp_path / "wide.jpg", "-n", tiny_weights, "--json")
    assert done.code == 0 and done.objects[0]["output"].endswith("wide_x4.png")
    assert "too large for jpg" in done.err
    done = cli("upscale", tmp_path / "wide.jpg", "-n", tiny_weights, "--ext", "jpg")
    told = "wide.jpg: 65600 x 4 is too large for jpg, which ends at 65,500 pixels a side; choose png or tiff\n"
    assert done.code == 1 and done.err == f"error: {tmp_path}/{told}"


def test_an_encoder_that_would_break_the_memory_promise(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    Picture(np.zeros((600, 600, 3), np.uint8)).save(tmp_path / "a.png")
    done = cli("upscale", tmp_path / "a.png", "-n", tiny_weights, "--ext", "avif", "--max-memory", "200M")
    assert done.code == 1 and "--max-memory 300M allows it" in done.err
    assert names(tmp_path) == ["a.png"]


def test_several_files_that_need_much_memory(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    for k in range(3):
        Picture(make_photo(150, 150, k)).save(tmp_path / f"{k}.png")
    # 38 bytes for each of 360,000 pixels, three times at once, would be too much
    done = cli("upscale", tmp_path, "-n", tiny_weights, "--ext", "avif", "--max-memory", "20M", "--json")
    assert [(o["status"], o.get("error")) for o in done.objects] == [("done", None)] * 3


def test_an_unwritable_folder(cli: Cli, cat: Path, tiny_weights: Path) -> None:
    blocked = cat.parent / "file"
    blocked.write_bytes(b"")
    done = cli("upscale", cat, "-n", tiny_weights, "-o", blocked / "sub" / "a.png")
    assert done.code == 1 and "cannot be written" in done.err
    (cat.parent.parent / "large").mkdir()
    (cat.parent.parent / "large" / "deep").write_bytes(b"")
    (cat.parent / "deep").mkdir()
    cat.rename(cat.parent / "deep" / "cat.png")
    done = cli("upscale", cat.parent, "-r", "-n", tiny_weights, "-o", cat.parent.parent / "large")
    assert done.code == 1 and "deep/cat_x4.png: cannot be written: a file is in the place of its folder" in done.err
    (cat.parent / "deep" / "cat.png").rename(cat)
    if os.geteuid() == 0:
        return  # root may write everywhere
    cat.parent.chmod(0o500)
    try:
        done = cli("upscale", cat, "-n", tiny_weights)
        assert done.code == 1 and "may not be written" in done.err
    finally:
        cat.parent.chmod(0o700)


def test_a_full_disk(cli: Cli, cat: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    done = cli("upscale", cat, "-n", tiny_weights)
    assert done.code == 1 and "the disk is full" in done.err
    assert names(cat.parent) == ["cat.png"]


def test_a_disk_that_fills_up_while_writing(cat: Path, tiny_weights: Path) -> None:
    Picture(make_photo(300, 300)).save(cat, overwrite=True)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run(
        command("upscale", cat, "-n", tiny_weights, "--engine", "openvino"),
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert names(cat.parent) == ["cat.png"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_in_the_middle_leaves_nothing(sent: signal.Signals, cat: Path, tiny_weights: Path) -> None:
    Picture(np.zeros((9000, 6000, 3), np.uint8)).save(cat, overwrite=True)  # minutes of work
    running = subprocess.Popen(
        command("upscale", cat, "-n", tiny_weights, "--max-memory", "100M"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # the tests may run under nohup, which has it ignored
    )
    deadline = time.monotonic() + 60
    while len(names(cat.parent)) == 1 and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    assert len(names(cat.parent)) == 2, "the unfinished file has appeared"
    running.send_signal(sent)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert err.strip() == "stopped; nothing half-written is left"
    assert names(cat.parent) == ["cat.png"]


@pytest.mark.parametrize("step", ["fourfold.upscaling.outputs.plan_jobs", "fourfold.upscaling.load"])
def test_stopping_before_the_first_picture(
    step: str, cli: Cli, cat: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        done = cli("upscale", cat, "-n", tiny_weights)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (done.code, done.err) == (130, "stopped; nothing half-written is left\n")


def test_a_closed_terminal_that_is_ignored_stops_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stopping_cleanly():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_python_floating_alpha_is_checked(tiny_weights: Path) -> None:
    grey = np.full((16, 16, 3), 0.5, np.float32)
    with pytest.raises(PictureError, match=r"float32 alpha from 128 to 128; it must lie in 0\.\.1"):
        upscale(np.dstack([grey, np.full((16, 16), 128, np.float32)]), tiny_weights)
    holes = np.ones((16, 16), np.float32)
    holes[:, :8] = np.nan
    found = upscale(np.dstack([grey, holes]), tiny_weights)
    assert found.alpha is not None and np.isfinite(found.alpha).all()
    assert (found.alpha[:, 0].max(), found.alpha[:, -1].min()) == (0, 1)


def test_python_upscale(tiny_weights: Path, cat: Path) -> None:
    picture = make_photo(20, 30)
    expected = _cached_load(tiny_weights)(picture)
    for source in (cat, str(cat), cat.read_bytes(), Picture(picture), picture):
        assert np.array_equal(upscale(source, tiny_weights).pixels, expected)
    alpha = alpha_for(picture)
    found = upscale(np.dstack([picture, alpha]), tiny_weights)
    assert found.alpha is not None and found.alpha.shape == (80, 120)
    assert upscale(picture[:, :, 0], tiny_weights).pixels.shape == (80, 120, 1)
    with pytest.raises(Exception, match="has the shape"):
        upscale(np.zeros((3, 3, 5), np.uint8), tiny_weights)

"""Which network a picture is given to where none is named."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import pyvips

import fourfold
from fourfold.imaging import Picture, read_picture
from fourfold.upscaling import Upscaler, load
from fourfold.upscaling.choosing import Automatic
from fourfold.upscaling.files import FileOptions, Job, upscale_files
from fourfold.weights import FOR_COMPRESSED, default_name
from tests.conftest import make_photo
from tests.upscaling.receipts import embedded_receipt


def jpeg(path: Path, quality: int, seed: int = 0, side: int = 30) -> Path:
    image = pyvips.Image.new_from_array(make_photo(side * 2 // 3, side, seed), interpretation="srgb")
    image.jpegsave(str(path), Q=quality)
    return path


def noting(loaded: list[str | Path]) -> Callable[[str | Path], Upscaler]:
    """Loads nothing: gives the name back, and notes it."""

    def load_none(model: str | Path) -> Upscaler:
        loaded.append(model)
        return cast("Upscaler", model)

    return load_none


@pytest.mark.parametrize(("compressed", "name"), [(False, "srgan-plus"), (True, FOR_COMPRESSED)])
def test_the_networks(compressed: bool, name: str) -> None:
    assert default_name(compressed) == name
    loaded: list[str | Path] = []
    automatic = Automatic(noting(loaded))
    assert str(automatic.suited(compressed)) == name
    automatic.suited(compressed)
    assert loaded == [name], "once"


def test_what_names_lead_one_to_expect_is_there_before_the_first_picture() -> None:
    loaded: list[str | Path] = []
    automatic = Automatic(noting(loaded))
    automatic.expect([])
    assert loaded == []
    automatic.expect([Path("a.JPG"), Path("b.jpeg"), Path("c.webp"), Path("d.avif")])
    assert loaded == [FOR_COMPRESSED]
    automatic.expect([Path("a.jpg"), Path("b.png"), Path("c")])
    assert loaded == [FOR_COMPRESSED, "srgan-plus"]


def test_each_of_several_files_is_given_to_its_own(tmp_path: Path) -> None:
    stored, clean = jpeg(tmp_path / "stored.jpg", 70), jpeg(tmp_path / "clean.jpg", 100)
    png = Picture(make_photo(20, 30)).save(tmp_path / "c.png")
    named_wrongly = jpeg(tmp_path / "d.jpg", 70).rename(tmp_path / "d.png")
    large = jpeg(tmp_path / "large.jpg", 70, side=96)
    once = Picture(read_picture(large).pixels).save(tmp_path / "once.png")
    wanted = {
        stored: FOR_COMPRESSED,
        clean: "srgan-plus",
        png: "srgan-plus",
        named_wrongly: FOR_COMPRESSED,
        once: FOR_COMPRESSED,
    }
    jobs = [Job(path, tmp_path / "out" / f"{path.stem}-{path.suffix[1:]}.png") for path in wanted]
    options = FileOptions(embed_receipt=True)
    done = list(upscale_files(Automatic(load), jobs, options=options))
    assert [outcome.error for outcome in done] == [None] * 5
    assert [outcome.model for outcome in done] == list(wanted.values())
    assert [outcome.notes for outcome in done] == [[]] * 4 + [
        ["its pixels have the traces of JPEG, whatever it is stored as now"]
    ]
    for job, name in zip(jobs, wanted.values(), strict=True):
        made = read_picture(job.destination)
        assert embedded_receipt(made.metadata.xmp)["model"]["name"] == name
        assert np.array_equal(made.pixels, load(name)(read_picture(job.source).pixels))


def test_in_python(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg", 70)
    pixels = read_picture(path).pixels
    for source in (path, path.read_bytes(), read_picture(path)):
        assert np.array_equal(fourfold.upscale(source).pixels, load(FOR_COMPRESSED)(pixels))
    assert np.array_equal(fourfold.upscale(path, "srgan-plus").pixels, load("srgan-plus")(pixels)), (
        "what is named is taken"
    )
    assert np.array_equal(fourfold.upscale(pixels).pixels, load("srgan-plus")(pixels)), "too small to see what it was"


def test_what_an_array_was_is_seen() -> None:
    pixels = make_photo(64, 96)
    stored = pyvips.Image.new_from_array(pixels, interpretation="srgb").jpegsave_buffer(Q=70)
    decoded = read_picture(stored).pixels
    assert np.array_equal(fourfold.upscale(pixels).pixels, load("srgan-plus")(pixels))
    assert np.array_equal(fourfold.upscale(decoded).pixels, load(FOR_COMPRESSED)(decoded))

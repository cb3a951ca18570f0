import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvips

from fourfold.errors import DataError
from fourfold.imaging import Picture
from fourfold.training.pictures import decode, survey
from tests.conftest import make_photo


def test_data_as_people_have_them(tmp_path: Path) -> None:
    deep = tmp_path / "DIV2K_train_HR" / "sub"
    deep.mkdir(parents=True)
    photo = make_photo(40, 48)
    Picture(photo).save(deep / "a.png")
    Picture(photo).save(tmp_path / "twin.png")
    Picture(make_photo(40, 40, seed=1)[:, :, 0]).save(tmp_path / "grey.png")
    Picture(make_photo(40, 40, seed=2).astype(np.uint16) * 257).save(tmp_path / "deep.tif")
    cmyk = pyvips.Image.new_from_array(make_photo(40, 40, seed=3)).colourspace("cmyk")
    cmyk.write_to_file(str(tmp_path / "print.jpg"))
    Picture(make_photo(8, 90)).save(tmp_path / "strip.png")
    (tmp_path / "broken.png").write_bytes((deep / "a.png").read_bytes()[:300])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "notes.txt").write_text("ignored")

    pictures, report = survey([tmp_path], 32)
    decoded = list(decode(pictures, report, broken_share=0.5))
    assert report.found == 8
    assert [p.name for p in report.too_small] == ["strip.png"]
    assert {p.name for p, _ in report.broken} == {"broken.png", "text.jpg"}
    assert [{p.name for p in pair} for pair in report.duplicates] == [{"a.png", "twin.png"}]
    assert {p.name for p in report.used} == {p.path.name for p, _, _ in decoded}
    assert len(decoded) == 4
    assert report.left_out == 4
    pixels = {p.path.name: hr for p, hr, _ in decoded}
    assert all(hr.dtype == np.uint8 and hr.shape[0] == 3 for hr in pixels.values())
    assert np.array_equal(pixels["grey.png"][0], pixels["grey.png"][2])
    np.testing.assert_array_equal(pixels["deep.tif"], make_photo(40, 40, seed=2).transpose(2, 0, 1))


def test_too_many_broken_files_stop_the_run(tmp_path: Path) -> None:
    Picture(make_photo(40, 40)).save(tmp_path / "good.png")
    for k in range(2):
        (tmp_path / f"{k}.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    pictures, report = survey([tmp_path], 32)
    with pytest.raises(DataError, match=r"broken_share=0\.05"):
        list(decode(pictures, report))


def test_no_folder_and_no_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data"):
        survey([tmp_path / "none"], 32)
    with pytest.raises(DataError, match="no picture"):
        survey([tmp_path], 32)


def test_what_runs_have_left_is_not_trained_on(tmp_path: Path) -> None:
    Picture(make_photo(40, 40)).save(tmp_path / "a.png")
    for folder in ("runs/one/pictures", "runs/one/checkpoints", "runs/notes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs/one/recipe.json").write_text("{}")
    Picture(make_photo(40, 40, seed=1)).save(tmp_path / "runs/one/pictures/v-00000002.png")
    Picture(make_photo(40, 40, seed=2)).save(tmp_path / "runs/notes/b.png")
    assert [picture.path.name for picture in survey([tmp_path], 32)[0]] == ["a.png", "b.png"]
    assert len(survey([tmp_path / "runs/one/pictures"], 32)[0]) == 1  # who names it, means it
    shutil.rmtree(tmp_path / "runs/notes")
    with pytest.raises(DataError, match="no pictures but those that runs have left"):
        survey([tmp_path / "runs"], 32)


@pytest.mark.parametrize(("lr_size", "why"), [(None, "no LR picture"), ((9, 10), "10x9")])
def test_lr_pictures_that_do_not_fit(tmp_path: Path, lr_size: tuple[int, int] | None, why: str) -> None:
    (tmp_path / "hr").mkdir()
    (tmp_path / "lr").mkdir()
    Picture(make_photo(40, 40)).save(tmp_path / "hr" / "a.png")
    if lr_size:
        Picture(make_photo(*lr_size)).save(tmp_path / "lr" / "ax4.png")
    pictures, report = survey([tmp_path / "hr"], 32, lr_folder=tmp_path / "lr")
    with pytest.raises(DataError, match=why):
        list(decode(pictures, report))


def test_two_originals_cannot_share_an_lr_picture(tmp_path: Path) -> None:
    for k, folder in enumerate(("first", "second", "lr")):
        (tmp_path / folder).mkdir()
        Picture(make_photo(40, 40, seed=k) if folder != "lr" else make_photo(10, 10)).save(tmp_path / folder / "a.png")
    pictures, report = survey([tmp_path / "first", tmp_path / "second"], 32, lr_folder=tmp_path / "lr")
    assert [picture.path for picture in pictures] == [tmp_path / "first/a.png"]
    shared = f"its LR picture {tmp_path / 'lr/a.png'} is that of {tmp_path / 'first/a.png'}, too"
    assert report.broken == [(tmp_path / "second/a.png", shared)]


def test_lr_folders_that_cannot_be_looked_into(tmp_path: Path, closed: Path) -> None:
    (tmp_path / "hr").mkdir()
    Picture(make_photo(40, 40)).save(tmp_path / "hr" / "a.png")
    for folder, why in ((tmp_path / "none", "no such folder"), (closed, "cannot be read"), (closed / "x", "cannot be")):
        with pytest.raises(DataError, match=f"--lr-data {folder}: {why}"):
            survey([tmp_path / "hr"], 32, lr_folder=folder)

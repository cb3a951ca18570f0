"""Pictures in memory: what arrays they are made of, and what is refused before it is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourfold.errors import PictureError
from fourfold.imaging import LossWarning, Picture, encode_picture
from tests.conftest import make_photo

PHOTO = make_photo(4, 5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"has the shape .* not \(4, 4, 2\)"),
        (np.zeros((4, 4, 4), np.uint8), "has the shape"),
        (np.zeros(4, np.uint8), "has the shape"),
        (np.zeros((0, 4, 3), np.uint8), r"an empty picture, of shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3)), "not float64"),
        (np.zeros((4, 4, 3), bool), "not bool"),
        ([[1]], "a numpy array, not list"),
        (np.ma.masked_greater(PHOTO, 200), "no masked pixels"),
    ],
)
def test_other_arrays_are_refused(array: Any, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        Picture(array)


class Rows(np.ndarray):
    """An array of a kind of its own, such as ``np.matrix``."""


def test_grey_has_one_channel_whatever_holds_it() -> None:
    grey = PHOTO[:, :, 0]
    for array in (grey, grey.view(Rows), np.ma.array(grey)):
        pixels = Picture(array).pixels
        assert type(pixels) is np.ndarray
        assert np.array_equal(pixels, grey[:, :, None])


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", "<f4"])
def test_the_order_of_bytes_does_not_matter(dtype: str) -> None:
    values = PHOTO.astype(np.float32) / 255 if "f" in dtype else PHOTO.astype(np.uint16) * 257
    picture = Picture(values.astype(dtype), values[:, :, 0].astype(dtype))
    assert picture.alpha is not None
    assert picture.pixels.dtype.isnative
    assert encode_picture(picture, "tiff") == encode_picture(Picture(values, values[:, :, 0]), "tiff")


@pytest.mark.parametrize("alpha", [np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint16), [[1]]])
def test_alpha_must_fit(alpha: Any) -> None:
    with pytest.raises(PictureError, match=r"alpha is|not list"):
        Picture(PHOTO, alpha)


def test_a_picture_is_equal_to_itself_alone() -> None:
    one, other = Picture(PHOTO), Picture(PHOTO.copy())
    assert one == one
    assert one != other
    assert one not in [other]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.linspace(0, 255, 60, dtype=np.float32).reshape(4, 5, 3)}, "from 0 to 255; .* divide by white"),
        ({"pixels": np.full((4, 5, 3), np.nan, np.float32)}, "holds NaN or infinity"),
        ({"pixels": np.full((4, 5, 3), -np.inf, np.float32)}, "holds NaN or infinity"),
        ({"pixels": PHOTO.astype(np.float64)}, "not float64"),
        ({"pixels": PHOTO[None]}, "has the shape"),
        ({"pixels": np.zeros((4, 5, 3), np.float32), "alpha": np.full((4, 5), 2, np.float32)}, "alpha: .* from 2 to 2"),
    ],
)
def test_what_cannot_be_written_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    picture = Picture(PHOTO)
    for name, value in change.items():  # as a program may do that works on a picture
        setattr(picture, name, value)
    with pytest.raises(PictureError, match=message):
        picture.save(tmp_path / "a.png", on_loss=lambda _: None)
    with pytest.raises(PictureError, match=message):
        encode_picture(picture, "tiff")
    assert not list(tmp_path.iterdir())


def test_a_loss_is_told_where_it_is_caused(tmp_path: Path) -> None:
    """Python tells a warning once for each line that causes it."""
    deep = Picture(PHOTO.astype(np.uint16))
    with pytest.warns(LossWarning) as told:
        deep.save(tmp_path / "a.jpg")
        encode_picture(deep, "jpg")
    assert [warning.filename for warning in told] == [__file__, __file__]

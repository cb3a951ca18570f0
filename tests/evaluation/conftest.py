"""A made-up benchmark: small pictures in a folder, and methods that need no network."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourfold.imaging import Picture, write_picture
from tests.conftest import make_photo


def save(path: Path, pixels: NDArray[np.generic]) -> Path:
    """Writes pixels as a picture, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_picture(Picture(np.ascontiguousarray(pixels)), path, overwrite=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with two sets: Set5 (three pictures here) and Other (one)."""
    for k, name in enumerate(("baby", "bird", "butterfly")):
        save(tmp_path / "data" / "Set5" / f"{name}.png", make_photo(48 + 4 * k, 56, seed=k))
    save(tmp_path / "data" / "Other" / "lone.png", make_photo(40, 44, seed=9))
    return tmp_path / "data"

"""A small made-up study, and the stores that the same tests run on."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from numpy.typing import NDArray

from fourfold.imaging import Picture, write_picture
from fourfold.study import Request, Study, create_study, open_study
from fourfold.study.store import RatingStore
from tests.conftest import make_photo
from tests.study.postgresql import running_server

METHODS = ("nearest", "bicubic", "hr")


@pytest.fixture(scope="session")
def bench_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets and calibration pictures, made up: Set5 with 3 pictures, BSD100 with 4 of another shape."""
    root = tmp_path_factory.mktemp("bench")
    for folder, count, height, width in (("Set5", 3, 48, 64), ("BSD100", 4, 66, 49), ("calibration", 3, 52, 52)):
        for number in range(count):
            pixels = make_photo(height, width, seed=sum(map(ord, folder)) + number)
            save_picture(root / folder / f"scene{number}.png", pixels)
    return root


def save_picture(path: Path, pixels: NDArray[Any], *, lossless: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(Picture(pixels), path, lossless=lossless)


def small_request(bench_folder: Path) -> Request:
    return Request(
        data=bench_folder,
        sets=("Set5", "BSD100"),
        methods=METHODS,
        calibration=2,
        repeats=3,
        seed="test",
        title="A small study",
    )


@pytest.fixture(scope="session")
def study_folder(bench_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "small"
    create_study(folder, small_request(bench_folder))
    return folder


@pytest.fixture
def own_study(study_folder: Path, tmp_path: Path) -> Path:
    """A copy of the small study that a test may spoil."""
    return Path(shutil.copytree(study_folder, tmp_path / "study"))


@pytest.fixture(scope="session")
def study(study_folder: Path) -> Study:
    return open_study(study_folder)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ratings.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return fresh_database(url)


def fresh_database(url: str, **settings: str) -> str:
    """A fresh, empty schema of the server, which is much faster to make than a database."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')  # a name made here, of letters and digits
    return with_settings(url, search_path=name, **settings)


def with_settings(url: str, **settings: str) -> str:
    return f"{url}?options={quote(' '.join(f'-c{key}={value}' for key, value in settings.items()))}"


@pytest.fixture
def open_stores() -> Iterator[Callable[..., RatingStore]]:
    """Opens stores and closes them at the end."""
    opened: list[RatingStore] = []

    def open_one(url: str, study_id: str = "s1", digest: str = "d1", *, read_only: bool = False) -> RatingStore:
        opened.append(RatingStore(url, study_id=study_id, digest=digest, read_only=read_only))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(store_url: str, open_stores: Callable[..., RatingStore], study: Study) -> RatingStore:
    return open_stores(store_url, study.manifest.study_id, study.manifest.digest)

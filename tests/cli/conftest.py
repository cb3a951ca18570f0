"""A command line to call, and files to call it with."""

from pathlib import Path

import pytest

from fourfold.imaging import Picture
from tests.cli.running import Cli
from tests.conftest import make_photo


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys)


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    """A small picture in a folder of its own."""
    (tmp_path / "in").mkdir()
    return Picture(make_photo(20, 30)).save(tmp_path / "in" / "cat.png")

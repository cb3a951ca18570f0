"""What lies at a path: every kind, and folders that are closed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fourfold.places import is_file, is_folder, is_stream, why_closed, why_unseen


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (Path.mkdir, (True, False, False)),
        (Path.touch, (False, True, False)),
        (_fifo, (False, False, True)),
        (lambda path: path.symlink_to("/dev/null"), (False, False, True)),
        (lambda path: path.symlink_to("absent"), (False, False, False)),
        (lambda path: path.symlink_to(path), (False, False, False)),
        (lambda path: None, (False, False, False)),
    ],
)
def test_kinds(make: Callable[[Path], None], kinds: tuple[bool, bool, bool], tmp_path: Path) -> None:
    make(tmp_path / "x")
    assert (is_folder(tmp_path / "x"), is_file(tmp_path / "x"), is_stream(tmp_path / "x")) == kinds


def test_below_a_closed_folder_nothing_is_seen_and_nothing_raised(closed: Path) -> None:
    for path in (closed / "x", closed / "x" / "y"):
        assert not is_folder(path) and not is_file(path) and not is_stream(path)
        assert why_unseen(path) == "Permission denied"
    assert why_unseen(closed) is None and why_closed(closed) == "Permission denied"


def test_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert why_unseen(tmp_path / "absent") is why_unseen(tmp_path / "file" / "x") is why_closed(tmp_path) is None
    assert "symbolic links" in str(why_unseen(tmp_path / "loop"))
    assert why_closed(tmp_path / "absent") == "No such file or directory"
    assert why_unseen(tmp_path / "\0") == "embedded null byte"

"""Output that nobody reads: `| head -1` ends a command quietly, and nothing is left half-done."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fourfold.cli.pipes import noticing_readers
from fourfold.imaging import Picture, read_picture
from tests.cli.running import command
from tests.conftest import make_photo


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def run(*arguments: object, stdout: int, stderr: int = subprocess.PIPE) -> tuple[int, str]:
    done = subprocess.run(
        command(*arguments), stdout=stdout, stderr=stderr, text=True, env={**os.environ, "FOURFOLD_CACHE": ""}
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [("models",), ("models", "--json"), ("--help",), ("--version",)], ids=" ".join)
def test_a_reader_that_goes_away_ends_it_quietly(arguments: tuple[str, ...], unread: int) -> None:
    assert run(*arguments, stdout=unread) == (141, "")


def test_errors_that_nobody_reads(unread: int) -> None:
    assert run("models", "--json", stdout=unread, stderr=subprocess.STDOUT) == (141, None)


def test_upscaling_leaves_nothing_half_written(tmp_path: Path, tiny_weights: Path, unread: int) -> None:
    for k in range(4):
        Picture(make_photo(60, 60, k)).save(tmp_path / f"{k}.png")
    out = tmp_path / "out"
    assert run("upscale", tmp_path, "-n", tiny_weights, "-o", out, stdout=unread) == (141, "")
    made = sorted(out.iterdir())
    assert made and all(path.name.endswith("_x4.png") for path in made)
    assert all(read_picture(path).width == 240 for path in made)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_are_closed_from_the_start(closed: str, tmp_path: Path, tiny_weights: Path) -> None:
    Picture(make_photo(20, 30)).save(tmp_path / "cat.png")
    words = shlex.join(command("upscale", tmp_path / "cat.png", "-n", tiny_weights))
    done = subprocess.run(
        ["sh", "-c", f"{words} {closed}"], capture_output=True, text=True, env={**os.environ, "FOURFOLD_CACHE": ""}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert read_picture(tmp_path / "cat_x4.png").width == 120


def test_names_that_the_output_cannot_spell_cost_no_picture(tmp_path: Path, tiny_weights: Path) -> None:
    for name in ("a.png", "猫.png", "z.png"):
        Picture(make_photo(20, 30)).save(tmp_path / name)
    done = subprocess.run(
        command("upscale", tmp_path, "-n", tiny_weights),
        capture_output=True,
        env={**os.environ, "FOURFOLD_CACHE": "", "PYTHONIOENCODING": "latin-1"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u732b_x4.png" in done.stdout
    assert len(list(tmp_path.glob("*_x4.png"))) == 3


def test_a_broken_pipe_of_somebody_else_is_no_reader_of_ours() -> None:
    with pytest.raises(BrokenPipeError), noticing_readers():
        raise BrokenPipeError

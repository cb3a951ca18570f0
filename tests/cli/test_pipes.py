"""Output that nobody reads, or that no disk takes: nothing is left half-done, and every line is one line."""

import errno
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fourfold.cli.pipes import noticing_readers
from fourfold.errors import PictureError
from fourfold.imaging import Picture, encode_picture, read_picture
from fourfold.imaging.png_text import chunk
from tests.cli.running import Cli, command
from tests.conftest import make_photo


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def run(*arguments: object, stdout: int, stderr: int = subprocess.PIPE) -> tuple[int, str]:
    done = subprocess.run(command(*arguments), stdout=stdout, stderr=stderr, text=True)
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
    done = subprocess.run(["sh", "-c", f"{words} {closed}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_picture(tmp_path / "cat_x4.png").width == 120


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")


@needs_full
@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        ("models", ""),
        ("models --json", ""),
        ("models --json", "1"),
        ("doctor --no-trial", ""),
        ("upscale --help", ""),
        ("--version", ""),
    ],
)
def test_a_full_disk_behind_the_output_is_one_line(
    words: str, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("w") as full:
        code, err = run(*words.split(), stdout=full.fileno())
    assert code == 1 and err.startswith("error: standard output") and err.count("\n") == 1
    assert "cannot be written (No space left on device)" in err


@needs_full
@pytest.mark.parametrize(
    "words", [["models", "nobody"], ["upscale"], ["upscale", "none.png", "-n", "espcn"]], ids=" ".join
)
def test_a_full_disk_behind_the_errors_is_no_traceback(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command(*words), stdout=subprocess.PIPE, stderr=full, text=True)
    assert done.returncode in (1, 2)
    assert done.stdout.startswith("error: ") and done.stdout.count("\n") == 1


@needs_full
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_behind_the_output_costs_no_picture(stream: str, tmp_path: Path, tiny_weights: Path) -> None:
    for k in range(3):
        Picture(make_photo(20, 30, k)).save(tmp_path / f"{k}.png")
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("upscale", tmp_path, "-n", tiny_weights),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full},
            text=True,
        )
    assert done.returncode == 1
    name = {"stdout": "standard output", "stderr": "standard error"}[stream]
    last = (done.stdout or done.stderr).splitlines()[-1]
    assert last.startswith(f"error: {name} cannot be written (No space left on device)")
    assert len(list(tmp_path.glob("*_x4.png"))) == 3


def test_a_full_disk_of_somebody_else_is_no_output_of_ours() -> None:
    with pytest.raises(OSError, match="No space left"), noticing_readers():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "words", ["upscale {folder}/a.png -n {odd}", "models {odd}", "export {odd} -o {folder}/b.safetensors"]
)
def test_names_that_are_no_text_fail_nothing(words: str, tmp_path: Path, tiny_weights: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    odd = folder / "odd.safetensors"
    odd.write_bytes(tiny_weights.read_bytes())
    Picture(make_photo(20, 30)).save(folder / "a.png")
    done = subprocess.run(
        command(*(word.format(folder=folder, odd=odd) for word in words.split())),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf\\udce9" in done.stdout


def test_a_demo_of_a_name_that_is_no_text_ends_well(tmp_path: Path, tiny_weights: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    try:
        Picture(make_photo(80, 90)).save(path)
    except PictureError:
        pytest.skip("this file system takes Unicode names only")
    done = subprocess.run(
        command("demo", "-n", tiny_weights, "--picture", path, "-o", tmp_path / "sheet.png"),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf\\udce9.png: 88x80" in done.stdout


def test_nothing_in_a_picture_writes_lines_of_its_own(cli: Cli, tmp_path: Path, tiny_weights: Path) -> None:
    picture = Picture(make_photo(20, 30))
    picture.save(tmp_path / "a\nerror: forged.png")
    odd = tmp_path / "b.png"
    plain = encode_picture(picture, "png")
    odd.write_bytes(plain[:33] + chunk(b"tEXt", b"a\x1b[2Kb\nerror: forged\0text") + plain[33:])
    done = cli("upscale", tmp_path, "-n", tiny_weights, "--ext", "jpg")
    assert done.code == 0
    assert len(done.out.splitlines()) == 2 and "a\\nerror: forged_x4.jpg" in done.out
    [note] = done.err.splitlines()
    assert "\x1b" not in note and "a\\x1b[2Kb\\nerror: forged left out" in note
    objects = cli("upscale", tmp_path, "-n", tiny_weights, "--ext", "jpg", "--overwrite", "--json").objects
    assert Path(objects[0]["input"]).name == "a\nerror: forged.png"
    assert any("\x1b[2K" in text for text in objects[1]["notes"])


def test_names_that_the_output_cannot_spell_cost_no_picture(tmp_path: Path, tiny_weights: Path) -> None:
    for name in ("a.png", "猫.png", "z.png"):
        Picture(make_photo(20, 30)).save(tmp_path / name)
    done = subprocess.run(
        command("upscale", tmp_path, "-n", tiny_weights),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u732b_x4.png" in done.stdout
    assert len(list(tmp_path.glob("*_x4.png"))) == 3


def test_a_broken_pipe_of_somebody_else_is_no_reader_of_ours() -> None:
    with pytest.raises(BrokenPipeError), noticing_readers():
        raise BrokenPipeError

"""Upscaling needs neither torch nor anything else of the extras: it runs where they cannot be imported."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fourfold.imaging import Picture, read_picture
from tests.conftest import make_photo

#: All that only extras bring.
BLOCKED = ["torch", "lightning_fabric", "tensorboard", "scipy", "matplotlib", "jinja2", "fastapi"]
BLOCKED += ["uvicorn", "sqlalchemy", "skimage", "PIL", "onnx", "onnxruntime"]

#: Makes an interpreter in which these are as good as not installed.
BLOCK = f"""
import sys
from importlib.machinery import PathFinder

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""


def python(code: str, *arguments: object, block: str = BLOCK) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", block + code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def test_the_command_line_upscales(tmp_path: Path, tiny_weights: Path) -> None:
    source = Picture(make_photo(12, 16)).save(tmp_path / "a.png")
    done = python("from fourfold.cli import main; main()", "upscale", source, "-n", tiny_weights)
    assert done.returncode == 0, done.stderr
    assert read_picture(tmp_path / "a_x4.png").pixels.shape == (48, 64, 3)


def test_an_engine_that_is_not_installed_is_said_at_once(tmp_path: Path, tiny_weights: Path) -> None:
    source = Picture(make_photo(12, 16)).save(tmp_path / "a.png")
    done = python("from fourfold.cli import main; main()", "upscale", source, "-n", tiny_weights, "--engine", "torch")
    assert done.returncode == 1
    assert "pip install 'fourfold[torch]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("missing", "engine", "code"),
    [("'openvino'", "openvino", 1), ("'openvino', 'torch'", "auto", 1), ("'openvino'", "auto", 0)],
)
def test_a_missing_openvino_is_said_as_well_and_torch_does(
    missing: str, engine: str, code: int, tmp_path: Path, tiny_weights: Path
) -> None:
    source = Picture(make_photo(12, 16)).save(tmp_path / "a.png")
    without = BLOCK.replace("'torch'", missing)
    command = "from fourfold.cli import main; main()"
    done = python(command, "upscale", source, "-n", tiny_weights, "--engine", engine, block=without)
    assert done.returncode == code, done.stderr
    assert ("the openvino engine needs openvino, which is not installed; pip install 'openvino'" in done.stderr) == code


def test_python_is_told_of_a_missing_engine(tiny_weights: Path) -> None:
    code = """
import fourfold
from fourfold.errors import EngineError
try:
    fourfold.load(sys.argv[1], engine="torch")
except EngineError as error:
    print(error)
"""
    done = python(code, tiny_weights)
    assert "pip install 'fourfold[torch]'" in done.stdout, done.stderr


def test_python_upscales(tmp_path: Path, tiny_weights: Path) -> None:
    code = """
import fourfold, numpy as np
upscaler = fourfold.load(sys.argv[1])
assert upscaler.engine == "openvino"
np.save(sys.argv[2], upscaler(np.load(sys.argv[3])))
for name in fourfold.__all__:
    getattr(fourfold, name)
"""
    picture = make_photo(12, 16)
    np.save(tmp_path / "lr.npy", picture)
    done = python(code, tiny_weights, tmp_path / "sr.npy", tmp_path / "lr.npy")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "sr.npy").shape == (48, 64, 3)


def test_models_doctor_and_help_work(tiny_weights: Path) -> None:
    for arguments in (["models", str(tiny_weights)], ["doctor", "--no-trial"], ["--help"], ["upscale", "--help"]):
        done = python("from fourfold.cli import main; main()", *arguments)
        assert done.returncode == 0, done.stderr
    assert (
        "pip install 'fourfold[torch]'"
        in python("from fourfold.cli import main; main()", "doctor", "--no-trial").stdout
    )


def test_importing_fourfold_imports_nothing() -> None:
    code = "import fourfold; print([m for m in ('numpy', 'pyvips', 'openvino', 'typer') if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_the_command_line_imports_little() -> None:
    code = """
import fourfold.cli.upscale, fourfold.upscaling.files, fourfold.upscaling.outputs
print([m for m in ('rich.progress', 'urllib.request', 'asyncio') if m in sys.modules])
"""
    assert python(code).stdout.strip() == "[]"

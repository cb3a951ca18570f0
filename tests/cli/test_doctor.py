"""``fourfold doctor``."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from fourfold import memory
from fourfold.cli.extras import EXTRAS, extra_with
from fourfold.upscaling import auto_precision
from tests.cli.running import Cli


def test_it_tells_what_works(cli: Cli, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    findings = json.loads(cli("doctor", "--json", "-n", tiny_weights).out)
    openvino, torch = findings["engines"]
    assert openvino["works"] and openvino["fp32"]["output_megapixels_per_s"] > 0
    assert torch == {"name": "torch", "works": False, "problem": "not installed; pip install 'fourfold[torch]'"}
    assert findings["pictures"]["formats"]["avif"] == ["read", "write"]
    assert findings["libraries"]["numpy"]
    assert findings["machine"]["cores"] >= 1


def test_the_text_has_everything(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    done = cli("doctor", "--no-trial")
    assert done.code == 0
    for word in ("fourfold", "processor", "memory", "openvino", "torch", "pictures", "models", "libraries"):
        assert word in done.out


@pytest.mark.parametrize(("fast", "text"), [(True, "auto is bf16 for 8 bits, fp32 for more"), (False, "auto is fp32")])
def test_it_says_what_auto_is(fast: bool, text: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: fast)
    assert f"; {text}\n" in cli("doctor", "--no-trial").out
    auto = json.loads(cli("doctor", "--no-trial", "--json").out)["engines"][0]["auto"]
    assert auto == {"uint8": "bf16" if fast else "fp32", "uint16": "fp32", "float32": "fp32"}


def test_auto_is_that_of_the_model(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks on luma stay in fp32."""
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: True)
    assert "; auto is fp32\n" in cli("doctor", "--no-trial", "-n", "espcn").out
    assert "; auto is bf16 for 8 bits" in cli("doctor", "--no-trial", "-n", "srresnet-mse").out
    done = cli("doctor", "--no-trial", "-n", "nonsense")
    assert done.code == 2 and "no model 'nonsense'" in done.err


def test_it_says_that_bf16_is_not_to_be_had(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: False)
    done = cli("doctor")
    assert done.code == 0 and "; bf16 not on this processor; auto is fp32\n" in done.out


def test_it_tells_what_it_can_where_no_weights_are_shipped(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    monkeypatch.setattr("fourfold.weights.catalogue.SHIPPED", tmp_path)
    done = cli("doctor")
    assert done.code == 0, done.err
    assert "none shipped; default: none" in done.out and "openvino   on cpu; auto is" in done.out


def test_it_fails_where_nothing_can_upscale(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", list)
    done = cli("doctor")
    assert done.code == 1 and "pip install openvino" in done.out


@pytest.mark.parametrize("trial", ["--trial", "--no-trial"])
def test_an_engine_that_cannot_be_loaded_is_told(trial: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a torch whose CUDA libraries are missing: there, but not to be imported."""

    def fail(name: str, dtype: str) -> str:
        if name == "torch":
            raise OSError("libcudnn.so.9: cannot open shared object file")
        return auto_precision(name, dtype)

    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino", "torch"])
    monkeypatch.setattr("fourfold.upscaling.auto_precision", fail)
    done = cli("doctor", trial)
    assert done.code == 0
    assert "installed, but cannot be loaded: libcudnn.so.9" in done.out


def test_a_wrong_name_is_no_engines_fault(cli: Cli) -> None:
    done = cli("doctor", "-n", "srresnet-mes")
    assert done.code == 2 and "srresnet-mse" in done.err and done.out == ""


@pytest.mark.parametrize(
    ("current", "stat", "free"), [(3 << 30, "", 1 << 30), (5 << 30, "", 0), (3 << 30, "1", 2 << 30)]
)
def test_a_containers_memory(
    current: int, stat: str, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{4 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{current}\n")
    (tmp_path / "memory.stat").write_text(f"anon 7\ninactive_file {1 << 30}\n" if stat else "anon 7\n")
    assert memory.system_memory() == (4 << 30, free)
    (tmp_path / "memory.max").write_text("max\n")
    total, available = memory.system_memory()
    assert total is not None and available is not None and available <= total


#: what a distribution is called, where its module is called otherwise
MODULES = {"scikit-image": "skimage", "pillow": "PIL"}


def test_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    del project["dev"]
    names = {extra: [re.split(r"[\[>=]", line)[0] for line in lines] for extra, lines in project.items()}
    modules = {extra: tuple(MODULES.get(n, n.replace("-", "_")) for n in found) for extra, found in names.items()}
    assert {extra: set(found) for extra, found in modules.items()} == {e: set(found) for e, found in EXTRAS.items()}
    assert extra_with("prometheus_client.core") == "web" and extra_with("json") is None


def test_missing_extras_are_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    monkeypatch.setitem(EXTRAS, "web", ("no_such_module", "json"))
    assert "no_such_module: pip install 'fourfold[web]'" in cli("doctor", "--no-trial").out


def test_psnr_hangs_from_it(cli: Cli) -> None:
    done = cli("doctor", "--help")
    assert done.code == 0 and "psnr" in done.out

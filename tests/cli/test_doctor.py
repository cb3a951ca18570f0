"""``fourfold doctor``."""

import json
from pathlib import Path

import pytest

from fourfold.cli import doctor
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


def test_it_fails_where_nothing_can_upscale(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", list)
    done = cli("doctor")
    assert done.code == 1 and "pip install openvino" in done.out


def test_missing_extras_are_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.available", lambda: ["openvino"])
    monkeypatch.setattr(doctor, "_EXTRAS", {"web": ("no_such_module", "json")})
    assert "no_such_module: pip install 'fourfold[web]'" in cli("doctor", "--no-trial").out


def test_psnr_hangs_from_it(cli: Cli) -> None:
    done = cli("doctor", "--help")
    assert done.code == 0 and "psnr" in done.out

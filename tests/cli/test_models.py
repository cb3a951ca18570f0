"""``fourfold models``."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from fourfold.weights import WeightsConfig, catalogue, read_config, write_weights
from tests.cli.running import Cli
from tests.conftest import make_tensors


def test_a_weights_file(cli: Cli, tiny_weights: Path) -> None:
    done = cli("models", tiny_weights)
    assert done.code == 0
    assert "11,576 parameters" in done.out and "blocks 2" in done.out
    row = json.loads(cli("models", tiny_weights, "--json").out)
    assert row["name"] == "tiny" and row["parameter_count"] == 11_576 and len(row["sha256"]) == 64


def test_the_shipped_models(cli: Cli, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srgan-vgg54.safetensors").write_bytes(tiny_weights.read_bytes())
    (tmp_path / "srgan-vgg54.md").write_text("# card")
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path)
    done = cli("models")
    assert done.code == 0 and "srgan-vgg54, srgan  (default)" in done.out
    (row,) = json.loads(cli("models", "--json").out)
    assert row["default"] is True and row["architecture"] == "srresnet"
    done = cli("models", "srgan")
    assert str(tmp_path / "srgan-vgg54.md") in done.out
    done = cli("models", "srgann")
    assert done.code == 2 and "did you mean 'srgan'" in done.err


@pytest.mark.parametrize(
    ("model", "default"),
    [
        ("srgan-plus", True),
        ("shipped/srgan-plus.safetensors", True),
        ("mine/srgan-plus.safetensors", False),
        ("espcn", False),
        ("mine/other.safetensors", False),
    ],
)
def test_only_the_shipped_file_is_the_default(
    model: str, default: bool, cli: Cli, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("shipped/srgan-plus", "shipped/espcn", "mine/srgan-plus", "mine/other"):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiny_weights.read_bytes())
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    assert json.loads(cli("models", model, "--json").out)["default"] is default


def test_nothing_shipped(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path)
    done = cli("models")
    assert done.code == 0 and "no weights are shipped" in done.err
    assert json.loads(cli("models", "--json").out) == []


def test_a_damaged_file(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(tiny_weights.read_bytes()[:-10])
    done = cli("models", path)
    assert done.code == 1 and "damaged" in done.err


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "\x1b]0;title\x07"), ("updates", "many"), ("scores", [1, 2]), ("content_scale", "x"), ("data", ["a"])],
)
def test_a_header_that_cannot_be_shown(cli: Cli, tmp_path: Path, field: str, value: object) -> None:
    parameters = {"blocks": 1, "width": 4}
    header = {"architecture": "srresnet", "parameters": parameters, field: value}
    path = tmp_path / "odd.safetensors"
    save_file(make_tensors("srresnet", parameters), path, metadata={"fourfold": json.dumps(header)})
    done = cli("models", path)
    assert done.code == 1 and done.out == ""
    assert f"odd.safetensors: '{field}' in Fourfold's header" in done.err and "\x1b" not in done.err


def test_json_holds_what_json_can(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {"blocks": 1, "width": 4}
    config = WeightsConfig(
        "srresnet",
        parameters,
        name="odd",
        scores={"Set5": {"psnr_y": float("inf"), "niqe": float("nan"), "lr_psnr": 50.0}},
        recipe={"loss": [{"weight": float("-inf")}, 1, None, True]},
    )
    path = write_weights(tmp_path / "odd.safetensors", config, make_tensors("srresnet", parameters))

    def refuse(constant: str) -> None:
        pytest.fail(constant)

    row = json.loads(cli("models", path, "--json").out, parse_constant=refuse)
    assert row["scores"] == {"Set5": {"psnr_y": "inf", "niqe": "nan", "lr_psnr": 50.0}}
    assert row["recipe"] == {"loss": [{"weight": "-inf"}, 1, None, True]}
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path)
    (row,) = json.loads(cli("models", "--json").out, parse_constant=refuse)
    assert row["scores"]["Set5"]["psnr_y"] == "inf"


def test_a_closed_folder(cli: Cli, closed: Path) -> None:
    done = cli("models", closed / "e2.safetensors")
    assert done.code == 2 and "e2.safetensors: cannot be read (Permission denied)" in done.err


def test_scores_are_shown() -> None:
    from dataclasses import replace

    from fourfold.cli.models import _scores

    config = replace(read_config_of_nothing(), scores={"Set5": {"niqe": 5, "psnr_y": 31.987, "other": 1}, "note": "x"})
    assert _scores(config) == ["Set5 31.99 dB, NIQE 5.00"]


def read_config_of_nothing() -> object:
    from fourfold.weights import WeightsConfig

    assert callable(read_config)
    return WeightsConfig("srresnet")

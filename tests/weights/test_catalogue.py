"""Shipped models, and the far ends of their fidelity dials."""

from pathlib import Path
from typing import Any

import pytest

from fourfold.errors import UsageError, WeightsError
from fourfold.upscaling.upscaler import resolve
from fourfold.weights import FAITHFUL, WeightsConfig, faithful_end, load_weights, locate, shipped_names, write_weights
from tests.conftest import make_tensors

PARAMETERS = {"blocks": 1, "width": 8}


@pytest.mark.parametrize("name", shipped_names())
def test_the_far_end_of_a_shipped_model_is_faithful_and_of_its_kind(name: str) -> None:
    weights = load_weights(name)
    if weights.config.architecture != "srresnet":
        with pytest.raises(UsageError, match=f"no fidelity between {name}"):
            resolve(name, fidelity=0.5)
        return
    end = faithful_end(locate(name))
    assert not load_weights(end).config.recipe["loss"]["adversarial"]
    assert faithful_end(locate(end)) == end
    assert end == name or weights.config.recipe["init"] in (end, *shipped_names())
    statistics = [key for key in weights.tensors if ".running_" in key]
    assert statistics, "a mixture needs statistics that belong to both ends"
    for key in statistics:
        assert (weights.tensors[key] == load_weights(end).tensors[key]).all()
    if end != name:  # measured anew whenever one of the two was: scripts/dial.py
        assert weights.config.dial["faithful"] == load_weights(end).tensors_sha256


@pytest.mark.parametrize(
    ("init", "end"),
    [
        (None, FAITHFUL),
        ("srresnet-mse", "srresnet-mse"),
        ("srresnet-plus", "srresnet-plus"),
        ("srresnet", "srresnet-mse"),  # another name
        ("mine.safetensors", FAITHFUL),
        ("srresnet-mse, after some updates", FAITHFUL),
        (["srresnet-mse"], FAITHFUL),
        (7, FAITHFUL),
    ],
)
def test_the_far_end_of_a_file_is_what_its_header_says_that_it_began_from(tmp_path: Path, init: Any, end: str) -> None:
    path = tmp_path / "srgan-plus.safetensors"  # the name is no shipped model's file
    config = WeightsConfig("srresnet", PARAMETERS, name="srgan-plus", recipe={} if init is None else {"init": init})
    write_weights(path, config, make_tensors("srresnet", PARAMETERS))
    assert faithful_end(path) == end


def test_what_began_from_a_photo_realistic_network_goes_back_to_where_that_began(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    config = WeightsConfig("srresnet", PARAMETERS, recipe={"init": "srgan-mse"})
    write_weights(path, config, make_tensors("srresnet", PARAMETERS))
    assert faithful_end(path) == faithful_end(locate("srgan-mse"))


def test_a_shipped_file_that_went_on_from_itself_is_its_own_far_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.weights.catalogue.SHIPPED", tmp_path)
    for name, init in (("a", "a"), ("b", "c"), ("c", "b")):
        config = WeightsConfig("srresnet", PARAMETERS, name=name, recipe={"init": init})
        write_weights(tmp_path / f"{name}.safetensors", config, make_tensors("srresnet", PARAMETERS))
    assert [faithful_end(tmp_path / f"{name}.safetensors") for name in "abc"] == ["a", "c", "b"]


def test_a_shipped_file_is_known_by_any_path_to_it(tmp_path: Path) -> None:
    for name in ("srresnet-mse", "my own"):
        (tmp_path / f"{name}.safetensors").symlink_to(locate("srresnet-mse"))
        assert faithful_end(tmp_path / f"{name}.safetensors") == "srresnet-mse"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError):
        faithful_end(tmp_path / "broken.safetensors")

"""The models that a server offers."""

from pathlib import Path

import pytest

from fourfold.errors import UnknownModelError, UsageError
from fourfold.serving import served_models
from fourfold.serving.models import WORDS
from fourfold.weights import FAITHFUL, WeightsConfig, default_name, shipped_names, write_weights
from tests.conftest import make_tensors


def test_all_that_are_shipped_with_the_everyday_ones_first() -> None:
    served = served_models([])
    assert set(served) == set(shipped_names())
    assert list(served)[:2] == [default_name(), FAITHFUL]
    assert set(served) <= set(WORDS), "each has a title and a line about it"


def test_those_that_are_named_in_their_order(tiny_weights: object) -> None:
    assert served_models(["srresnet", str(tiny_weights)]) == {"srresnet-mse": "srresnet-mse", "tiny": str(tiny_weights)}


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(UnknownModelError, match="no model 'sergan'"):
        served_models(["sergan"])


@pytest.mark.parametrize("scale", [2, 8])
def test_a_model_of_another_scale(tmp_path: Path, scale: int) -> None:
    parameters = {"blocks": 1, "width": 8, "scale": scale}
    path = tmp_path / "other.safetensors"
    write_weights(path, WeightsConfig("srresnet", parameters), make_tensors("srresnet", parameters))
    with pytest.raises(UsageError, match=f"enlarges {scale} times; the server serves models that enlarge 4 times"):
        served_models([str(path)])

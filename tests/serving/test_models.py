"""The models that a server offers."""

from pathlib import Path

import pytest

from fourfold.errors import UnknownModelError, UsageError
from fourfold.serving import Settings, served_models
from fourfold.serving.models import WORDS, model_view
from fourfold.weights import FAITHFUL, FOR_COMPRESSED, WeightsConfig, default_name, shipped_names, write_weights
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


@pytest.mark.parametrize(
    ("names", "default", "clean", "stored"),
    [
        ([], "", default_name(), FOR_COMPRESSED),
        ([default_name()], "", default_name(), default_name()),  # no other is served
        ([FAITHFUL, FOR_COMPRESSED], "", FAITHFUL, FAITHFUL),  # those who serve the faithful one first want it
        ([], FAITHFUL, FAITHFUL, FAITHFUL),
        ([], default_name(), default_name(), default_name()),
    ],
)
def test_a_picture_whose_client_names_none(names: list[str], default: str, clean: str, stored: str) -> None:
    settings = Settings(models=served_models(names), default_model=default)
    assert [settings.suited(compressed) for compressed in (False, True)] == [clean, stored]
    views = [model_view(name, settings) for name in settings.models]
    assert [view.name for view in views if view.default] == [clean]
    assert [view.name for view in views if view.for_compressed] == [stored]

"""The mean of several networks."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fourfold.errors import UsageError
from fourfold.weights import WeightsConfig, load_weights, read_weights, write_weights
from scripts.mean import mean
from tests.conftest import make_tensors


def network(path: Path, seed: int, blocks: int = 1) -> Path:
    parameters = {"blocks": blocks, "width": 4}
    config = WeightsConfig("srresnet", parameters, name=path.stem, updates=seed)
    return write_weights(path, config, make_tensors("srresnet", parameters, seed))


def test_the_mean_of_three(tmp_path: Path) -> None:
    paths = [network(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate("abc", 1)]
    target = tmp_path / "mean.safetensors"
    mean([read_weights(path) for path in paths], target)
    found, parts = read_weights(target), [read_weights(path) for path in paths]
    assert (found.config.name, found.config.updates, found.config.scores) == ("mean of a, b, c", 0, {})
    assert "fidelity" not in found.config.device
    for name, tensor in found.tensors.items():
        np.testing.assert_allclose(tensor, sum(part.tensors[name] for part in parts) / 3, atol=1e-6)


def test_a_network_is_its_own_mean(tmp_path: Path) -> None:
    model = load_weights("srresnet-mse")
    mean([model] * 3, tmp_path / "same.safetensors")
    same = read_weights(tmp_path / "same.safetensors")
    assert all(np.array_equal(same.tensors[name], tensor) for name, tensor in model.tensors.items())


def test_networks_of_other_shapes_have_none(tmp_path: Path) -> None:
    one, other = network(tmp_path / "one.safetensors", 1), network(tmp_path / "other.safetensors", 2, blocks=2)
    with pytest.raises(UsageError, match="other"):
        mean([read_weights(one), read_weights(other)], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()


@pytest.mark.parametrize("model", ["no-such-model", "missing.safetensors"])
def test_a_model_that_is_not_there(model: str, tmp_path: Path) -> None:
    target = tmp_path / "mean.safetensors"
    command = [sys.executable, "-m", "scripts.mean", "srresnet-mse", model, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert model in done.stderr
    assert not target.exists()

"""The optional feature distances: named as what they are, and absent with a word where they cannot be had."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from fourfold.errors import EvaluationError, UsageError, WeightsError
from fourfold.evaluation.perceptual import lpips_distance, vgg_distance
from fourfold.evaluation.tables import MEASURES
from fourfold.imaging import imresize
from tests.conftest import make_photo

torch = pytest.importorskip("torch")


@pytest.fixture
def vgg_file(tmp_path: Path) -> Path:
    """The first four convolutions of a VGG19 with made-up weights: enough for phi_2,2."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    tensors = {}
    for index, (out, channels) in {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128)}.items():
        tensors[f"features.{index}.weight"] = rng.normal(0, np.sqrt(2 / (9 * channels)), (out, channels, 3, 3))
        tensors[f"features.{index}.bias"] = np.zeros(out)
    path = tmp_path / "vgg19.safetensors"
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, path)
    return path


def test_vgg_distance(vgg_file: Path) -> None:
    hr = make_photo(32, 32)
    blurred, little = imresize(imresize(hr, 0.25), 4), hr.copy()
    little[::7] ^= 1
    distance = vgg_distance(vgg_file, "22", normalisation="oxford")
    assert distance(hr, hr) == 0.0
    assert 0.0 < distance(little, hr) < distance(blurred, hr)


def test_it_is_relative_to_the_original(vgg_file: Path) -> None:
    from fourfold.networks import load_vgg19

    hr, sr = make_photo(32, 32), make_photo(32, 32, seed=1)
    network = load_vgg19(vgg_file, "22", "oxford")
    batch = [torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float32) / 255) for p in (sr, hr)]
    first, second = (network(b) for b in batch)
    by_hand = float((first - second).square().mean() / second.square().mean())
    assert vgg_distance(vgg_file, "22", normalisation="oxford")(sr, hr) == pytest.approx(by_hand, rel=1e-5)


def test_what_the_weights_were_trained_with_is_never_guessed(vgg_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from fourfold.cli.evaluate import _normalisation
    from fourfold.networks.vgg19_weights import stated_normalisation

    tensors = load_file(vgg_file)
    torch.save(tensors, tmp_path / "some.pth")
    for silent in (vgg_file, tmp_path / "some.pth"):
        assert stated_normalisation(silent) is None
        with pytest.raises(UsageError, match="--vgg-normalisation oxford or torchvision"):
            _normalisation(silent, None)
        assert _normalisation(silent, "torchvision") == "torchvision"
    save_file(tensors, tmp_path / "said.safetensors", {"normalisation": "torchvision"})
    assert _normalisation(tmp_path / "said.safetensors", None) == "torchvision"
    with pytest.raises(UsageError, match="it can be oxford or torchvision"):
        _normalisation(vgg_file, "caffe")


def test_a_file_that_is_not_vgg19(vgg_file: Path) -> None:
    with pytest.raises(WeightsError, match="missing"):
        vgg_distance(vgg_file, "54", normalisation="oxford")


def test_both_layers_of_the_papers_content_losses_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from fourfold.cli import evaluate

    monkeypatch.setattr(
        "fourfold.evaluation.perceptual.vgg_distance", lambda _, layer, *, normalisation: f"{layer} {normalisation}"
    )
    assert evaluate._extra(Path("vgg19.pth"), "oxford", lpips=False) == {"vgg22": "22 oxford", "vgg54": "54 oxford"}
    assert evaluate._extra(None, None, lpips=False) == {}
    assert list(MEASURES).index("vgg22") + 1 == list(MEASURES).index("vgg54")


def test_lpips_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(EvaluationError, match="pip install lpips"):
        lpips_distance()


def test_lpips_whose_weights_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**settings: object) -> None:
        raise OSError("no network")

    module = types.ModuleType("lpips")
    module.LPIPS = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", module)
    with pytest.raises(EvaluationError, match="no network"):
        lpips_distance()


def test_lpips_is_given_minus_one_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()

        def forward(self, sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
            return torch.stack([sr.amin(), hr.amax()]).abs().sum()

    module = types.ModuleType("lpips")
    module.LPIPS = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", module)
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert lpips_distance()(black, white) == pytest.approx(2.0)

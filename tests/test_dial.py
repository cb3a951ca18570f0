"""Colours half way on the fidelity dial: measured, and stored in the header."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fourfold
from fourfold.errors import UsageError
from fourfold.imaging import imresize
from fourfold.training.centring import centred, colour_cast
from fourfold.upscaling import interpolate
from fourfold.weights import load_weights, read_weights, write_weights
from scripts.dial import measure, store
from tests.conftest import make_photo


def pictures(count: int = 3) -> list[np.ndarray]:
    """Soft pictures that stay away from black and white, where a tint would be cut off."""
    noise = np.random.default_rng(0)
    return [imresize(noise.integers(60, 196, (12, 12, 3), dtype=np.uint8), 4) for _ in range(count)]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A copy of a shipped network, 12 of 255 too light."""
    shipped = load_weights("srresnet-mse")
    return write_weights(tmp_path / "mine.safetensors", shipped.config, centred(shipped, np.full(3, -12 / 255)))


def test_what_is_measured_takes_the_tint_away(network: Path) -> None:
    mine, faithful = read_weights(network), load_weights("srresnet-mse")
    dial = measure(mine, faithful, pictures())
    assert dial["faithful"] == faithful.tensors_sha256
    store(mine, dial)
    again = read_weights(network)
    assert again.config == replace(mine.config, dial=dial)
    assert all((again.tensors[name] == tensor).all() for name, tensor in mine.tensors.items())
    casts = [
        colour_cast(fourfold.Upscaler(interpolate(again, faithful, 0.5, corrected=c), precision="fp32"), pictures(), 4)
        for c in (False, True)
    ]
    np.testing.assert_allclose(casts[0] * 255, 6, atol=0.3)
    np.testing.assert_allclose(casts[1] * 255, 0, atol=0.1)


def test_halves_stay_halves_and_the_card_tells_the_new_hash(tmp_path: Path, network: Path) -> None:
    mine = read_weights(network)
    half = read_weights(write_weights(tmp_path / "half.safetensors", mine.config, mine.tensors, half=True))
    card = tmp_path / "half.md"
    card.write_text(f"# Größe\n\n| sha256 | `{half.sha256}` |\n", encoding="utf-8")
    dial = {"faithful": "0f" * 32, "matrix": [[0.0] * 3] * 3, "offset": [0.0] * 3}
    store(half, dial)
    again = read_weights(half.path)
    assert again.path.stat().st_size < network.stat().st_size * 0.6
    assert again.tensors_sha256 == half.tensors_sha256
    assert card.read_text(encoding="utf-8") == f"# Größe\n\n| sha256 | `{again.sha256}` |\n"


def test_between_a_network_and_itself_lies_nothing(network: Path) -> None:
    with pytest.raises(UsageError, match="are the same network"):
        measure(read_weights(network), read_weights(network), pictures())


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        ("no-such-model", [], "no-such-model"),
        ("missing.safetensors", [], "missing.safetensors"),
        ("MINE", ["--faithful", "espcn"], "no fidelity between"),
        ("MINE", ["--faithful", "no-such-model"], "no-such-model"),
        ("MINE", ["--faithful", ""], "model"),
        ("MINE", ["--data", "no-such-folder"], "no-such-folder"),
        ("MINE", ["--data", "EMPTY"], "no picture"),
    ],
)
def test_what_cannot_be_done(model: str, options: list[str], told: str, tmp_path: Path, network: Path) -> None:
    (tmp_path / "EMPTY").mkdir()
    Image.fromarray(make_photo(40, 40)).save(tmp_path / "photo.png")
    words = {"MINE": str(network), "EMPTY": str(tmp_path / "EMPTY")}
    command = [sys.executable, "scripts/dial.py", model, "--data", str(tmp_path), *options]
    before = network.read_bytes()
    done = subprocess.run(
        [words.get(word, word) for word in command], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert network.read_bytes() == before

"""Validation: pictures without an error, pictures of the same name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fourfold.errors import DataError
from fourfold.imaging import Picture, imresize
from fourfold.networks import build
from fourfold.training.jpeg import round_trip
from fourfold.training.processes import make_fabric
from fourfold.training.recipe import load_recipe
from fourfold.training.restoring import reach_px, restore_whole
from fourfold.training.validation import LARGEST_PSNR, Validator
from tests.conftest import make_photo


class Black(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(1, 3, 4 * x.shape[2], 4 * x.shape[3])


def test_a_picture_without_an_error_counts_for_a_hundred(tmp_path: Path) -> None:
    Picture(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "black.png")
    Picture(np.full((40, 40, 3), 255, np.uint8)).save(tmp_path / "white.png")
    scores = Validator(tmp_path, 4).score(Black(), make_fabric("cpu", "fp32")).scores
    white = 20 * np.log10(255 / 219)  # luma in studio range: 16 to 235
    assert scores["psnr_y"] == pytest.approx((LARGEST_PSNR + white) / 2, abs=1e-4)


def test_pictures_of_one_name_have_sheets_of_their_own(tmp_path: Path) -> None:
    for k, name in enumerate(("a.png", "one/a.png", "two/A.jpg", "two/a-2.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Picture(make_photo(40, 40, seed=k)).save(tmp_path / name)
    found = Validator(tmp_path, 4).score(Black(), make_fabric("cpu", "fp32"))
    names = [name for name, _ in found.sheets]
    assert names[0] == "a"
    assert len({name.casefold() for name in names}) == 4


def test_the_content_loss_looks_through_the_zoom_of_training(tmp_path: Path) -> None:
    picture = make_photo(40, 56)
    picture[10:30, 14:42] = 51
    Picture(picture).save(tmp_path / "a.png")
    seen = []

    def features(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    validator = Validator(tmp_path, 4, features=features, content_scale=3.0, content_zoom=2.0)
    loss = validator.score(Black(), make_fabric("cpu", "fp32")).scores["content_loss"]
    assert [tuple(x.shape) for x in seen] == [(1, 3, 40, 56)] * 2
    assert torch.allclose(seen[1], torch.tensor(0.2))
    assert loss == pytest.approx(3 * 0.2**2)
    whole = Validator(tmp_path, 4, features=features, content_scale=3.0)
    whole.score(Black(), make_fabric("cpu", "fp32"))
    assert np.allclose(seen[3][0].permute(1, 2, 0), picture / 255)


@pytest.mark.parametrize("name", ["srresnet-mse", "srcnn", "espcn", "drcn"])
def test_tiles_make_the_same_picture(name: str) -> None:
    small = {"srresnet-mse": {"blocks": 2, "width": 8}, "drcn": {"recursions": 3, "width": 8}}.get(name, {})
    network = load_recipe(name).network
    parameters = {**network.parameters, **small}
    torch.manual_seed(0)
    generator = build(network.architecture, parameters).eval()
    lr = torch.from_numpy(make_photo(90, 70).astype(np.float32) / 255).permute(2, 0, 1)[None]
    fabric, halo = make_fabric("cpu", "fp32"), reach_px(network.architecture, parameters)
    whole = restore_whole(generator, lr, 4, halo, fabric)
    tiled = restore_whole(generator, lr, 4, halo, fabric, most_px=(2 * halo + 20) ** 2)
    assert whole.shape == tiled.shape == (3, 360, 280)
    assert float((whole - tiled).abs().max()) < 1e-5


def test_the_content_of_large_pictures_is_that_of_their_middles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Picture(make_photo(40, 56)).save(tmp_path / "a.png")
    monkeypatch.setattr("fourfold.training.validation.CONTENT_PX", 24)
    seen = []

    def features(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x

    Validator(tmp_path, 4, features=features, content_scale=1.0).score(Black(), make_fabric("cpu", "fp32"))
    assert seen == [(1, 3, 24, 24)] * 2


def test_closed_folders(closed: Path) -> None:
    with pytest.raises(DataError, match=r"--valid .*closed/x: cannot be read \(Permission denied\)"):
        Validator(closed / "x", 4)
    with pytest.raises(DataError, match=r"--valid .*closed: cannot be read \(Permission denied\)"):
        Validator(closed, 4)


def test_pictures_are_shrunk_as_in_training(tmp_path: Path) -> None:
    Picture(make_photo(40, 40)).save(tmp_path / "a.png")
    usual, blurred = Validator(tmp_path, 4), Validator(tmp_path, 4, degradation="gaussian")
    assert np.array_equal(blurred.pairs[0][0], imresize(make_photo(40, 40), 0.25, kernel="gaussian"))
    assert blurred.identity == f"{usual.identity}, gaussian"  # whose scores do not compare


def test_pictures_are_compressed_as_in_training_at_qualities_from_end_to_end(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        Picture(make_photo(40, 40, seed=seed)).save(tmp_path / f"{name}.png")
    usual, stored = Validator(tmp_path, 4), Validator(tmp_path, 4, jpeg_quality=(50, 90))
    for (lr, _), (found, _), quality in zip(usual.pairs, stored.pairs, (50, 70, 90), strict=True):
        assert np.array_equal(found, round_trip(lr, quality))
        assert not np.array_equal(found, lr)
    assert stored.identity == f"{usual.identity}, JPEG 50..90"  # whose scores do not compare

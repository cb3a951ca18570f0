from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fourfold.errors import DataError
from fourfold.imaging import Picture, imresize
from fourfold.training.bank import Bank
from fourfold.training.batches import Batches
from fourfold.training.data import DataSource, open_bank
from fourfold.training.degradation import Degradation
from fourfold.training.recipe import DataSettings
from fourfold.training.sampler import CropSampler
from fourfold.training.shrinking import Shrinking
from tests.conftest import make_photo

CPU = torch.device("cpu")


def settings(**values: object) -> DataSettings:
    return DataSettings.model_validate({"crop_px": 16, "batch": 4, "workers": 2, "shrink_share": 0.75, **values})


def open_pictures(folder: Path, data: DataSettings, *sizes: tuple[int, int]) -> tuple[Bank, list[NDArray[np.uint8]]]:
    pictures = [make_photo(height, width, seed=k) for k, (height, width) in enumerate(sizes)]
    for k, picture in enumerate(pictures):
        Picture(picture).save(folder / f"{k}.png")
    return open_bank(DataSource([folder]), data, 4, CPU, default_cache=folder / "decoded")[0], pictures


def batches_of(bank: Bank, data: DataSettings, **values: int) -> Batches:
    sampler = CropSampler(bank.heights, bank.widths, data, seed=1, **values)
    return Batches(bank, sampler, Degradation(data, 4, CPU), CPU)


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_a_crop_is_a_part_of_its_picture_shrunk(tmp_path: Path, kind: str) -> None:
    data = settings(bank=kind)
    bank, pictures = open_pictures(tmp_path, data, (40, 60), (33, 29), (16, 50), (64, 64), (21, 16))
    sampler = CropSampler(bank.heights, bank.widths, data, seed=1)
    batches = batches_of(bank, data)
    shrunk = 0
    for _ in range(30):
        crops, (_, hr) = sampler.draw(), batches.next()
        for k, found in enumerate(hr.permute(0, 2, 3, 1).numpy()):
            top, left, side = (int(field[k]) for field in (crops.top, crops.left, crops.side))
            part = pictures[int(crops.picture[k])][top : top + side, left : left + side]
            assert part.shape == (side, side, 3), "it lies in its picture"
            part = part[:: -1 if crops.flip_rows[k] else 1, :: -1 if crops.flip_columns[k] else 1]
            expected = imresize(part.transpose(1, 0, 2) if crops.transpose[k] else part, size=(16, 16))
            apart = np.abs(np.rint(found * 255).astype(int) - expected.astype(int))
            assert apart.max() <= 1  # float32 against float64: a tie may fall the other way
            assert (apart == 0).mean() > 0.98
            if side == 16:
                assert not apart.any()
            shrunk += side > 16
    assert shrunk > 30


def test_shrunk_crops_are_on_the_8_bit_grid_and_laid_out_as_others() -> None:
    shrink = Shrinking(settings(), CPU)
    parts = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    crops = shrink(parts, torch.tensor([16, 23, 32]))
    assert crops.shape == (3, 3, 16, 16)
    assert torch.equal(crops, (crops * 255).round() / 255)
    assert crops.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(crops[0], parts[0, :, :16, :16] / 255.0)
    beyond = parts.clone()
    beyond[1, :, 23:] = 0
    beyond[1, :, :, 23:] = 255
    assert torch.equal(shrink(beyond, torch.tensor([16, 23, 32]))[1], crops[1])


def test_factors_fill_their_range_and_share() -> None:
    sizes = torch.full((8,), 400)
    sampler = CropSampler(sizes, sizes, settings(batch=8, shrink=[0.25, 0.5]), seed=0)
    sides = torch.cat([sampler.draw().side for _ in range(500)])
    whole = sides == 16
    assert abs(float(whole.float().mean()) - 0.25) < 0.03
    assert (int(sides[~whole].min()), int(sides.max())) == (32, 64)
    factors = 16 / sides[~whole].double()
    assert abs(float(factors.mean()) - 0.375) < 0.01


def test_small_pictures_are_shrunk_as_far_as_they_reach() -> None:
    heights, widths = torch.full((4,), 20), torch.full((4,), 90)
    sampler = CropSampler(heights, widths, settings(shrink_share=1.0, shrink=[0.2, 0.5]), seed=0)
    for _ in range(20):
        crops = sampler.draw()
        assert crops.side.tolist() == [20] * 4
        assert crops.top.tolist() == [0] * 4


def test_without_a_share_crops_are_drawn_as_ever() -> None:
    sizes = torch.full((6,), 70)
    sampler = CropSampler(sizes, sizes, settings(shrink_share=0.0), seed=3)
    crops = sampler.draw()
    assert crops.side.tolist() == [16] * 4
    # what this seed has always given: runs of before go on as they would have
    assert crops.picture.tolist() == [4, 0, 3, 2]
    assert crops.top.tolist() == [26, 21, 32, 5]
    assert sampler.draw().left.tolist() == [52, 30, 24, 31]


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_shrunk_batches_resume_exactly_and_are_shared_out(tmp_path: Path, kind: str) -> None:
    data = settings(bank=kind)
    bank, _ = open_pictures(tmp_path, data, *[(50, 60)] * 6)
    batches = batches_of(bank, data)
    batches.next()
    state = batches.state_dict()
    expected = [batches.next() for _ in range(3)]
    again = batches_of(bank, data)
    again.load_state_dict(state)
    halves = [batches_of(bank, data, rank=rank, world_size=2) for rank in (0, 1)]
    for half in halves:
        half.next()
    for lr, hr in expected:
        found_lr, found_hr = again.next()
        assert torch.equal(found_lr, lr)
        assert torch.equal(found_hr, hr)
        parts = [half.next() for half in halves]
        assert torch.equal(torch.cat([part for _, part in parts]), hr)


def test_pictures_with_lr_of_their_own_are_not_shrunk(tmp_path: Path) -> None:
    for name, side in (("hr", 64), ("lr", 16)):
        (tmp_path / name).mkdir()
        Picture(make_photo(side, side)).save(tmp_path / name / "a.png")
    source = DataSource([tmp_path / "hr"], tmp_path / "lr")
    with pytest.raises(DataError, match=r"data\.shrink_share"):
        open_bank(source, settings(), 4, CPU, default_cache=tmp_path / "decoded")

"""LR as JPEG leaves it: the same as libjpeg makes of it, settled by each crop's place alone."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch

from fourfold.training.batches import Batches
from fourfold.training.data import DataSource, open_bank
from fourfold.training.degradation import Degradation, to_unit
from fourfold.training.jpeg import Compression, round_trip
from fourfold.training.recipe import DataSettings
from fourfold.training.sampler import Crops, CropSampler
from tests.conftest import make_photo

CPU = torch.device("cpu")
SIDE = 48


def settings(**changes: object) -> DataSettings:
    values = {"crop_px": 4 * SIDE, "batch": 4, "jpeg_share": 1.0}
    return DataSettings.model_validate(values | changes)


def compression(**changes: object) -> Compression:
    return Compression(settings(**changes), 4, CPU)


def pictures(count: int, side: int = SIDE) -> torch.Tensor:
    photos = np.stack([make_photo(side, side, seed=k) for k in range(count)])
    return to_unit(torch.from_numpy(photos).permute(0, 3, 1, 2))


def drawn(count: int) -> Crops:
    sizes = torch.full((count,), 999)
    return CropSampler(sizes, sizes, settings(batch=count), seed=0).draw()


@pytest.mark.parametrize("full_colour", [False, True])
@pytest.mark.parametrize("quality", [40, 50, 75, 90, 98])
def test_what_it_leaves_is_what_libjpeg_leaves(quality: int, full_colour: bool) -> None:
    photo = make_photo(SIDE, SIDE)
    lr = to_unit(torch.from_numpy(photo).permute(2, 0, 1)[None])
    mode = "off" if full_colour else "on"
    stored = pyvips.Image.new_from_array(photo, interpretation="srgb").jpegsave_buffer(Q=quality, subsample_mode=mode)
    expected = pyvips.Image.jpegload_buffer(stored).numpy().astype(int)
    if not full_colour:
        assert (round_trip(photo, quality) == expected).all()
    coded = compression().code(
        lr, torch.tensor([quality]), torch.tensor([full_colour]), torch.zeros(1, 2, dtype=torch.int64)
    )
    found = (coded[0].permute(1, 2, 0).numpy() * 255).round().astype(int)
    lost = np.abs(expected - photo).mean()
    # libjpeg's transform is of whole numbers, so a coefficient here and there is rounded the other way
    assert np.abs(found - expected).mean() < 0.6 + 0.1 * lost
    assert abs(np.abs(found - photo).mean() - lost) < 0.1 * lost


def test_blocks_begin_where_they_are_said_to() -> None:
    whole = pictures(1, 96)
    top, left = 21, 10
    part = whole[:, :, top : top + SIDE, left : left + SIDE]
    quality, full = torch.tensor([60]), torch.tensor([True])
    around = Compression(settings(crop_px=4 * 96), 4, CPU).code(whole, quality, full, torch.zeros(1, 2).long())
    coded = compression().code(part, quality, full, torch.tensor([[top % 16, left % 16]]))
    # the blocks that lie within the part as a whole
    rows, columns = slice(24 - top, 64 - top), slice(16 - left, 56 - left)
    expected = around[:, :, top : top + SIDE, left : left + SIDE]
    assert torch.equal(coded[:, :, rows, columns], expected[:, :, rows, columns])


def test_a_crops_place_alone_decides() -> None:
    lr, crops, compress = pictures(16), drawn(16), compression(jpeg_share=0.5, jpeg_quality=[40, 60])
    first = compress(lr, crops)
    assert torch.equal(first, compress(lr, crops))
    assert torch.equal(first[4:8], compress(lr[4:8], crops[4:8])), "another process's share"
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(first, (first * 255).round() / 255), "as a file's samples are"
    spared = (first == lr).flatten(1).all(dim=1)
    assert spared.any()
    assert not spared.all()


def test_all_qualities_and_places_occur_and_the_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def look(
        self: Compression, lr: torch.Tensor, quality: torch.Tensor, full: torch.Tensor, origin: torch.Tensor
    ) -> torch.Tensor:
        seen.append(torch.cat([quality[:, None], full[:, None].float(), origin.float()], dim=1))
        return lr

    monkeypatch.setattr(Compression, "code", look)
    compression(jpeg_quality=[70, 73])(torch.zeros(2000, 3, 4, 4), drawn(2000))
    qualities, full, rows, columns = seen[0].unbind(1)
    assert qualities.unique(return_counts=True)[0].tolist() == [70, 71, 72, 73]
    assert qualities.unique(return_counts=True)[1].min() > 400
    assert abs(full.mean() - 0.25) < 0.05
    for places in (rows, columns):
        assert places.unique().tolist() == list(range(16))


def test_without_a_share_nothing_is_compressed() -> None:
    lr = pictures(4)
    assert compression(jpeg_share=0.0)(lr, drawn(4)) is lr


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_batches_are_compressed_and_resume_exactly(tmp_path: Path, kind: str) -> None:
    for k in range(6):
        image = pyvips.Image.new_from_array(make_photo(80, 70, seed=k), interpretation="srgb")
        image.pngsave(str(tmp_path / f"{k}.png"))
    data = settings(crop_px=64, bank=kind)
    bank, _ = open_bank(DataSource([tmp_path]), data, 4, CPU, default_cache=tmp_path / "decoded")

    def begun() -> Batches:
        sampler = CropSampler(bank.heights, bank.widths, data, seed=1)
        return Batches(bank, sampler, Degradation(data, 4, CPU), CPU, Compression(data, 4, CPU))

    batches = begun()
    batches.next()
    state = batches.state_dict()
    expected = [batches.next() for _ in range(3)]
    again = begun()
    again.load_state_dict(state)
    for lr, hr in expected:
        found_lr, found_hr = again.next()
        assert torch.equal(found_lr, lr)
        assert torch.equal(found_hr, hr)
        assert not torch.equal(lr, Degradation(data, 4, CPU)(hr)), "LR is compressed"

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fourfold.durable import exclusive
from fourfold.errors import CheckpointError, DataError
from fourfold.imaging import Picture, imresize
from fourfold.training.bank import Bank, Planes, ResidentBank, gathered
from fourfold.training.batches import Batches
from fourfold.training.data import DataSource, find_usable, measure_data, open_bank
from fourfold.training.degradation import Degradation, to_unit
from fourfold.training.pictures import TrainingPicture
from fourfold.training.recipe import DataSettings
from fourfold.training.sampler import Crops, CropSampler
from tests.conftest import make_photo

resource = pytest.importorskip("resource")

CPU = torch.device("cpu")


def settings(**values: object) -> DataSettings:
    return DataSettings.model_validate({"crop_px": 16, "batch": 4, "workers": 2, **values})


def planar(*sizes: tuple[int, int]) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(make_photo(h, w, seed=k).transpose(2, 0, 1)) for k, (h, w) in enumerate(sizes)]


def resident(pictures: list[NDArray[np.uint8]]) -> ResidentBank:
    decoded = ((TrainingPicture(Path(), p.shape[1], p.shape[2]), p, None) for p in pictures)
    return ResidentBank(decoded, sum(p.size for p in pictures), CPU)


def sampler_of(bank: Bank, data: DataSettings, seed: int = 0, **values: int) -> CropSampler:
    return CropSampler(bank.heights, bank.widths, data, seed, **values)


def crops_of(*rows: tuple[int, ...]) -> Crops:
    columns = [torch.tensor(column) for column in zip(*rows, strict=True)]
    return Crops(*columns[:3], torch.full_like(columns[0], 16), *columns[3:5], columns[5].bool())


def orientations() -> Iterator[tuple[int, int, int]]:
    yield from ((r, c, t) for r in (0, 1) for c in (0, 1) for t in (0, 1))


def test_every_orientation_of_a_crop() -> None:
    pictures = planar((20, 31), (24, 17))
    rows = [(k, 2, 1, *o) for k in (0, 1) for o in orientations()]
    found, lr = resident(pictures).gather(crops_of(*rows), 16)
    assert lr is None
    for crop, (k, top, left, flip_rows, flip_columns, transpose) in zip(found.numpy(), rows, strict=True):
        expected = pictures[k][:, top : top + 16, left : left + 16]
        expected = expected[:, ::-1] if flip_rows else expected
        expected = expected[:, :, ::-1] if flip_columns else expected
        np.testing.assert_array_equal(crop, expected.transpose(0, 2, 1) if transpose else expected)


def test_an_accelerator_gathers_the_crops_that_a_processor_cuts() -> None:
    pictures = planar((60, 33), (40, 47), (36, 36), (34, 80))
    planes = Planes([p.shape[1] for p in pictures], [p.shape[2] for p in pictures])
    pixels = torch.from_numpy(np.concatenate([p.ravel() for p in pictures]))
    sampler = CropSampler(planes.heights, planes.widths, settings(shrink_share=0.8), 0)
    for _ in range(60):
        crops = sampler.draw()
        found = gathered(pixels, planes.table(crops), 32)
        assert found.shape == (4, 3, 32, 32)
        for k, side in enumerate(crops.side.tolist()):
            expected = np.zeros((3, 32, 32), np.uint8)
            planes.cut(pixels.numpy(), crops, k, expected)
            np.testing.assert_array_equal(found[k, :, :side, :side], expected[:, :side, :side])


def test_crops_reach_every_border() -> None:
    bank = resident(planar((18, 17), (16, 16), (17, 18), (16, 20)))
    sampler = sampler_of(bank, settings())
    drawn = [sampler.draw() for _ in range(200)]
    for k, (height, width) in enumerate(zip(bank.heights.tolist(), bank.widths.tolist(), strict=True)):
        tops = {int(t) for crops in drawn for t in crops.top[crops.picture == k]}
        lefts = {int(t) for crops in drawn for t in crops.left[crops.picture == k]}
        assert tops == set(range(height - 15))
        assert lefts == set(range(width - 15))


@pytest.mark.parametrize(
    ("flips", "turns", "count"), [(True, True, 8), (True, False, 2), (False, True, 4), (False, False, 1)]
)
def test_orientations_follow_the_settings(flips: bool, turns: bool, count: int) -> None:
    sampler = sampler_of(resident(planar(*[(16, 16)] * 4)), settings(flips=flips, quarter_turns=turns))
    seen: dict[tuple[int, int, int], int] = {}
    for _ in range(200):
        crops = sampler.draw()
        for o in zip(
            crops.flip_rows.tolist(), crops.flip_columns.tolist(), crops.transpose.long().tolist(), strict=True
        ):
            seen[o] = seen.get(o, 0) + 1
    assert len(seen) == count
    if not flips:  # turning never mirrors: an even number of the three
        assert all((r + c + t) % 2 == 0 for r, c, t in seen)


def test_pictures_come_in_rounds_and_batches_are_distinct() -> None:
    sampler = sampler_of(resident(planar(*[(16, 16)] * 7)), settings(batch=3))
    drawn = [sampler.draw().picture.tolist() for _ in range(70)]
    assert all(len(set(batch)) == 3 for batch in drawn)
    counts = np.bincount([k for batch in drawn for k in batch])
    assert counts.min() >= counts.max() - 1


def test_processes_share_one_batch_out() -> None:
    bank = resident(planar(*[(20, 20)] * 6))
    whole = sampler_of(bank, settings())
    parts = [sampler_of(bank, settings(), rank=r, world_size=2) for r in (0, 1)]
    for _ in range(5):
        expected = whole.draw()
        shares = [part.draw() for part in parts]
        assert torch.equal(torch.cat([s.picture for s in shares]), expected.picture)
        assert torch.equal(torch.cat([s.left for s in shares]), expected.left)


def test_bad_batches_say_what_would_work() -> None:
    bank = resident(planar((16, 16), (16, 16), (16, 16)))
    with pytest.raises(DataError, match=r"data\.batch=3"):
        sampler_of(bank, settings())
    with pytest.raises(DataError, match=r"data\.batch=4"):
        CropSampler(torch.full((9,), 16), torch.full((9,), 16), settings(batch=3), 0, world_size=2)


def test_a_sampler_takes_up_where_it_was_and_refuses_other_data() -> None:
    bank = resident(planar(*[(20, 20)] * 6))
    sampler = sampler_of(bank, settings())
    sampler.draw()
    state = sampler.state_dict()
    expected = [sampler.draw() for _ in range(3)]
    other = sampler_of(bank, settings(), seed=9)
    other.load_state_dict(state)
    for crops in expected:
        assert torch.equal(other.draw().top, crops.top)
    with pytest.raises(CheckpointError, match="6 pictures"):
        sampler_of(resident(planar(*[(20, 20)] * 5)), settings()).load_state_dict(state)


def test_streamed_batches_equal_resident_ones_and_resume_exactly(tmp_path: Path, pictures: Path) -> None:
    both = []
    for kind in ("resident", "streamed"):
        data = settings(bank=kind)
        said: list[str] = []
        bank, report = open_bank(DataSource([pictures]), data, 4, CPU, default_cache=tmp_path, announce=said.append)
        assert bank.kind == kind
        assert ("streamed from a file" in said[0]) == (kind == "streamed")
        assert len(report.used) == 7
        both.append(Batches(bank, sampler_of(bank, data), Degradation(data, 4, CPU), CPU))
    state = {}
    for k in range(6):
        if k == 3:
            state = both[1].state_dict()  # with batches read ahead
        for ours, theirs in zip(both[0].next(), both[1].next(), strict=True):
            assert torch.equal(ours, theirs)
    after = both[0].sampler.state_dict()
    both[1].load_state_dict(state)
    for _ in range(3):
        both[1].next()
    assert torch.equal(both[1].state_dict()["generator"], after["generator"])


@pytest.mark.parametrize(("free", "kind"), [(10**9, "resident"), (10**4, "streamed")])
def test_what_does_not_fit_is_streamed(
    free: int, kind: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.training.data.free_memory", lambda device: free)
    bank, _ = open_bank(DataSource([pictures]), settings(), 4, CPU, default_cache=tmp_path)
    assert bank.kind == kind


@pytest.mark.parametrize(("processes", "kind"), [(1, "resident"), (2, "streamed")])
def test_every_process_has_a_copy_of_its_own(
    processes: int, kind: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = find_usable(DataSource([pictures]), settings(), 4)
    needed = sum(picture.bytes_needed for picture in found)
    monkeypatch.setattr("fourfold.training.data.free_memory", lambda device: 3 * needed)
    bank, _ = open_bank(DataSource([pictures]), settings(), 4, CPU, default_cache=tmp_path, processes=processes)
    assert bank.kind == kind


@pytest.mark.parametrize(
    ("processes", "host", "kind"), [(1, 2.0, "resident"), (1, 1.1, "streamed"), (8, 8.0, "streamed")]
)
def test_pictures_pass_through_the_machines_memory(
    processes: int, host: float, kind: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = find_usable(DataSource([pictures]), settings(), 4)
    needed = sum(picture.bytes_needed for picture in found)
    free = {"cuda": 100 * needed, "cpu": int(host * needed)}
    monkeypatch.setattr("fourfold.training.data.free_memory", lambda device: free[device.type])
    assert measure_data(found, settings(), 4, torch.device("cuda"), processes).kind == kind


def test_what_one_process_has_no_room_for_all_of_them_stream(tmp_path: Path, pictures: Path) -> None:
    bank, _ = open_bank(DataSource([pictures]), settings(), 4, CPU, default_cache=tmp_path, any_process=lambda _: True)
    assert bank.kind == "streamed"


def test_other_lr_pictures_under_the_same_names_are_decoded_anew(tmp_path: Path) -> None:
    for folder in ("hr", "lr"):
        (tmp_path / folder).mkdir()
    for k in range(4):
        Picture(make_photo(24, 24, seed=k)).save(tmp_path / "hr" / f"{k}.png")
    data = settings(bank="streamed")
    means = []
    for level in (200, 30):
        for k in range(4):
            Picture(np.full((6, 6, 3), level, np.uint8)).save(tmp_path / "lr" / f"{k}.png", overwrite=True)
        bank, _ = open_bank(
            DataSource([tmp_path / "hr"], tmp_path / "lr", tmp_path / "c"), data, 4, CPU, default_cache=tmp_path
        )
        lr, _ = Batches(bank, sampler_of(bank, data, grid_px=4), Degradation(data, 4, CPU), CPU).next()
        means.append(round(float(lr.mean()) * 255))
    assert means == [200, 30]


def test_a_cache_of_lr_of_another_scale_is_another(tmp_path: Path) -> None:
    """The same LR files are too large at the other scale, and what was decoded of them must not be taken for it."""
    for folder, side in (("hr", 48), ("lr", 24)):
        (tmp_path / folder).mkdir()
        for k in range(4):
            Picture(make_photo(side, side, seed=k)).save(tmp_path / folder / f"{k}.png")
    source = DataSource([tmp_path / "hr"], tmp_path / "lr", tmp_path / "c")
    bank, _ = open_bank(source, settings(bank="streamed"), 2, CPU, default_cache=tmp_path)
    assert bank.has_lr
    with pytest.raises(DataError, match="is 24x24; 1/4 of 48x48 is 12x12"):
        open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "hr.raw").unlink(),
        lambda folder: (folder / "lr.raw").unlink(),
        lambda folder: os.truncate(folder / "hr.raw", 100),
        lambda folder: (folder / "index.json").write_bytes(b""),
        lambda folder: (folder / "index.json").write_text('{"heights": 3}'),
    ],
)
def test_a_damaged_cache_is_made_anew(damage: Callable[[Path], object], tmp_path: Path, pictures: Path) -> None:
    source = DataSource([pictures], cache=tmp_path / "c")
    whole, _ = open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)
    (folder,) = (tmp_path / "c").iterdir()
    size = (folder / "hr.raw").stat().st_size
    damage(folder)
    bank, report = open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)
    assert len(report.used) == 7 and list(bank.heights) == list(whole.heights)
    assert (folder / "hr.raw").stat().st_size == size


def test_a_finished_cache_need_not_be_writable(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DataSource([pictures], cache=tmp_path / "c")
    open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)
    monkeypatch.setattr("fourfold.training.streaming.exclusive", lambda *_: pytest.fail("nothing is to be written"))
    _, report = open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)
    assert len(report.used) == 7


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with exclusive(tmp_path / "lock"):
        pass


def test_two_runs_decode_the_same_pictures_once(tmp_path: Path, pictures: Path) -> None:
    said: list[str] = []
    reads: list[int] = []

    def open_one() -> None:
        open_bank(
            DataSource([pictures], cache=tmp_path / "c"), settings(bank="streamed"), 4, CPU,
            default_cache=tmp_path, progress=lambda done, _: reads.append(done), announce=said.append,
        )  # fmt: skip

    open_one()
    (folder,) = (tmp_path / "c").iterdir()
    (folder / "index.json").unlink()  # as while it is being made
    with ThreadPoolExecutor(1) as pool, exclusive(folder / "lock"):
        other = pool.submit(open_one)
        while not any("another run decodes" in text for text in said):
            assert not other.done()
            time.sleep(0.01)
        assert len(reads) == 7
    assert len(reads) == 14


def test_a_cache_is_made_once(tmp_path: Path, pictures: Path) -> None:
    reads: list[int] = []
    for _ in range(2):
        _, report = open_bank(
            DataSource([pictures], cache=tmp_path / "c"), settings(bank="streamed"), 4, CPU,
            default_cache=tmp_path, progress=lambda done, _: reads.append(done),
        )  # fmt: skip
        assert len(report.used) == 7
    assert reads == list(range(1, 8))


def test_a_cache_does_not_hide_what_broke_since(tmp_path: Path, pictures: Path) -> None:
    shutil.copytree(pictures, tmp_path / "hr")
    source = DataSource([tmp_path / "hr"], cache=tmp_path / "c")
    open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)
    (tmp_path / "hr" / "junk.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"1 of 8 pictures cannot be used, such as .*junk\.png"):
        open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)
    _, report = open_bank(source, settings(bank="streamed", broken_share=0.5), 4, CPU, default_cache=tmp_path)
    assert [path.name for path, _ in report.broken] == ["junk.png"]
    assert (report.found, len(report.used)) == (8, 7)


def test_a_cache_means_the_same_from_anywhere(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(pictures, tmp_path / "hr")
    (tmp_path / "hr" / "junk.png").write_bytes((tmp_path / "hr" / "0.png").read_bytes()[:-40])
    (tmp_path / "below").mkdir()
    found = []
    for folder, place in (("hr", "."), ("../hr", "below"), (str(tmp_path / "hr"), "/")):
        monkeypatch.chdir(tmp_path / place)
        source = DataSource([Path(folder)], cache=tmp_path / "c")
        with pytest.raises(DataError, match="1 of 8 pictures cannot be used"):
            open_bank(source, settings(bank="streamed"), 4, CPU, default_cache=tmp_path)
        _, report = open_bank(source, settings(bank="streamed", broken_share=0.5), 4, CPU, default_cache=tmp_path)
        assert all(path.is_file() and path.is_relative_to(folder) for path in report.used)
        found.append(([path.name for path in report.used], [path.name for path, _ in report.broken]))
    assert found[0] == found[1] == found[2]


def test_a_full_disk_keeps_no_half_decoded_pictures(tmp_path: Path, pictures: Path) -> None:
    """They would take the very room that is missing."""
    streamed = settings(bank="streamed")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # three pictures
    try:
        with pytest.raises(DataError, match=r"File too large.*--cache"):
            open_bank(DataSource([pictures]), streamed, 4, CPU, default_cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]
    open_bank(DataSource([pictures]), streamed, 4, CPU, default_cache=tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="--cache"):
        open_bank(
            DataSource([pictures], cache=tmp_path / "file"), settings(bank="streamed"), 4, CPU, default_cache=tmp_path
        )


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_given_lr_pictures_stay_aligned_in_every_orientation(tmp_path: Path, kind: str) -> None:
    (tmp_path / "lr").mkdir()
    for k in range(4):
        lr = make_photo(7 + k, 9, seed=k)
        hr = np.pad(lr.repeat(4, axis=0).repeat(4, axis=1), ((0, 3), (0, 2), (0, 0)))  # not quite a multiple
        Picture(hr).save(tmp_path / "hr" / "deep" / f"{k}.png") if (tmp_path / "hr/deep").exists() else None
        (tmp_path / "hr" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "lr" / "deep").mkdir(parents=True, exist_ok=True)
        Picture(hr).save(tmp_path / "hr" / "deep" / f"{k}.png", overwrite=True)
        Picture(lr).save(tmp_path / "lr" / "deep" / (f"{k}x4.png" if k % 2 else f"{k}.png"))
    data = settings(bank=kind)
    source = DataSource([tmp_path / "hr"], tmp_path / "lr", tmp_path / "cache")
    bank, _ = open_bank(source, data, 4, CPU, default_cache=tmp_path)
    sampler = sampler_of(bank, data, grid_px=4)
    batches = Batches(bank, sampler, Degradation(data, 4, CPU), CPU)
    for _ in range(20):
        lr_batch, hr_batch = batches.next()
        assert torch.equal(hr_batch[:, :, ::4, ::4], lr_batch)


def test_degradation_is_the_houses_bicubic() -> None:
    pixels = make_photo(32, 32)
    hr = to_unit(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    lr = Degradation(settings(crop_px=32), 4, CPU)(hr)
    expected = imresize(pixels, 0.25).astype(np.int64)
    found = (lr[0].permute(1, 2, 0).numpy() * 255).round().astype(np.int64)
    assert np.abs(found - expected).max() <= 1  # float32 against float64: a tie may fall the other way
    assert (found == expected).mean() > 0.99
    blurred = Degradation(settings(crop_px=32, degradation="gaussian"), 4, CPU)(hr)
    assert not torch.equal(blurred, lr)

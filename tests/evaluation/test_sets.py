"""Sets: every layout recognised, everything that does not fit refused by name."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from fourfold.errors import DataError, PictureError, UsageError
from fourfold.evaluation.sets import Entry, find_sets, read_pair, read_set
from fourfold.imaging import Picture, imresize, read_picture, write_picture
from tests.conftest import make_photo
from tests.evaluation.conftest import save

HR = make_photo(48, 56)
LR = imresize(HR, 0.25)


def _basicsr(root: Path) -> Path:
    save(root / "GTmod12" / "a.png", HR)
    save(root / "LRbicx4" / "a.png", LR)
    return root


def _edsr(root: Path) -> Path:
    save(root / "HR" / "a.png", HR)
    save(root / "LR_bicubic" / "X4" / "ax4.png", LR)
    return root


def plain(root: Path) -> Path:
    save(root / "a.png", HR)
    return root


def _selfexsr(root: Path) -> Path:
    save(root / "image_SRF_4" / "img_001_SRF_4_HR.png", HR)
    save(root / "image_SRF_4" / "img_001_SRF_4_LR.png", LR)
    save(root / "image_SRF_4" / "img_001_SRF_4_SelfExSR.png", HR)
    return root


@pytest.mark.parametrize(
    ("make", "layout", "image", "key"),
    [
        (_basicsr, "basicsr", "a.png", "a"),
        (_edsr, "edsr", "a.png", "a"),
        (_selfexsr, "selfexsr", "img_001_SRF_4_HR.png", "img_001"),
    ],
)
def test_layouts(make: object, layout: str, image: str, key: str, tmp_path: Path) -> None:
    found = read_set(make(tmp_path / "SetX"))  # type: ignore[operator]
    assert (found.name, found.layout) == ("SetX", layout)
    assert [(e.image, e.key) for e in found.entries] == [(image, key)]
    pair = read_pair(found.entries[0])
    assert np.array_equal(pair.hr, HR) and np.array_equal(pair.lr, LR) and pair.notes == ()


def test_originals_alone(data: Path) -> None:
    (first, second) = find_sets(data)
    assert (first.name, second.name) == ("Set5", "Other")  # the paper's sets first
    assert [e.image for e in first.entries] == ["baby.png", "bird.png", "butterfly.png"]
    pair = read_pair(first.entries[0])
    assert np.array_equal(pair.lr, imresize(pair.hr, 0.25))


def test_a_set_itself_and_a_folder_with_bench(data: Path, tmp_path: Path) -> None:
    assert [s.name for s in find_sets(data / "Set5")] == ["Set5"]
    data.rename(tmp_path / "bench")
    assert [s.name for s in find_sets(tmp_path, ["Other"])] == ["Other"]


def test_the_hash_tells_the_data(data: Path) -> None:
    before = read_set(data / "Set5").sha256
    assert read_set(data / "Set5").sha256 == before
    save(data / "Set5" / "bird.png", make_photo(52, 56, seed=77))
    assert read_set(data / "Set5").sha256 != before


def test_sizes_that_do_not_divide_are_cropped_and_said(tmp_path: Path) -> None:
    odd = make_photo(50, 59)
    save(tmp_path / "a.png", odd)
    pair = read_pair(read_set(tmp_path).entries[0])
    assert np.array_equal(pair.hr, odd[:48, :56])
    assert pair.lr.shape == (12, 14, 3) and pair.uncropped == (50, 59)
    assert pair.notes == ("a.png cropped from 59x50 to 56x48",)


def test_grey_is_tripled_and_alpha_left_out(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", HR[..., 0])
    alpha = np.full(HR.shape[:2], 9, np.uint8)
    write_picture(Picture(HR, alpha), tmp_path / "clear.png")
    clear, grey = (read_pair(e) for e in read_set(tmp_path).entries)
    assert np.array_equal(clear.hr, HR) and "transparency" in clear.notes[0]
    assert np.array_equal(grey.hr, np.repeat(HR[..., :1], 3, axis=2))


def test_sixteen_bits_stay(tmp_path: Path) -> None:
    save(tmp_path / "deep.png", HR.astype(np.uint16) * 257)
    pair = read_pair(read_set(tmp_path).entries[0])
    assert pair.hr.dtype == pair.lr.dtype == np.uint16


def test_an_lr_picture_of_another_depth_is_brought_to_the_originals(tmp_path: Path) -> None:
    root = _basicsr(tmp_path)
    save(root / "LRbicx4" / "a.png", LR.astype(np.uint16) * 257)
    assert np.array_equal(read_pair(read_set(root).entries[0]).lr, LR)


def _without_lr(root: Path) -> None:
    save(root / "GTmod12" / "b.png", HR)


def _without_hr(root: Path) -> None:
    save(root / "LRbicx4" / "b.png", LR)


@pytest.mark.parametrize(
    ("spoil", "says"), [(_without_lr, r"b\.png has no LR partner"), (_without_hr, r"b\.png has no original")]
)
def test_missing_partners_are_named(spoil: object, says: str, tmp_path: Path) -> None:
    root = _basicsr(tmp_path)
    spoil(root)  # type: ignore[operator]
    with pytest.raises(DataError, match=says):
        read_set(root)


def test_selfexsr_partners(tmp_path: Path) -> None:
    root = _selfexsr(tmp_path)
    (root / "image_SRF_4" / "img_001_SRF_4_LR.png").unlink()
    with pytest.raises(DataError, match="no LR partner"):
        read_set(root)
    save(root / "image_SRF_4" / "img_001_SRF_4_LR.png", LR)
    (root / "image_SRF_4" / "img_001_SRF_4_HR.png").unlink()
    with pytest.raises(DataError, match="no original"):
        read_set(root)


@pytest.mark.parametrize(
    ("hr", "lr", "says"),
    [(LR, HR, "swapped"), (HR, LR[:-1], "a quarter"), (HR, HR, "a quarter of the original's 56x48")],
)
def test_sizes_that_do_not_match_are_named(hr: np.ndarray, lr: np.ndarray, says: str, tmp_path: Path) -> None:
    save(tmp_path / "HR" / "a.png", hr)
    save(tmp_path / "LR_bicubic" / "X4" / "ax4.png", lr)
    with pytest.raises(DataError, match=says):
        read_pair(read_set(tmp_path).entries[0])


def test_nothing_there(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_sets(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        find_sets(tmp_path / "empty")
    (data / "Empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        find_sets(data, ["Empty"])
    with pytest.raises(DataError, match=r"no set 'Set6'.*Set5"):
        find_sets(data, ["Set6"])
    for twice in (["Set5", "Set5"], ["Set5", "Other", "./Set5"]):
        with pytest.raises(UsageError, match="two sets are called 'Set5'"):
            find_sets(data, twice)


@pytest.mark.parametrize("strays", [1, 2])
def test_a_folder_of_sets_and_of_pictures_is_refused(strays: int, data: Path) -> None:
    for k in range(strays):
        save(data / f"stray{k}.png", HR)
    count = "stray0.png" if strays == 1 else "stray0.png and 1 more"
    says = rf"holds pictures of its own \({count}\) and folders of pictures \(Set5, Other\).*--sets Set5,Other"
    with pytest.raises(DataError, match=says):
        find_sets(data)
    assert [s.name for s in find_sets(data, ["Set5", "Other"])] == ["Set5", "Other"]
    (own,) = find_sets(data, ["."])
    assert (own.name, len(own.entries)) == ("data", strays)


def test_folders_without_pictures_beside_pictures_are_none_of_the_sets(data: Path) -> None:
    (data / "Set5" / "notes").mkdir()
    save(data / "Set5" / ".thumbs" / "baby.png", HR)
    assert [s.name for s in find_sets(data / "Set5")] == ["Set5"]


def test_the_folder_one_is_in_has_its_own_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "Set5" / "notes").mkdir()
    monkeypatch.chdir(data / "Set5" / "notes")
    assert [s.name for s in find_sets(Path(".."))] == ["Set5"]
    monkeypatch.chdir(data / "Set5")
    assert [s.name for s in find_sets(Path())] == ["Set5"]


def test_a_set_itself_goes_by_its_names(data: Path) -> None:
    assert [s.folder for s in find_sets(data / "Set5", ["Set5"])] == [data / "Set5"]
    save(data / "B100" / "a.png", HR)
    assert [s.folder for s in find_sets(data / "B100", ["BSD100"])] == [data / "B100"]
    with pytest.raises(DataError, match="no set 'data'"):
        find_sets(data, ["data"])


def test_hidden_folders_are_no_sets(data: Path) -> None:
    save(data / ".thumbs" / "a.png", HR)
    assert [s.name for s in find_sets(data)] == ["Set5", "Other"]
    with pytest.raises(DataError, match=r"there are: Other, Set5; --sets Other,Set5 takes them$"):
        find_sets(data, ["Set6"])


def test_a_set_that_is_missing_says_how_to_take_the_others(data: Path) -> None:
    (data / "niqe").mkdir()
    with pytest.raises(DataError, match=r"no set 'Set14' in .*; there are: Other, Set5, niqe; --sets Set5 takes it$"):
        find_sets(data, ["Set5", "Set14", "BSD100"])
    save(data / "B100" / "a.png", HR)
    with pytest.raises(DataError, match=r"no set 'Set14' in .*; --sets Set5,BSD100 takes them$"):
        find_sets(data, ["Set5", "Set14", "BSD100"])
    with pytest.raises(DataError, match=r"no set 'Set5' in .*; there are: none$"):
        find_sets(data / "niqe", ["Set5"])


def test_closed_folders_are_passed_over_and_told(tmp_path: Path, closed: Path) -> None:
    save(tmp_path / "Set5" / "a.png", HR)
    told: list[str] = []
    assert [s.name for s in find_sets(tmp_path, on_note=told.append)] == ["Set5"]
    assert told == [f"{closed} is passed over; it cannot be read (Permission denied)"]
    assert [s.name for s in find_sets(tmp_path / "Set5", on_note=told.append)] == ["Set5"] and len(told) == 1
    for root, names in ((closed, None), (closed / "Set5", None), (tmp_path, ["closed"]), (closed, ["Set5"])):
        with pytest.raises(DataError, match=r"closed.*cannot be read \(Permission denied\)"):
            find_sets(root, names)


@pytest.mark.parametrize("layout", ["plain", "LR"])
def test_links_that_lead_nowhere_are_pictures_that_fail(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "Set5"
    if layout == "plain":
        save(root / "10.png", HR)
        link = root / "9.png"
    else:
        save(root / "HR" / "9.png", HR)
        link = root / "LR_bicubic" / "X4" / "9x4.png"
        link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "annex" / "9.png")
    (root / "notes.txt").symlink_to("nowhere.txt")
    (root / ".hidden.png").symlink_to("nowhere.png")
    found = read_set(root)
    assert [e.image for e in found.entries] == (["9.png", "10.png"] if layout == "plain" else ["9.png"])
    with pytest.raises(PictureError, match=link.name):
        read_pair(found.entries[0])


def test_two_lr_pictures_of_one_original_are_refused(tmp_path: Path) -> None:
    root = _edsr(tmp_path / "edsr")
    save(root / "LR_bicubic" / "X4" / "ax4.jpg", LR)
    with pytest.raises(DataError, match=r"ax4\.jpg and ax4\.png are both called 'ax4'"):
        read_set(root)
    root = _basicsr(tmp_path / "basicsr")
    save(root / "LRbicx4" / "ax4.png", LR)
    with pytest.raises(DataError, match=r"ax4\.png has no original"):
        read_set(root)
    root = _selfexsr(tmp_path / "selfexsr")
    save(root / "image_SRF_4" / "img_001_SRF_4_SelfExSR.jpg", HR)
    assert len(read_set(root).entries) == 1  # the results of others may be there twice
    for kind, pixels in (("LR", LR), ("HR", HR)):
        path = save(root / "image_SRF_4" / f"img_001_SRF_4_{kind}.tif", pixels)
        with pytest.raises(DataError, match=rf"img_001_SRF_4_{kind}\.png and img_001_SRF_4_{kind}\.tif are both"):
            read_set(root)
        path.unlink()


def test_what_cannot_be_read_has_no_hash_and_says_why(data: Path) -> None:
    link = data / "Set5" / "loop.png"
    link.symlink_to(link)
    of = read_set(data / "Set5")
    assert of.sha256 is None
    assert of.why_unhashed == "loop.png cannot be read (Too many levels of symbolic links)"
    assert read_set(data / "Other").why_unhashed is None


def test_names_need_not_be_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    save(tmp_path / "a.png", HR).rename(path)
    of = read_set(tmp_path)
    digest = hashlib.sha256(b"caf\xe9.png" + path.read_bytes())
    assert of.sha256 == digest.hexdigest() and len(read_pair(of.entries[0]).hr)


def test_twins_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(40):
        (tmp_path / f"{k}.png").touch()
    asked: list[str] = []
    monkeypatch.setattr(Entry, "key", property(lambda self: asked.append(self.image) or self.image), raising=False)
    monkeypatch.setattr(Entry, "__init__", lambda self, image, *_: self.__dict__.update(image=image))
    assert len(read_set(tmp_path).entries) == len(asked) == 40


def test_originals_may_be_of_any_size(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def read(path: Path, *, max_pixels: int) -> Picture:
        asked.append(max_pixels)
        return read_picture(path, max_pixels=max_pixels)

    monkeypatch.setattr("fourfold.evaluation.sets.read_picture", read)
    read_pair(read_set(data / "Set5").entries[0])
    assert asked == [2**40]  # as in training; evaluate has no --max-pixels


def test_one_name_twice(tmp_path: Path) -> None:
    save(tmp_path / "a.png", HR)
    save(tmp_path / "a.tiff", HR)
    with pytest.raises(DataError, match="several pictures are called 'a'"):
        read_set(tmp_path)


def test_too_small_and_unreadable(tmp_path: Path) -> None:
    save(tmp_path / "tiny" / "a.png", HR[:3])
    with pytest.raises(DataError, match="too few"):
        read_pair(read_set(tmp_path / "tiny").entries[0])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"a\.png"):
        read_pair(read_set(tmp_path / "bad").entries[0])
    save(tmp_path / "float" / "a.tiff", HR.astype(np.float32) / 255)
    with pytest.raises(PictureError, match="floating"):
        read_pair(read_set(tmp_path / "float").entries[0])


def test_the_papers_sets_have_other_names(tmp_path: Path) -> None:
    for name in ("Urban100", "B100", "Set14", "set5"):
        plain(tmp_path / name)
    assert [one.name for one in find_sets(tmp_path)] == ["set5", "Set14", "B100", "Urban100"]
    assert [one.name for one in find_sets(tmp_path, ["BSD100", "Set5"])] == ["B100", "set5"]
    plain(tmp_path / "BSDS100")
    with pytest.raises(DataError, match="no set 'BSD100'"):  # which of the two?
        find_sets(tmp_path, ["BSD100"])
    with pytest.raises(DataError, match="no set 'urban100'"):
        find_sets(tmp_path, ["urban100"])


def test_pictures_of_a_kind_that_is_not_read_are_not_left_out_in_silence(data: Path, tmp_path: Path) -> None:
    other = data / "Bitmaps"
    other.mkdir()
    (other / "baby_GT.BMP").write_bytes(b"BM")
    notes: list[str] = []
    assert other.name not in [one.name for one in find_sets(data, on_note=notes.append)]
    assert len(notes) == 1 and "Bitmaps is passed over" in notes[0] and "BMP is not read" in notes[0]
    for root, names in ((other, None), (data, ["Bitmaps"])):
        with pytest.raises(DataError, match=r"baby_GT\.BMP: BMP is not read; convert the set to PNG"):
            find_sets(root, names)
    plain(tmp_path / "mixed")
    (tmp_path / "mixed" / "head.ppm").write_bytes(b"P6")
    with pytest.raises(DataError, match=r"head\.ppm: PPM is not read"):
        find_sets(tmp_path, ["mixed"])

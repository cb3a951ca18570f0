"""Building a study: what is in the folder, that it tells nothing, and that a changed one is refused."""

import json
import os
import shutil
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourfold.errors import DataError, FourfoldError, StudyError, UsageError
from fourfold.imaging import imresize, read_rgb
from fourfold.study import Manifest, Request, Study, create_study, design, open_study
from fourfold.study.manifest import read_manifest, write_manifest
from fourfold.study.request import choose_calibration, resolve
from fourfold.study.stimuli import encode_alike
from tests.conftest import make_photo
from tests.study.conftest import METHODS, save_picture, small_request


def test_every_version_of_every_picture_is_there(study: Study) -> None:
    manifest = study.manifest
    kinds = Counter((s.set_name, s.method) for s in manifest.stimuli.values())
    assert kinds == {
        **{("Set5", m): 3 for m in METHODS},
        **{("BSD100", m): 4 for m in METHODS},
        ("calibration", "nearest"): 2,
        ("calibration", "hr"): 2,
    }
    assert manifest.ratings_per_rater == 21
    assert len(manifest.repeats) == 3
    assert all(manifest.stimuli[identifier].set_name == "BSD100" for identifier in manifest.repeats)
    assert {s.anchor for s in manifest.stimuli.values() if s.set_name == "calibration"} == {1, 5}


def test_pictures_are_shown_losslessly(study: Study, bench_folder: Path) -> None:
    for stimulus in study.manifest.stimuli.values():
        if stimulus.anchor is not None:
            continue
        original = read_rgb(bench_folder / stimulus.set_name / f"{stimulus.scene}.png")
        hr = original[: original.shape[0] // 4 * 4, : original.shape[1] // 4 * 4]
        expected = hr if stimulus.method == "hr" else imresize(imresize(hr, 0.25), 4, kernel=stimulus.method)  # type: ignore[arg-type]
        np.testing.assert_array_equal(read_rgb(study.folder / stimulus.file), expected)
        assert (stimulus.height, stimulus.width) == expected.shape[:2]


def test_files_tell_nothing_but_the_picture(study: Study) -> None:
    sizes: dict[tuple[str, str], set[int]] = {}
    for stimulus in study.manifest.stimuli.values():
        path = study.folder / stimulus.file
        data = path.read_bytes()
        sizes.setdefault((stimulus.set_name, stimulus.scene), set()).add(len(data))
        assert path.stat().st_mtime == 1_000_000_000
        assert set(chunks(data)) == {b"IHDR", b"IDAT", b"ffPd", b"IEND"}
        assert struct.unpack(">BB", data[24:26]) == (8, 2)  # 8 bits, RGB, whatever the source was
    assert all(len(of_scene) == 1 for of_scene in sizes.values())
    words = {*METHODS, "Set5", "BSD100", "scene"}
    names = {path.name for path in (study.folder / "pictures").iterdir()}
    assert len(names) == len(study.manifest.stimuli)
    assert not any(word in name for name in names for word in words)


def chunks(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += 12 + length
    return found


def test_sixteen_bits_and_metadata_do_not_show() -> None:
    deep = (make_photo(16, 16).astype(np.uint16)) * 257
    flat, textured = encode_alike([np.zeros((16, 16, 3), np.uint8), deep])
    assert len(flat) == len(textured)
    assert set(chunks(textured)) == {b"IHDR", b"IDAT", b"ffPd", b"IEND"}


def test_the_manifest_reads_back_equal(study: Study) -> None:
    assert read_manifest(study.folder) == study.manifest
    assert read_manifest(study.folder).digest == study.manifest.digest


def test_a_study_of_version_1_opens_and_keeps_its_orders(study: Study, own_study: Path) -> None:
    few = {s.id: s for s in study.manifest.stimuli.values() if (s.set_name, s.scene) == ("Set5", "scene0")}
    now = replace(study.manifest, stimuli=few, repeats=(min(few),), _orders={})
    write_manifest(replace(now, version=1, _orders={}), own_study)
    earlier = open_study(own_study).manifest
    assert earlier.version == 1
    items = [design.Item(s.id, f"{s.set_name}/{s.scene}") for s in few.values()]
    raters = [f"r{number:02d}-abcdef" for number in range(40)]
    for rater in raters:
        assert earlier.order(rater) == design.order_for(rater, now.seed, items, now.repeats, thorough=False)
        assert now.order(rater) == design.order_for(rater, now.seed, items, now.repeats)
    assert any(earlier.order(rater) != now.order(rater) for rater in raters)


def test_a_key_is_for_its_owner_only(study: Study) -> None:
    assert (study.folder / "secret.key").stat().st_mode & 0o077 == 0
    assert len(study.key) == 32


def edit(folder: Path, change: str, to: str) -> None:
    path = folder / "manifest.json"
    text = path.read_text(encoding="utf-8")
    assert change in text
    path.write_text(text.replace(change, to, 1), encoding="utf-8")


def first_picture(folder: Path) -> Path:
    return min((folder / "pictures").iterdir())


def spoil_pixel(folder: Path) -> None:
    path = first_picture(folder)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)


def swap_two(folder: Path) -> None:
    a, b, *_ = sorted((folder / "pictures").iterdir())
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def swap_in_manifest_and_digest(folder: Path) -> None:
    path = folder / "manifest.json"
    contents = json.loads(path.read_text(encoding="utf-8"))
    contents["repeats"] = []
    path.write_text(json.dumps(contents), encoding="utf-8")


SPOILED = {
    "pixel": (spoil_pixel, "was changed after the study was created"),
    "swapped": (swap_two, "was changed after the study was created"),
    "picture gone": (lambda f: first_picture(f).unlink(), "cannot read"),
    "manifest gone": (lambda f: (f / "manifest.json").unlink(), "not a study"),
    "manifest cut": (lambda f: (f / "manifest.json").write_text('{"format":'), "is damaged"),
    "manifest a list": (lambda f: (f / "manifest.json").write_text("[]"), "is damaged"),
    "other format": (lambda f: edit(f, "fourfold-study", "other"), "is not the manifest of a rating study"),
    "newer": (lambda f: edit(f, '"version": 2', '"version": 3'), "update Fourfold"),
    "relabelled": (lambda f: edit(f, '"method": "nearest"', '"method": "bicubic"'), "was changed after"),
    "title": (lambda f: edit(f, "A small study", "Another study"), "was changed after"),
    "repeats dropped": (swap_in_manifest_and_digest, "was changed after"),
    "path out of the folder": (lambda f: edit(f, '"id": "', '"id": "../'), "is damaged"),
    "key gone": (lambda f: (f / "secret.key").unlink(), "secret.key is missing or damaged"),
    "key short": (lambda f: (f / "secret.key").write_text("abcd"), "too short"),
    "key no hex": (lambda f: (f / "secret.key").write_text("zz" * 32), "secret.key is missing or damaged"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_changed_study_is_refused(case: str, own_study: Path) -> None:
    spoil, message = SPOILED[case]
    spoil(own_study)
    with pytest.raises(StudyError, match=message):
        open_study(own_study)


def test_a_picture_changed_while_serving_is_refused_when_it_is_shown(own_study: Path) -> None:
    opened = open_study(own_study)
    spoil_pixel(own_study)
    with pytest.raises(StudyError, match="was changed"):
        opened.picture(first_picture(own_study).stem)


BAD_REQUESTS = {
    "no such set": ({"sets": ("Set5", "Set99")}, DataError, "no set 'Set99'"),
    "no data folder": ({"data": Path("/nowhere")}, DataError, "no such folder"),
    "unknown method": ({"methods": ("bicubic", "bicubik")}, FourfoldError, "bicubik"),
    "one method": ({"methods": ("bicubic",)}, UsageError, "at least two"),
    "twice": ({"methods": ("bicubic", "bicubic")}, UsageError, "twice"),
    "without a stranger": ({"without": ("srcnn",)}, UsageError, "--without srcnn"),
    "no such results": ({"methods": ("bicubic", "other=/nowhere")}, FourfoldError, "/nowhere"),
    "negative": ({"repeats": -1}, UsageError, "0 or more"),
    "repeats from nowhere": ({"repeats_from": "Set14"}, UsageError, "not among the sets"),
    "no title": ({"title": " "}, UsageError, "--title is empty"),
    "no set": ({"sets": (), "calibration": 0}, UsageError, "--sets names no set; give some of Set5"),
    "too few for calibration": ({"calibration": 20}, DataError, "holds 3 pictures"),
    "none of the nine": (
        {"sets": ("BSD100",), "methods": ("srresnet-vgg22", "srgan-mse")},
        UsageError,
        "BSD100: none of these methods is rated there.*--same-everywhere",
    ),
    "one of the nine": ({"methods": ("bicubic", "SRGAN-MSE=RESULTS")}, UsageError, "BSD100: only bicubic is rated"),
    "a picture missing": ({"methods": ("bicubic", "other=RESULTS")}, DataError, "other has no picture for scene3.png"),
    "a title of odd bytes": ({"title": "Caf\udce9"}, UsageError, r"--title Caf\\udce9 is not in UTF-8"),
    "a seed of odd bytes": ({"seed": "\udce9"}, UsageError, "--seed .* is not in UTF-8"),
    "results of odd bytes": (
        {"methods": ("bicubic", "other=/nowhere\udce9/{name}.png")},
        DataError,
        "udce9/.*not in UTF-8",
    ),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests(case: str, bench_folder: Path, tmp_path: Path) -> None:
    changes, kind, message = BAD_REQUESTS[case]
    request = replace(small_request(bench_folder), **changes)  # type: ignore[arg-type]
    results = f"{bench_folder / 'Set5'}/{{name}}.png"  # of three scenes, where BSD100 has a fourth
    request = replace(request, methods=[method.replace("RESULTS", results) for method in request.methods])
    with pytest.raises(kind, match=message):
        create_study(tmp_path / "new", request)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_not_text_are_refused_before_anything_is_built(bench_folder: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(bench_folder, tmp_path / "data"))
    shutil.copy(data / "Set5" / "scene0.png", data / "Set5" / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(DataError, match=r"caf\\udce9.png: this name is not in UTF-8; rename it"):
        create_study(tmp_path / "new", replace(small_request(bench_folder), data=data, calibration=0))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_existing_folder_is_never_touched(bench_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(StudyError, match="is there already"):
        create_study(tmp_path / "there", small_request(bench_folder))


def test_below_a_closed_folder_no_study_is_made_or_read(bench_folder: Path, closed: Path) -> None:
    with pytest.raises(StudyError, match=r"closed/in: a study cannot be written there \(Permission denied\)"):
        create_study(closed / "in", small_request(bench_folder))
    with pytest.raises(StudyError, match=r"closed/in: cannot be read \(Permission denied\)"):
        open_study(closed / "in")


def test_calibration_pictures_in_a_closed_folder(bench_folder: Path, closed: Path) -> None:
    request = replace(small_request(bench_folder), calibration_data=closed / "photos")
    with pytest.raises(
        DataError, match=r"closed/photos: the calibration pictures cannot be read \(Permission denied\)"
    ):
        create_study(closed.parent / "new", request)


def test_calibration_pictures_of_one_name_are_two(bench_folder: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("a/dog.png", "b/dog.png", "b/dog.tif", "c/dog-2.png")):
        save_picture(tmp_path / name, make_photo(16, 16, seed=200 + number))
    request = replace(small_request(bench_folder), calibration_data=tmp_path, calibration=4)
    manifest = create_study(tmp_path / "new", request)
    sources = {name: about for name, about in manifest.sources.items() if name.startswith("calibration/")}
    assert set(sources) == {f"calibration/{name}" for name in ("dog", "dog-2", "dog-3", "dog-4")}
    assert sources["calibration/dog-2"]["file"] == "dog-2.png"
    assert len({about["sha256"] for about in sources.values()}) == 4
    shown = Counter(s.scene for s in manifest.stimuli.values() if s.anchor is not None)
    assert shown == {"dog": 2, "dog-2": 2, "dog-3": 2, "dog-4": 2}


def test_calibration_pictures_must_be_named_or_found(bench_folder: Path, tmp_path: Path) -> None:
    request = replace(small_request(bench_folder), data=bench_folder / "Set5", sets=("Set5",))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "Set5").symlink_to(bench_folder / "Set5")
    with pytest.raises(UsageError, match="--calibration-data"):
        create_study(tmp_path / "new", replace(request, data=tmp_path / "data"))
    manifest = create_study(tmp_path / "none", replace(request, data=tmp_path / "data", calibration=0))
    assert all(stimulus.anchor is None for stimulus in manifest.stimuli.values())


def test_a_test_picture_cannot_calibrate(bench_folder: Path, tmp_path: Path) -> None:
    request = replace(small_request(bench_folder), calibration_data=bench_folder / "Set5")
    with pytest.raises(DataError, match="is Set5/scene"):
        create_study(tmp_path / "new", request)
    assert list(tmp_path.iterdir()) == []


COPIES = {
    "the file itself": (lambda pixels: pixels, ".png"),
    "another format": (lambda pixels: pixels, ".tif"),
    "16 bits": (lambda pixels: pixels.astype(np.uint16) * 257, ".png"),
    "cut to sides that divide by 4": (lambda pixels: pixels[:500, :528], ".png"),
    "cut to sides that divide by 12": (lambda pixels: pixels[:492, :528], ".png"),
}


@pytest.mark.parametrize("case", COPIES)
def test_a_copy_of_a_test_picture_cannot_calibrate(case: str, tmp_path: Path) -> None:
    copied, suffix = COPIES[case]
    photo = make_photo(502, 530)  # larger than what calibration shows of a picture
    save_picture(tmp_path / "Set5" / "a.png", photo)
    save_picture(tmp_path / "calibration" / f"other{suffix}", copied(photo))
    request = Request(tmp_path, sets=("Set5",), methods=("nearest", "hr"), calibration=1, repeats=0)
    with pytest.raises(DataError, match=r"other\.\w+ is Set5/a\.png of the test"):
        create_study(tmp_path / "new", request)
    assert not (tmp_path / "new").exists()


def test_a_copy_without_loss_is_refused_where_the_test_is_the_one_cut(tmp_path: Path) -> None:
    photo = make_photo(53, 62)
    save_picture(tmp_path / "Set5" / "a.png", photo[:48, :60])
    save_picture(tmp_path / "calibration" / "whole.webp", photo, lossless=True)
    request = Request(tmp_path, sets=("Set5",), methods=("nearest", "hr"), calibration=1, repeats=0)
    with pytest.raises(DataError, match=r"whole\.webp is Set5/a\.png"):
        create_study(tmp_path / "new", request)


def test_a_study_can_be_created_again_from_its_seed(bench_folder: Path, tmp_path: Path) -> None:
    for number in range(20):
        save_picture(tmp_path / "photos" / f"photo{number}.png", make_photo(16, 16, seed=100 + number))
    request = replace(small_request(bench_folder), calibration_data=tmp_path / "photos", calibration=5, seed=None)
    first = create_study(tmp_path / "first", request)
    again = create_study(tmp_path / "again", replace(request, seed=first.seed))
    assert chosen(again) == chosen(first)
    assert choose_calibration(request, "one seed") != choose_calibration(request, "another")


def chosen(manifest: Manifest) -> tuple[set[str], list[tuple[str, str]]]:
    """The calibration pictures, and what is shown twice, in order."""
    twice = [manifest.stimuli[identifier] for identifier in manifest.repeats]
    return {s for s in manifest.sources if s.startswith("calibration/")}, [(s.scene, s.method) for s in twice]


def test_result_folders_and_weights_files_are_methods(bench_folder: Path, tiny_weights: Path, tmp_path: Path) -> None:
    results, own = tmp_path / "results", tmp_path / "lr=1" / "own.safetensors"
    for number in range(3):
        save_picture(results / f"scene{number}_other.png", np.full((48, 64, 3), 40 * number, np.uint8))
    own.parent.mkdir()
    shutil.copy(tiny_weights, own)
    request = replace(
        small_request(bench_folder),
        sets=("Set5",),
        methods=("hr", f"other={results}", f"tiny={tiny_weights}", str(own), str(own.with_name("left.safetensors"))),
        without=("left",),
        engine="torch",
    )
    shutil.copy(own, own.with_name("left.safetensors"))
    notes: list[str] = []
    manifest = create_study(tmp_path / "study", request, on_note=notes.append)
    assert notes == [f"Set5: other is what is named {{name}}_other in {results}"]
    assert manifest.sets == {"Set5": ("hr", "other", "tiny", "own")}
    assert manifest.methods["tiny"]["weights_sha256"]
    shown = {s.scene: s for s in manifest.stimuli.values() if s.method == "other"}
    assert read_rgb(tmp_path / "study" / shown["scene2"].file)[0, 0].tolist() == [80, 80, 80]


def test_results_of_another_size_are_refused(bench_folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for number in range(3):
        save_picture(results / f"scene{number}.png", np.zeros((48, 60, 3), np.uint8))
    request = replace(small_request(bench_folder), sets=("Set5",), methods=("hr", f"other={results}"))
    with pytest.raises(DataError, match="60x48, the original is 64x48"):
        create_study(tmp_path / "new", request)


@pytest.mark.parametrize("folder", ["B100", "BSDS100"])
def test_bsd100_by_another_name_is_the_same_study(folder: str, bench_folder: Path, tmp_path: Path) -> None:
    """A study can never be changed, so a folder's name must not decide how much each rater is shown."""
    home = tmp_path / "bench"
    shutil.copytree(bench_folder / "Set5", home / "Set5")
    shutil.copytree(bench_folder / "BSD100", home / folder)
    shutil.copytree(bench_folder / "Set5", tmp_path / "results" / "Set5")
    methods = ("nearest", "bicubic", "hr", f"srgan-vgg22={tmp_path / 'results'}")
    request = replace(small_request(bench_folder), data=home, methods=methods, repeats=2, calibration=0)
    manifest = create_study(tmp_path / "study", replace(request, repeats_from="BSD100"))
    assert manifest.sets == {"Set5": ("nearest", "bicubic", "hr", "srgan-vgg22"), folder: ("nearest", "bicubic", "hr")}
    assert [manifest.stimuli[identifier].set_name for identifier in manifest.repeats] == [folder] * 2


def test_paper_stands_for_the_twelve_and_bsd100_gets_nine(bench_folder: Path, tmp_path: Path) -> None:
    assert resolve(["paper"], ["selfexsr"])[:4] == ["nearest", "bicubic", "srcnn", "drcn"]
    assert resolve(["paper", "selfexsr=DIR"], [])[3] == "selfexsr=DIR"
    assert resolve(["srgan", "hr"], []) == ["srgan-vgg54", "hr"]
    assert resolve(["paper", "mine=FILE"], [])[-1] == "mine=FILE"
    results = {}
    for method in ("srgan-mse", "srgan-vgg54"):
        for number, folder in enumerate(["BSD100"] * 4):
            path = tmp_path / method / folder / f"scene{number}.png"
            save_picture(path, np.zeros((64, 48, 3), np.uint8))
        results[method] = f"{method}={tmp_path / method}"
    request = replace(small_request(bench_folder), sets=("BSD100",), methods=("hr", *results.values()))
    assert create_study(tmp_path / "nine", request).sets["BSD100"] == ("hr", "srgan-vgg54")
    everywhere = replace(request, same_everywhere=True)
    assert create_study(tmp_path / "all", everywhere).sets["BSD100"] == ("hr", "srgan-mse", "srgan-vgg54")


NOT_SHIPPED = {
    "both": (("paper",), (), "add selfexsr=DIR,drcn=DIR to .* --without selfexsr,drcn$"),
    "one given": (
        ("paper", "selfexsr=DIR"),
        (),
        "drcn, .* is not shipped: add drcn=DIR .* --without drcn$",
    ),
    "one left out": (("paper",), ("selfexsr",), "add drcn=DIR .* --without selfexsr,drcn$"),
    "named alone": (("hr", "bicubic", "selfexsr"), (), "selfexsr=DIR .* --without selfexsr$"),
}


@pytest.mark.parametrize("case", NOT_SHIPPED)
def test_a_missing_method_of_the_paper_says_how_to_go_on(case: str, bench_folder: Path, tmp_path: Path) -> None:
    methods, without, message = NOT_SHIPPED[case]
    request = replace(small_request(bench_folder), methods=methods, without=without)
    with pytest.raises(UsageError, match=message):
        create_study(tmp_path / "new", request)


def test_a_failure_of_a_shipped_method_is_told_as_it_is(bench_folder: Path, tmp_path: Path) -> None:
    request = replace(small_request(bench_folder), methods=("paper",), without=("selfexsr", "drcn"), engine="steam")
    with pytest.raises(FourfoldError, match="steam"):
        create_study(tmp_path / "new", request)


@pytest.mark.parametrize(
    ("methods", "without", "twelve", "nine", "ratings"),
    [
        (("paper", "selfexsr=DIR", "drcn=FILE"), (), 12, 9, 1128),
        (("paper", "selfexsr=DIR"), ("drcn",), 11, 8, 1009),
        (("paper", "drcn=FILE"), ("selfexsr",), 11, 8, 1009),
        (("paper",), ("selfexsr", "drcn"), 10, 7, 890),
    ],
)
def test_the_numbers_of_the_documentation(
    methods: tuple[str, ...], without: tuple[str, ...], twelve: int, nine: int, ratings: int
) -> None:
    names = [spec.partition("=")[0] for spec in resolve(methods, without)]
    on_bsd100 = design.methods_for("BSD100", names)
    assert (len(names), len(on_bsd100)) == (twelve, nine)
    assert 5 * len(names) + 14 * len(names) + 100 * len(on_bsd100) == ratings
    row = f"| {twelve} | {nine} | {ratings:,}"
    assert row in (Path(__file__).parents[2] / "docs" / "study.md").read_text(encoding="utf-8")


def test_what_is_shipped_is_the_paper_but_for_selfexsr_and_drcn(bench_folder: Path, tmp_path: Path) -> None:
    request = replace(small_request(bench_folder), methods=("paper",), without=("selfexsr", "drcn"), calibration=0)
    manifest = create_study(tmp_path / "new", request)
    assert {name: len(methods) for name, methods in manifest.sets.items()} == {"Set5": 10, "BSD100": 7}

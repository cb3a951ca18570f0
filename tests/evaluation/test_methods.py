"""Methods: what a name means, and how other programs' result pictures are found."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fourfold.errors import DataError, EvaluationError, FourfoldError, PictureError, UsageError
from fourfold.evaluation.methods import Network, ResultFolder, default_methods, make_methods
from fourfold.evaluation.naming import _places, find_naming
from fourfold.evaluation.sets import BenchmarkSet, Pair, pictures_in, read_pair, read_set
from fourfold.imaging import imresize
from fourfold.upscaling import upscaler
from fourfold.upscaling.engines import Engine
from fourfold.upscaling.graph import Graph
from tests.conftest import make_photo
from tests.evaluation.conftest import save

HR = make_photo(48, 56)
NO_FOLDERS = (".", "..", "../Set14/bicubic", "a\\b", "a\0b")


@pytest.fixture
def set5(data: Path) -> BenchmarkSet:
    return read_set(data / "Set5")


def test_resamplers_enlarge_the_lr_picture(set5: BenchmarkSet) -> None:
    entry = set5.entries[0]
    pair = read_pair(entry)
    for method in make_methods(["nearest", "bilinear", "bicubic", "lanczos"]):
        sr = method.restore(pair, entry, set5)
        assert np.array_equal(sr, imresize(pair.lr, 4, kernel=method.about()["kernel"]))
        assert sr.dtype == np.uint8 and method.timed
    (original,) = make_methods(["hr"])
    assert original.restore(pair, entry, set5) is pair.hr and not original.timed


def test_a_weights_file_runs_and_says_what_it_is(tiny_weights: Path, set5: BenchmarkSet) -> None:
    plain, named = make_methods([str(tiny_weights), f"mine={tiny_weights}"], precision="fp32")
    assert (plain.name, named.name) == ("tiny", "mine")
    entry = set5.entries[0]
    pair = read_pair(entry)
    assert plain.restore(pair, entry, set5).shape == pair.hr.shape
    about = plain.about()
    assert about["kind"] == "network" and len(about["weights_sha256"]) == 64
    assert about["precision"] == "fp32" and about["parameters"] > 0


def test_the_record_names_the_precisions_that_were_used(
    tiny_weights: Path, set5: BenchmarkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    (method,) = make_methods([str(tiny_weights)])
    method._upscaler.precision_for = lambda dtype: "bf16" if dtype == np.uint8 else "fp32"
    entry = set5.entries[0]
    pair = read_pair(entry)
    method.restore(pair, entry, set5)
    assert method.about()["precision"] == "bf16"
    deep = Pair(pair.hr.astype(np.uint16) * 257, pair.lr.astype(np.uint16) * 257)
    method.restore(deep, entry, set5)
    assert method.about()["precision"] == "bf16, fp32"


def test_engines_are_made_before_any_picture_is_timed(
    tiny_weights: Path, set5: BenchmarkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: True)
    made: list[str] = []
    create = upscaler.create

    def noted(graph: Graph, engine: str, precision: str) -> Engine:
        made.append(precision)
        return create(graph, engine, precision)

    monkeypatch.setattr(upscaler, "create", noted)
    (method,) = make_methods([str(tiny_weights)], engine="openvino")
    before = list(made)
    entry = set5.entries[0]
    pair = read_pair(entry)
    for lr in (pair.lr, pair.lr.astype(np.uint16) * 257):
        method.restore(Pair(pair.hr, lr), entry, set5)
    assert made == before and len(made) == 2


def test_a_plus_asks_for_the_mean_over_turned_versions(tiny_weights: Path, set5: BenchmarkSet) -> None:
    named = f"mine={tiny_weights}"
    plain, turned, mine = make_methods([str(tiny_weights), f"{tiny_weights}+", f"{named}+"], precision="fp32")
    assert (plain.name, turned.name, mine.name) == ("tiny", "tiny+", "mine")
    entry = set5.entries[0]
    pictures = [m.restore(read_pair(entry), entry, set5) for m in (plain, turned, mine)]
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[1], pictures[2])
    assert [m.about()["ensemble"] for m in (plain, turned, mine)] == [False, True, True]
    assert turned.about()["multiply_adds_per_pixel"] == 8 * plain.about()["multiply_adds_per_pixel"]


def test_a_file_may_end_in_a_plus(tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors+"
    path.write_bytes(tiny_weights.read_bytes())
    assert make_methods([str(path)])[0].about()["ensemble"] is False


def test_a_path_may_hold_an_equals_sign(tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "lr=1e-4" / "w.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(tiny_weights.read_bytes())
    assert [method.name for method in make_methods([str(path), f"mine={path}"])] == ["w", "mine"]


def test_names_that_mean_nothing(tmp_path: Path, tiny_weights: Path) -> None:
    for spec, error, says in (
        ("bicubik", UsageError, "no method 'bicubik'.*bicubic"),
        (f"x={tmp_path}/absent", EvaluationError, "no folder and no weights file"),
        (str(tmp_path / "absent.safetensors"), UsageError, "absent"),
        (f"hr={tmp_path}", UsageError, "hr is the originals; choose another name"),
        (f"HR={tmp_path}/{{name}}.png", UsageError, "hr is the originals; choose another name"),
        *((f"{name}={tmp_path}/{{name}}.png", UsageError, "no method can be called") for name in NO_FOLDERS),
        *((f"{name}={tiny_weights}", UsageError, "no method can be called") for name in NO_FOLDERS),
    ):
        with pytest.raises(error, match=says):
            make_methods([spec])
    with pytest.raises(UsageError, match="no engine 'abacus'"):
        make_methods([str(tiny_weights)], engine="abacus")
    with pytest.raises(UsageError, match="two methods are called 'bicubic'"):
        make_methods(["bicubic", "bicubic"])
    with pytest.raises(UsageError, match="no methods"):
        make_methods([])
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tiny_weights.read_bytes()[:200])
    with pytest.raises(FourfoldError, match=r"method .*broken"):
        make_methods([str(broken)])


def test_another_factor_is_refused(tmp_path: Path) -> None:
    from fourfold.weights import WeightsConfig, write_weights
    from tests.conftest import make_tensors

    parameters = {"blocks": 1, "width": 8, "scale": 2}
    path = write_weights(
        tmp_path / "x2.safetensors", WeightsConfig("srresnet", parameters), make_tensors("srresnet", parameters)
    )
    with pytest.raises(UsageError, match="enlarges 2x"):
        Network("x2", path)


@pytest.mark.parametrize("naming", ["{name}", "{name}_x4", "SRGAN-{name}", "{name}x4_out"])
def test_naming_is_found_out(naming: str, tmp_path: Path, set5: BenchmarkSet) -> None:
    for entry in set5.entries:
        save(tmp_path / "out" / (naming.format(name=entry.key) + ".png"), read_pair(entry).hr)
    method = ResultFolder("theirs", str(tmp_path / "out"))
    for entry in set5.entries:
        pair = read_pair(entry)
        assert np.array_equal(method.restore(pair, entry, set5), pair.hr)
    assert method.about()["naming"] == {"Set5": naming}


def test_a_folder_of_sets(tmp_path: Path, set5: BenchmarkSet) -> None:
    entry = set5.entries[1]
    pair = read_pair(entry)
    save(tmp_path / "out" / "Set5" / "bird.png", pair.hr)
    (method,) = make_methods([f"theirs={tmp_path / 'out'}"])
    assert np.array_equal(method.restore(pair, entry, set5), pair.hr)


def test_a_given_naming(tmp_path: Path, set5: BenchmarkSet) -> None:
    entry = set5.entries[1]
    pair = read_pair(entry)
    save(tmp_path / "Set5-out" / "the bird (4).png", pair.hr)
    (method,) = make_methods([f"theirs={tmp_path}/{{set}}-out/the {{name}} (4).png"])
    assert np.array_equal(method.restore(pair, entry, set5), pair.hr)


def test_selfexsrs_folder_holds_many_methods(tmp_path: Path) -> None:
    for k in (1, 2):
        for kind in ("HR", "LR", "SelfExSR", "SRCNN", "bicubic"):
            save(
                tmp_path / "Set5" / "image_SRF_4" / f"img_00{k}_SRF_4_{kind}.png",
                imresize(HR, 0.25) if kind == "LR" else HR,
            )
    of = read_set(tmp_path / "Set5")
    assert [e.key for e in of.entries] == ["img_001", "img_002"]
    folder = tmp_path / "Set5" / "image_SRF_4"
    assert find_naming(folder, ["img_001", "img_002"], "SelfExSR").text == "{name}_SRF_4_SelfExSR"
    (method,) = make_methods([f"srcnn={tmp_path}"])
    pair = read_pair(of.entries[0])
    assert np.array_equal(method.restore(pair, of.entries[0], of), HR)


def test_what_cannot_be_found_out(tmp_path: Path, set5: BenchmarkSet) -> None:
    entry = set5.entries[0]
    pair = read_pair(entry)
    save(tmp_path / "other" / "cat.png", HR)
    with pytest.raises(DataError, match=r"no file .* is named after"):
        ResultFolder("theirs", str(tmp_path / "other")).restore(pair, entry, set5)
    for name in ("baby_a", "baby_b"):
        save(tmp_path / "two" / f"{name}.png", HR)
    with pytest.raises(DataError, match=r"several namings.*\{name\}_a"):
        ResultFolder("theirs", str(tmp_path / "two")).restore(pair, entry, set5)
    save(tmp_path / "some" / "bird.png", HR)
    with pytest.raises(DataError, match=r"no picture for baby\.png"):
        ResultFolder("theirs", str(tmp_path / "some")).restore(pair, entry, set5)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no folder Set5 and no pictures"):
        ResultFolder("theirs", str(tmp_path / "none")).restore(pair, entry, set5)


BABY, BIRD, FLY = "baby", "bird", "butterfly"


@pytest.mark.parametrize(
    ("method", "files", "naming"),
    [
        # the method's own naming wins where another program has more pictures
        ("ours", {"{}_bicubic": (BABY, BIRD, FLY), "{}_ours": (BABY, FLY)}, "{name}_ours"),
        ("ours", {"{}_HR": (BABY, BIRD, FLY), "{}_ours": (BABY, FLY)}, "{name}_ours"),
        ("Ours", {"{}": (BABY, BIRD, FLY), "ours-{}": (BABY,)}, "ours-{name}"),
        ("srgan", {"{}_ESRGAN": (BABY, BIRD, FLY), "{}_SRGAN": (BABY,)}, "{name}_SRGAN"),
        ("srgan", {"{}_SRGAN-VGG54": (BABY, BIRD), "{}_SRGAN": (BABY, BIRD)}, "{name}_SRGAN"),
        ("srgan-vgg54", {"{}_SRGAN-VGG54": (BABY, BIRD), "{}_SRGAN": (BABY, BIRD, FLY)}, "{name}_SRGAN-VGG54"),
        ("ours", {"{}_ours_x2": (BABY,), "{}_ours_x4": (BABY, BIRD)}, "{name}_ours_x4"),
        # none holds its name: only what stands alone, and never the originals
        ("theirs", {"{}_x4": (BABY, BIRD, FLY), "{}_old": (BABY,)}, "{name}_x4"),
        ("theirs", {"{}_GT": (BABY, BIRD, FLY), "{}_lr": (BABY, BIRD, FLY), "{}_x4": (BABY,)}, "{name}_x4"),
        ("theirs", {"{}_LRnet": (BABY, BIRD)}, "{name}_LRnet"),
        # refused, with the candidates
        (
            "theirs",
            {"{}": (BABY, BIRD, FLY), "{}_x4": (BABY, BIRD)},
            "several namings.*{name}, {name}_x4;.*/{name}.png",
        ),
        ("theirs", {"{}_a": (BABY, BIRD, FLY), "{}_b": (BABY, BIRD, FLY)}, "several namings.*{name}_a, {name}_b"),
        ("gan", {"{}_ESRGAN": (BABY, BIRD, FLY), "{}_SRGAN": (BABY, BIRD, FLY)}, "several namings"),
        ("srgan", {"{}_SRGAN-VGG54": (BABY, BIRD, FLY), "{}_SRGAN": (BABY, BIRD)}, "several namings"),
        ("ours", {"{}_ours_x2": (BABY, BIRD), "{}_ours_x4": (BABY, BIRD)}, "several namings"),
        ("theirs", {"{}_HR": (BABY, BIRD, FLY)}, "only originals.*theirs=.*/{name}_HR.png"),
    ],
)
def test_whose_pictures_they_are(method: str, files: dict[str, tuple[str, ...]], naming: str, tmp_path: Path) -> None:
    for pattern, keys in files.items():
        for key in keys:
            (tmp_path / f"{pattern.format(key)}.png").touch()
    if naming.startswith(("several", "only")):
        with pytest.raises(DataError, match=naming.replace("{", r"\{").replace("}", r"\}")):
            find_naming(tmp_path, [BABY, BIRD, FLY], method)
    else:
        assert find_naming(tmp_path, [BABY, BIRD, FLY], method).text == naming


def test_numbers_inside_names_are_no_rivals(tmp_path: Path) -> None:
    keys = [str(k) for k in range(1, 101)]
    for key in keys:
        (tmp_path / f"img_{key}_x4.png").touch()
        (tmp_path / f"{key}_mine_4.png").touch()
    assert find_naming(tmp_path, keys, "mine").text == "{name}_mine_4"
    for key in keys:
        (tmp_path / f"{key}_mine_4.png").unlink()
    assert find_naming(tmp_path, keys, "theirs").text == "img_{name}_x4"


def test_a_missing_picture_of_a_mixed_folder_fails(tmp_path: Path, set5: BenchmarkSet) -> None:
    for entry in set5.entries:
        save(tmp_path / "out" / f"{entry.key}_bicubic.png", HR)
        if entry.key != "bird":
            save(tmp_path / "out" / f"{entry.key}_ours.png", HR)
    method = ResultFolder("ours", str(tmp_path / "out"))
    baby, bird, _ = set5.entries
    method.restore(read_pair(baby), baby, set5)
    with pytest.raises(DataError, match=r"ours has no picture for bird\.png; expected .*bird_ours\.png"):
        method.restore(read_pair(bird), bird, set5)
    assert method.notes() == [f"Set5: ours is what is named {{name}}_ours in {tmp_path / 'out'}"]


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        ("{name}_x4.png", "bird_x4.png"),
        ("{name}_x4", "bird_x4.tif"),
        ("{name}.x4", "bird.x4.png"),
        ("per/{name}/out.png", "per/bird/out.png"),
        ("per/{name}/out", "per/bird/out.tiff"),
        ("{set}/{name}/{name}_{set}.PNG", "Set5/bird/bird_Set5.PNG"),
        ("{name}_x4.png", None),
    ],
)
def test_a_given_naming_means_exactly_its_file(
    pattern: str, file: str | None, tmp_path: Path, set5: BenchmarkSet
) -> None:
    entry = set5.entries[1]
    pair = read_pair(entry)
    save(tmp_path / "bird_x4.jpg" if pattern == "{name}_x4.png" else tmp_path / "other.png", pair.hr // 2)
    if file is not None:
        save(tmp_path / file, pair.hr)
    (method,) = make_methods([f"theirs={tmp_path}/{pattern}"])
    if file is None:
        with pytest.raises(DataError, match=r"no picture for bird\.png; expected .*bird_x4\.png"):
            method.restore(pair, entry, set5)
    else:
        assert np.array_equal(method.restore(pair, entry, set5), pair.hr)


@pytest.mark.parametrize("location", ["", "/{name}"])
def test_one_name_with_two_endings_is_refused(location: str, tmp_path: Path, set5: BenchmarkSet) -> None:
    entry = set5.entries[1]
    pair = read_pair(entry)
    for ending in ("png", "jpg"):
        save(tmp_path / "out" / f"bird.{ending}", pair.hr)
    (method,) = make_methods([f"theirs={tmp_path / 'out'}{location}"])
    with pytest.raises(DataError, match=r"bird\.jpg and bird\.png are both called 'bird'"):
        method.restore(pair, entry, set5)


def test_selfexsrs_folder_may_be_given_directly(tmp_path: Path, set5: BenchmarkSet) -> None:
    entry = set5.entries[0]
    pair = read_pair(entry)
    save(tmp_path / "Set5" / "image_SRF_4" / "baby_SRF_4_SelfExSR.png", pair.hr)
    for root in (tmp_path, tmp_path / "Set5", tmp_path / "Set5" / "image_SRF_4"):
        (method,) = make_methods([f"SelfExSR={root}"])
        assert np.array_equal(method.restore(pair, entry, set5), pair.hr)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were listed for results, in order."""
    folders: list[Path] = []

    def count(folder: Path) -> list[Path]:
        folders.append(folder)
        return pictures_in(folder)

    monkeypatch.setattr("fourfold.evaluation.naming.pictures_in", count)
    return folders


@pytest.mark.parametrize("location", ["", "/{name}", "/{name}.png"])
def test_a_folder_is_listed_a_few_times_whatever_the_pictures(
    location: str, tmp_path: Path, set5: BenchmarkSet, listed: list[Path]
) -> None:
    for entry in set5.entries:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / f"{entry.key}.png").touch()
    method = ResultFolder("theirs", f"{tmp_path / 'out'}{location}")
    first = method.source(set5.entries[0], set5)
    before = len(listed)
    assert first.is_file() and before <= 3
    for entry in set5.entries * 10:
        assert method.source(entry, set5).stem == entry.key
    assert len(listed) == before


def test_a_naming_that_is_not_found_is_sought_once(tmp_path: Path, set5: BenchmarkSet, listed: list[Path]) -> None:
    save(tmp_path / "other" / "cat.png", HR)
    method = ResultFolder("theirs", str(tmp_path / "other"))
    for entry in set5.entries:
        with pytest.raises(DataError, match=r"no file .* is named after 'baby'"):
            method.source(entry, set5)
        if entry is set5.entries[0]:
            before = len(listed)
    assert len(listed) == before


def test_keys_are_looked_up_and_not_searched_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"img{k:03}" for k in range(600)]
    for key in keys:
        (tmp_path / f"{key}_x4.png").touch()
    searched: list[str] = []

    def places(key: str, stem: str) -> Iterator[int]:
        searched.append(key)
        return _places(key, stem)

    monkeypatch.setattr("fourfold.evaluation.naming._places", places)
    assert find_naming(tmp_path, keys, "theirs").text == "{name}_x4"
    assert sorted(searched) == keys


@pytest.mark.parametrize(
    ("key", "stem", "places"),
    [("aa", "aaaa", [0, 2]), ("a", "banana", [1, 3, 5]), ("x", "y", []), ("", "ab", [0, 1, 2]), ("é.", "é.é.", [0, 2])],
)
def test_places_are_those_of_a_search_without_overlaps(key: str, stem: str, places: list[int]) -> None:
    assert list(_places(key, stem)) == places == [match.start() for match in re.finditer(re.escape(key), stem)]


def test_closed_folders_are_named(closed: Path, set5: BenchmarkSet) -> None:
    for spec in (f"m={closed}/e2.safetensors", f"m={closed}/x"):
        with pytest.raises(EvaluationError, match=r"m=.*closed/.* cannot be read \(Permission denied\)"):
            make_methods([spec])
    with pytest.raises(UsageError, match=r"closed/e2.safetensors: cannot be read \(Permission denied\)"):
        make_methods([f"{closed}/e2.safetensors"])
    (method,) = make_methods([f"m={closed}"])
    with pytest.raises(DataError, match=r"closed: cannot be read \(Permission denied\)"):
        method.restore(read_pair(set5.entries[0]), set5.entries[0], set5)
    (method,) = make_methods([f"m={closed}/{{name}}.png"])
    with pytest.raises(PictureError, match=r"baby\.png"):
        method.restore(read_pair(set5.entries[0]), set5.entries[0], set5)


@pytest.mark.parametrize(("options", "says"), [({"engine": "foo"}, "engine 'foo'"), ({"precision": "f"}, "precision")])
def test_an_engine_that_nobody_uses_must_exist_all_the_same(options: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_methods(["bicubic"], **options)


def test_defaults_are_methods() -> None:
    assert default_methods()[:2] == ["nearest", "bicubic"]

"""Methods: what a name means, and how other programs' result pictures are found."""

from pathlib import Path

import numpy as np
import pytest

from fourfold.errors import DataError, EvaluationError, FourfoldError, UsageError
from fourfold.evaluation.methods import Network, ResultFolder, default_methods, find_naming, make_methods
from fourfold.evaluation.sets import BenchmarkSet, read_pair, read_set
from fourfold.imaging import imresize
from tests.conftest import make_photo
from tests.evaluation.conftest import save

HR = make_photo(48, 56)


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


def test_names_that_mean_nothing(tmp_path: Path, tiny_weights: Path) -> None:
    for spec, error, says in (
        ("bicubik", UsageError, "no method 'bicubik'.*bicubic"),
        (f"x={tmp_path}/absent", EvaluationError, "no folder and no weights file"),
        (str(tmp_path / "absent.safetensors"), UsageError, "absent"),
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


def test_defaults_are_methods() -> None:
    assert default_methods()[:2] == ["nearest", "bicubic"]

"""The benchmark: means, significance, and what happens when something cannot be measured."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourfold.errors import CancelledError, EngineError, PictureError, UsageError
from fourfold.evaluation import psnr, ssim_daala, ssim_wang
from fourfold.evaluation.benchmark import Mean, difference_to_paper, papers, run_benchmark
from fourfold.evaluation.methods import make_methods
from fourfold.evaluation.niqe import PristineModel
from fourfold.evaluation.paper import published, why_left_out
from fourfold.evaluation.sets import BenchmarkSet, Entry, Pair, find_sets, read_pair
from fourfold.weights import WeightsConfig, write_weights
from tests.conftest import make_photo, make_tensors
from tests.evaluation.conftest import save


@dataclass
class Broken:
    """A method that gives what it is told to."""

    result: Any
    name: str = "broken"
    timed: bool = True

    def restore(self, pair: Pair, entry: Entry, of: BenchmarkSet) -> NDArray[Any]:
        value = self.result(pair) if callable(self.result) else self.result
        if isinstance(value, BaseException):
            raise value
        return np.asarray(value)

    def about(self) -> dict[str, Any]:
        return {"kind": "test"}


def test_scores_and_means(data: Path) -> None:
    found = run_benchmark(find_sets(data), make_methods(["nearest", "bicubic", "hr"]), against="bicubic")
    assert len(found.scores) == 4 * 3 and not found.problems
    by_hand = []
    for entry in found.sets[0].entries:
        pair = read_pair(entry)
        sr = found.methods[1].restore(pair, entry, found.sets[0])
        values = [psnr(sr, pair.hr), ssim_wang(sr, pair.hr), ssim_daala(sr, pair.hr)]
        score = found.score("Set5", entry.image, "bicubic")
        assert score is not None and score.seconds is not None and score.size == pair.hr.shape[:2]
        assert [score.values[k] for k in ("psnr_y", "ssim_wang", "ssim_daala")] == values
        by_hand.append(values)
    mean = found.mean("Set5", "bicubic")
    assert mean is not None and mean.complete and mean.images == 3
    assert [mean.values[k] for k in ("psnr_y", "ssim_wang", "ssim_daala")] == pytest.approx(np.mean(by_hand, axis=0))


def test_identical_pictures_are_inf(data: Path) -> None:
    found = run_benchmark(find_sets(data), make_methods(["bicubic", "hr"]), against="bicubic")
    mean = found.mean("Set5", "hr")
    assert mean is not None and mean.values["psnr_y"] == math.inf and mean.p["psnr_y"] is None
    assert mean.seconds is None


def test_one_picture_has_a_mean_and_no_test(data: Path) -> None:
    found = run_benchmark(find_sets(data, ["Other"]), make_methods(["nearest", "bicubic"]), against="bicubic")
    mean = found.mean("Other", "nearest")
    assert mean is not None and mean.complete and mean.images == 1 and mean.p["psnr_y"] is None


def test_niqe_is_none_where_it_does_not_apply(data: Path) -> None:
    save(data / "Set5" / "large.png", make_photo(104, 200))
    pristine = PristineModel(np.ones(36), np.eye(36))
    found = run_benchmark(find_sets(data, ["Set5"]), make_methods(["bicubic"]), pristine=pristine)
    values = {s.image: s.values["niqe"] for s in found.scores}
    assert values["large.png"] is not None and values["baby.png"] is None
    mean = found.mean("Set5", "bicubic")
    assert mean is not None and mean.values["niqe"] is None and mean.values["psnr_y"] is not None


def test_further_measures(data: Path) -> None:
    extra = {"mine": lambda sr, hr: float(sr.mean() - hr.mean())}
    found = run_benchmark(find_sets(data), make_methods(["hr"]), extra=extra)
    assert all(s.values["mine"] == 0.0 for s in found.scores)


def test_a_further_measure_that_a_picture_is_too_small_for_costs_no_table(data: Path) -> None:
    def deep(sr: Any, hr: Any) -> float:
        if sr.shape != (40, 44, 3):
            raise RuntimeError("Given input size: (192x2x2). Calculated output size: (192x0x0)\n(more)")
        return 0.0

    found = run_benchmark(find_sets(data), make_methods(["hr"]), extra={"lpips": deep})
    assert found.scores and found.problems
    assert all("lpips: Given input size" in p.message for p in found.problems)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (lambda pair: pair.lr, "was the LR picture given"),
        (lambda pair: pair.hr[:-1], "the result is 56x47, the original 56x48"),
        (lambda pair: np.full(pair.hr.shape, np.nan), "not finite"),
        (lambda pair: np.zeros((*pair.hr.shape[:2], 4), np.uint8), "4"),
        (EngineError("out of order"), "out of order"),
    ],
)
def test_what_cannot_be_measured_is_named_not_averaged(result: Any, says: str, data: Path) -> None:
    found = run_benchmark(find_sets(data, ["Set5"]), [*make_methods(["bicubic"]), Broken(result)])
    assert len(found.problems) == 3 and all(p.method == "broken" for p in found.problems)
    assert says in found.problems[0].message
    mean = found.mean("Set5", "broken")
    assert mean is not None and not mean.complete and mean.values["psnr_y"] is None
    rest = found.mean("Set5", "bicubic")
    assert rest is not None and rest.complete


def test_one_bad_result_leaves_no_mean(data: Path) -> None:
    first = True

    def once(pair: Pair) -> Any:
        nonlocal first
        result, first = (EngineError("hiccup") if first else pair.hr), False
        return result

    found = run_benchmark(find_sets(data, ["Set5"]), [*make_methods(["bicubic"]), Broken(once)], against="bicubic")
    mean = found.mean("Set5", "broken")
    assert mean is not None and mean.images == 2 and mean.values["psnr_y"] is None and mean.p == {}


def test_results_of_the_uncropped_original_are_cropped(data: Path) -> None:
    odd = make_photo(51, 58, seed=4)
    save(data / "Odd" / "a.png", odd)
    found = run_benchmark(find_sets(data, ["Odd"]), [Broken(odd)])
    assert found.scores[0].values["psnr_y"] == math.inf
    assert found.notes == [
        "Odd: a.png cropped from 58x51 to 56x48",
        "Odd, broken: a.png cropped from 58x51 to 56x48, as its original",
    ]


@pytest.mark.parametrize(
    ("original", "result"),
    [((48, 56), (49, 57)), ((48, 56), (51, 59)), ((48, 56), (48, 57)), ((51, 58), (50, 58)), ((51, 58), (51, 59))],
)
def test_results_of_another_size_are_refused(original: tuple[int, int], result: tuple[int, int], data: Path) -> None:
    save(data / "Odd" / "a.png", make_photo(*original, seed=4))
    found = run_benchmark(find_sets(data, ["Odd"]), [Broken(make_photo(*result, seed=4))])
    assert not found.scores
    assert f"the result is {result[1]}x{result[0]}, the original 56x48" in found.problems[0].message


@pytest.mark.parametrize("content", ["unreadable", "too small for the border", "too small for SSIM"])
def test_bad_originals_are_named(content: str, data: Path) -> None:
    path = data / "Set5" / "zz.png"
    if content == "unreadable":
        path.write_bytes(b"no picture")
    else:
        save(path, make_photo(8 if "border" in content else 16, 40))
    found = run_benchmark(find_sets(data, ["Set5"]), make_methods(["bicubic"]))
    assert [p.image for p in found.problems] == ["zz.png"]
    mean = found.mean("Set5", "bicubic")
    assert mean is not None and not mean.complete and len(found.scores) == 3


def test_progress_and_keep(data: Path) -> None:
    told: list[tuple[int, int, str]] = []
    kept: list[tuple[str, str]] = []
    run_benchmark(
        find_sets(data, ["Other"]),
        make_methods(["nearest", "bicubic"]),
        progress=lambda *event: told.append(event),
        keep=lambda of, entry, method, sr: kept.append((entry.image, method)),
    )
    assert told == [(0, 2, "Other/lone.png nearest"), (1, 2, "Other/lone.png bicubic")]
    assert kept == [("lone.png", "nearest"), ("lone.png", "bicubic")]


def test_what_cannot_be_kept_is_named_and_measured_all_the_same(data: Path) -> None:
    def keep(of: BenchmarkSet, entry: Entry, method: str, sr: Any) -> None:
        if entry.image == "bird.png":
            raise PictureError("the disk is full")

    sets = find_sets(data, ["Set5"])
    found = run_benchmark(sets, make_methods(["nearest", "bicubic"]), keep=keep)
    assert [(p.image, p.method, p.message) for p in found.unkept] == [
        ("bird.png", "nearest", "the disk is full"),
        ("bird.png", "bicubic", "the disk is full"),
    ]
    assert not found.problems
    mean = found.mean("Set5", "bicubic")
    assert mean is not None and mean.complete


def test_cancelling_is_no_problem_of_a_picture(data: Path) -> None:
    with pytest.raises(CancelledError):
        run_benchmark(find_sets(data), [Broken(CancelledError("stop"))])


def test_the_method_to_compare_with_must_be_there(data: Path) -> None:
    with pytest.raises(UsageError, match=r"no method 'bicubic'.*nearest"):
        run_benchmark(find_sets(data), make_methods(["nearest"]), against="bicubic")


def test_the_papers_numbers() -> None:
    assert published("bicubic", "Set5") == (28.43, 0.8211, 1.97)
    assert published("srgan", "Set14") == published("SRGAN-VGG54", "Set14") == (26.02, 0.7397, 3.72)
    assert published("srgan-vgg22", "BSD100") is None
    assert published("bicubic", "BSD100", 100) is not None and published("bicubic", "BSD100", 99) is None
    assert published("bicubic", "B100", 100) == published("bicubic", "bsds100") == published("bicubic", "BSD100")
    assert published("bicubic", "set5") == published("bicubic", "Set5")
    assert "its BSD100 has 100 pictures, this one 99" in why_left_out("B100", 99, ["bicubic"])[0]
    assert published("mine", "Set5") is None and published("bicubic", "Urban100") is None
    mean = Mean("Set5", "bicubic", 5, True, {"psnr_y": 28.5, "ssim_daala": 0.82}, None)
    assert difference_to_paper(mean) == pytest.approx({"psnr_y": 0.07, "ssim_daala": -0.0011})
    part = Mean("Set5", "bicubic", 3, True, {"psnr_y": 28.5, "ssim_daala": 0.82}, None)
    assert papers(mean) is not None and papers(part) is None and difference_to_paper(part) == {}
    failed = Mean("Set5", "bicubic", 3, False, {"psnr_y": None}, None, of_images=5)
    assert papers(failed) == (28.43, 0.8211, 1.97) and difference_to_paper(failed) == {}
    assert difference_to_paper(Mean("Set5", "hr", 5, True, {"psnr_y": math.inf, "ssim_daala": 1.0}, None)) == {}


@pytest.mark.parametrize(
    ("pictures", "methods", "note"),
    [
        (3, ["bicubic"], "Set5: the paper's numbers are left out; its Set5 has 5 pictures, this one 3"),
        (5, ["bicubic"], None),
        (3, ["bilinear"], None),
    ],
)
def test_a_part_of_the_papers_set_is_not_compared(
    pictures: int, methods: list[str], note: str | None, data: Path
) -> None:
    for k in range(3, pictures):
        save(data / "Set5" / f"{k}.png", make_photo(48, 56, seed=k))
    found = run_benchmark(find_sets(data), make_methods(methods))
    assert found.notes == ([note] if note else [])
    assert [papers(mean) is not None for mean in found.means] == [pictures == 5, False]


@pytest.mark.filterwarnings("ignore")
def test_a_network_whose_output_is_not_finite_is_named(data: Path, tmp_path: Path) -> None:
    tensors = {k: np.full_like(v, 1e30) for k, v in make_tensors("espcn", {"width": 4, "inner": 4}).items()}
    tensors["conv3.weight"][:, ::2] *= -1
    config = WeightsConfig("espcn", {"width": 4, "inner": 4, "activation": "relu"})
    path = write_weights(tmp_path / "wild.safetensors", config, tensors)
    found = run_benchmark(find_sets(data, ["Other"]), make_methods(["bicubic", f"wild={path}"], precision="fp32"))
    assert [p.method for p in found.problems] == ["wild"]
    assert "not finite" in found.problems[0].message or "NaN" in found.problems[0].message
    assert [s.method for s in found.scores] == ["bicubic"]

"""Our reading of P.910 and BT.500 against the package sureal on the same ratings; run where sureal is installed."""

import contextlib
import io
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourfold.study.raters import fit_quality, rejected
from fourfold.study.simulation import make_qualities, make_raters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("sureal.subjective_model", reason="install sureal to compare with it")


@pytest.fixture(scope="module")
def ratings() -> NDArray[np.float64]:
    """26 raters, two of whom click at random, and 240 pictures; (raters, pictures), whole scores."""
    rng = np.random.default_rng(21)
    means = {f"m{n}": float(mean) for n, mean in enumerate(np.linspace(1.3, 4.5, 12))}
    qualities = make_qualities(means, tuple(map(str, range(20))), rng)
    values = [[rater.rate(quality, rng) for quality in qualities.values()] for rater in make_raters(26, rng)]
    values[3] = rng.integers(1, 6, 240).tolist()
    values[17] = rng.integers(1, 6, 240).tolist()
    return np.array(values, dtype=np.float64)


def dataset_of(values: NDArray[np.float64]) -> Any:
    pictures = range(values.shape[1])
    return SimpleNamespace(
        ref_videos=[{"content_id": n, "path": f"r{n}"} for n in pictures],
        dis_videos=[{"content_id": n, "asset_id": n, "path": f"d{n}", "os": values[:, n].tolist()} for n in pictures],
    )


def run(models: Any, kind: str, values: NDArray[np.float64]) -> dict[str, Any]:
    from sureal.dataset_reader import RawDatasetReader

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        result: dict[str, Any] = getattr(models, kind)(RawDatasetReader(dataset_of(values))).run_modeling()
    return result


def test_mos(models: Any, ratings: NDArray[np.float64]) -> None:
    theirs = run(models, "MosModel", ratings)
    np.testing.assert_allclose(ratings.mean(axis=0), theirs["quality_scores"], atol=1e-12)


def test_quality_bias_and_inconsistency(models: Any, ratings: NDArray[np.float64]) -> None:
    theirs = run(models, "SubjectMLEModelProjectionSolver", ratings)
    ours = fit_quality(ratings)
    for name, own in {
        "quality_scores": ours.quality,
        "quality_scores_std": ours.quality_error,
        "observer_bias": ours.bias,
        "observer_inconsistency": ours.inconsistency,
    }.items():
        difference = np.abs(own - np.array(theirs[name])).max()
        print(f"{name}: largest difference {difference:.1e}")
        assert difference < 1e-6, name


def test_screening(models: Any, ratings: NDArray[np.float64]) -> None:
    theirs = run(models, "SubjrejMosModel", ratings)
    ours = rejected(ratings)
    print(f"rejected: ours {np.flatnonzero(ours).tolist()}, theirs {np.flatnonzero(theirs['observer_rejected'])}")
    assert ours.tolist() == list(theirs["observer_rejected"])
    assert ours.any()  # rater 17 clicks at random, too, and passes: the screening is known to be lenient

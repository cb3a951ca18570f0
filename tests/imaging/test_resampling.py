"""The resampler against hand values, a slow direct implementation, and the published control values."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourfold.evaluation.metrics import psnr
from fourfold.imaging import imresize, matrix, output_size, resize_array
from fourfold.imaging.resampling import taps


def cubic(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_bicubic(line: list[float], n_out: int, scale: float) -> list[float]:
    """One line resized straight from the definition: every input sample asked for its weight."""
    n, stretch = len(line), min(scale, 1.0)
    out = []
    for k in range(n_out):
        centre = (k + 0.5) / scale - 0.5
        total = weight_sum = 0.0
        for j in range(-4 * n, 5 * n):
            weight = cubic((centre - j) * stretch)
            mirrored = j % (2 * n)
            total += weight * line[mirrored if mirrored < n else 2 * n - 1 - mirrored]
            weight_sum += weight
        out.append(total / weight_sum)
    return out


def test_doubling_uses_the_cubic_weights_for_a_quarter_pixel() -> None:
    table = taps(16, 32, 2.0)
    row = {int(i): float(w) for i, w in zip(table.indices[9], table.weights[9], strict=True) if w}
    # sample 9 lies at 4.25 input pixels: distances 1.25, 0.25, 0.75, 1.75
    assert row == pytest.approx({3: -0.0703125, 4: 0.8671875, 5: 0.2265625, 6: -0.0234375})


def test_shrinking_is_antialiased() -> None:
    weights = taps(64, 16, 0.25).weights[8]
    assert np.count_nonzero(weights) == 16
    assert weights.sum() == pytest.approx(1.0)
    assert weights.max() < 0.25


@given(st.integers(1, 40), st.sampled_from([0.25, 0.5, 1 / 3, 2.0, 4.0, 1.5]), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_bicubic_equals_the_definition(n: int, scale: float, seed: int) -> None:
    line = np.random.default_rng(seed).random(n)
    n_out = output_size(n, n, scale)[0]
    resized = imresize(line[None, :], size=(1, n_out)) if n_out == n * scale else None
    by_scale = resize_array(line[None, :], (1, n_out), scale=scale)[0]
    # one row only: the vertical taps read that row alone
    assert by_scale == pytest.approx(slow_bicubic(line.tolist(), n_out, scale), abs=1e-9)
    if resized is not None:
        assert resized[0] == pytest.approx(by_scale, abs=1e-12)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos", "gaussian"])
@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_a_flat_picture_stays_flat(kernel: str, scale: float) -> None:
    flat = np.full((24, 20, 3), 77, np.uint8)
    assert (imresize(flat, scale, kernel=kernel) == 77).all()  # type: ignore[arg-type]


def test_nearest_repeats_pixels() -> None:
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(imresize(picture, 4, kernel="nearest"), np.kron(picture, np.ones((4, 4), np.uint8)))


@pytest.mark.parametrize("dtype", [">u2", "<u2"])
def test_the_order_of_bytes_does_not_matter(dtype: str) -> None:
    picture = np.random.default_rng(0).integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    assert np.array_equal(imresize(picture.astype(dtype), 0.25), imresize(picture, 0.25))


@given(st.integers(1, 33), st.integers(1, 33), st.sampled_from([0.25, 4.0]), st.sampled_from(["bicubic", "lanczos"]))
@settings(max_examples=25, deadline=None)
def test_torch_and_numpy_agree(height: int, width: int, scale: float, kernel: str) -> None:
    x = np.random.default_rng(height * 40 + width).random((2, 3, height, width))
    size = output_size(height, width, scale)
    by_numpy = resize_array(x, size, scale=scale, kernel=kernel)  # type: ignore[arg-type]
    by_torch = resize_array(torch.from_numpy(x), size, scale=scale, kernel=kernel)  # type: ignore[arg-type]
    assert by_torch.dtype == torch.float64
    assert np.allclose(by_numpy, by_torch.numpy(), atol=1e-12)


def test_the_matrix_is_the_same_resize() -> None:
    x = np.random.default_rng(0).random((96, 96))
    dense = matrix(96, 24, 0.25)
    assert np.allclose(dense @ x @ dense.T, resize_array(x, (24, 24), scale=0.25), atol=1e-12)


def test_gaussian_degradation_blurs_symmetrically() -> None:
    weights = matrix(32, 8, 0.25, "gaussian")
    assert np.allclose(weights[4], weights[3][::-1])
    spread = math.sqrt(sum(w * (j - 17.5) ** 2 for j, w in enumerate(weights[4])))
    assert spread == pytest.approx(1.6, abs=0.02)


def test_odd_sizes_are_rounded_up_and_sampled_at_the_exact_factor() -> None:
    assert imresize(np.zeros((7, 5), np.uint8), 0.25).shape == (2, 2)
    line = np.arange(7.0)
    assert resize_array(line[None], (1, 2), scale=0.25)[0] == pytest.approx(slow_bicubic(line.tolist(), 2, 0.25))


def test_integers_round_half_up_and_saturate() -> None:
    assert imresize(np.array([[0, 1]], np.uint8), size=(1, 1), kernel="bilinear")[0, 0] == 1
    edge = np.zeros((8, 8), np.uint16)
    edge[:, 4:] = 65535
    assert imresize(edge, 4).max() == 65535


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: imresize(np.zeros((4, 4))), "either a scale or a size"),
        (lambda: imresize(np.zeros((4, 4)), 2, size=(8, 8)), "either a scale or a size"),
        (lambda: imresize(np.zeros(4), 2), "takes"),
        (lambda: imresize(np.zeros((0, 4)), 2), "axis of 0 samples"),
        (lambda: imresize(np.zeros((4, 4)), 0), "a scale of 0; it must be above 0"),
        (lambda: imresize(np.zeros((4, 4)), -1), "a scale of -1"),
        (lambda: imresize(np.zeros((4, 4)), float("nan")), "a scale of nan"),
        (lambda: imresize(np.zeros((4, 4)), float("inf")), "a scale of inf"),
        (lambda: imresize(np.zeros((4, 4)), size=(0, 4)), "at least one pixel"),
        (lambda: imresize(np.zeros((4, 4), np.uint64), 2), "not uint64"),
        (lambda: imresize(np.zeros((4, 4), np.int16), 2), "not int16"),
        (lambda: imresize(np.zeros((4, 4), bool), 2), "not bool"),
        (lambda: taps(4, 8, kernel="cubic"), "unknown kernel 'cubic'"),  # type: ignore[arg-type]
        (lambda: taps(4, 0), "to 0"),
    ],
)
def test_bad_calls_are_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100"])
@pytest.mark.parametrize("method", ["bicubic", "nearest"])
def test_the_control_values_come_out(data_folder: Path, name: str, method: str) -> None:
    from fourfold.imaging import read_rgb

    with (data_folder / "bench" / "CONTROL.csv").open(newline="") as file:
        rows = {(r["set"], r["image"], r["method"]): float(r["psnr_y_float"]) for r in csv.DictReader(file)}
    scores = []
    for path in sorted((data_folder / "bench" / name).iterdir()):
        hr = read_rgb(path)
        hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
        scores.append(psnr(imresize(imresize(hr, 0.25), 4, kernel=method), hr))  # type: ignore[arg-type]
        if (name, path.name, method) in rows:
            assert scores[-1] == pytest.approx(rows[name, path.name, method], abs=0.001)
    assert np.mean(scores) == pytest.approx(rows[name, "MEAN", method], abs=0.001)

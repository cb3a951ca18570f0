"""Floating-point values beyond 1: into 0..1 and back, and what formats without floating point make of them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourfold.imaging import FrameRows, Metadata, Picture, encode_picture, find_range, open_picture, read_picture
from fourfold.imaging.float_range import Census, FloatRange, from_range, to_range
from tests.imaging.samples import encoded, pixels

PEAKS = (1.0001, 1.2, 4 / 3, 1.4, 20.0, 1000.0, 65504.0, 1e10, 1e30)


def scene(peak: float) -> NDArray[np.float32]:
    """A picture whose lamp is far brighter than its walls."""
    values = pixels("float32", 3) * 0.3
    values[5:9, 5:9] = peak
    values[20:24, 20:40] = 1.0
    return values


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


@given(peak=st.sampled_from(PEAKS), error=st.floats(-0.001, 0.001))
def test_values_up_to_one_keep_their_precision_whatever_the_peak(peak: float, error: float) -> None:
    """An error of the network's size is an error of hardly more than its size afterwards."""
    values = np.linspace(0.0, 0.95, 77, dtype=np.float32)
    inside = to_range(values, peak, highlights=True)
    found = from_range(np.clip(inside + np.float32(error), 0.0, 1.0), peak, highlights=True)
    assert np.abs(found - values).max() <= abs(error) / 0.7 + 1e-6


@pytest.mark.parametrize("peak", PEAKS)
def test_the_curve_rises_evenly_from_0_to_1_and_has_no_kink(peak: float) -> None:
    values = np.concatenate([np.linspace(0, 1, 100), np.geomspace(1.0, peak, 400)[1:]]).astype(np.float32)
    inside = to_range(values, peak, highlights=True)
    assert inside[0] == 0.0 and inside[-1] == pytest.approx(1.0, abs=1e-6)
    assert (np.diff(inside) >= 0).all()
    assert np.allclose(from_range(inside, peak, highlights=True), values, rtol=1e-3 if peak > 1e5 else 2e-5)
    if peak >= 1.2:
        near = to_range(np.array([0.9999, 1.0, 1.0001], np.float32), peak, highlights=True).astype(float)
        below, above = np.diff(near) / 0.0001
        assert above == pytest.approx(below, rel=0.05)


def test_what_is_no_number_is_black_or_the_peak() -> None:
    odd = np.array([np.nan, -1.0, -np.inf, np.inf, 2000.0], np.float32)
    assert np.allclose(to_range(odd, 1000.0, highlights=True), [0, 0, 0, 1, 1], atol=1e-6)
    largest = np.finfo(np.float32).max
    assert to_range(np.array([0.5, largest], np.float32), float(largest), highlights=True) == pytest.approx([0.375, 1])


RANGES = {
    "ordinary": (np.linspace(0, 1, 50), FloatRange()),
    "a lamp": (np.append(np.linspace(0, 1, 50), 1000.0), FloatRange(1000.0, 1.0, True)),
    "half of it highlights": (np.linspace(0, 2, 50), FloatRange(2.0, 1.0, True)),
    "0..255": (np.linspace(0, 255, 200), FloatRange(255.0, 1.0, False)),
    "whole numbers": (np.arange(40) % 3, FloatRange(2.0, 1.0, False)),
    "white letters on black": (np.repeat([0, 255], [90, 10]), FloatRange(255.0, 1.0, False)),
    "infinity": (np.append(np.linspace(0, 1, 50), np.inf), FloatRange(infinite=1)),
}


@pytest.mark.parametrize("case", RANGES)
def test_highlights_are_told_from_another_scale(case: str) -> None:
    values, expected = RANGES[case]
    census = Census(1)
    for part in np.array_split(values.astype(np.float32), 3):
        census.add(part[:, None, None])
    assert census.range() == expected


def test_alpha_beside_highlights_is_its_own_scale() -> None:
    rows = np.concatenate([np.linspace(0, 1, 50), [1000.0]])[:, None, None]
    for alpha, peak in ((1.0, 1.0), (1.05, 1.0), (255.0, 255.0)):
        census = Census(1)
        census.add(np.concatenate([rows, np.full_like(rows, alpha)], axis=2).astype(np.float32))
        assert census.range() == FloatRange(1000.0, peak, True)


def test_a_signalling_nan_is_black_like_any_other() -> None:
    odd = np.array([0x7F800001], np.uint32).view(np.float32)
    assert to_range(odd, 2.0).tolist() == [0.0]
    assert to_range(odd, 2.0, highlights=True).tolist() == [0.0]
    assert to_range(odd, 2.0, negative=True).tolist() == [0.0]


@pytest.mark.parametrize("hidden", [0.0, 10.0, 255.0, 1e30, np.nan, np.inf, -7.0])
@pytest.mark.parametrize("transparent", [0.0, -2.0, np.nan])
def test_colours_that_alpha_hides_say_nothing(hidden: float, transparent: float) -> None:
    values = np.linspace(0.1, 0.6, 90, dtype=np.float32).reshape(5, 6, 3)
    rows = np.concatenate([values, np.ones((5, 6, 1), np.float32)], axis=2)
    rows[0] = (hidden, hidden, hidden, transparent)
    found = read_picture(tiff(rows, photometric="rgb", extrasamples=["unassalpha"]))
    assert (found.metadata.peak, found.metadata.highlights) == (1.0, False)
    assert np.array_equal(found.pixels[1:], values[1:])
    assert found.alpha is not None and np.array_equal(found.alpha, np.repeat([0, 1], [6, 24]).reshape(5, 6))
    odd = "values of alpha that are below 0 or no numbers (NaN) became transparent: 6 of them"
    assert found.metadata.notes == [odd] * (transparent != 0.0)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("peak", [1.2, 20.0, 1000.0])
def test_a_file_has_its_values_again(peak: float, alpha: bool, tmp_path: Path) -> None:
    values = scene(peak)
    stored = np.dstack([values, np.linspace(0, 1, values.shape[1])[None].repeat(len(values), 0)]) if alpha else values
    file = tiff(stored.astype(np.float32), photometric="rgb", **({"extrasamples": ["unassalpha"]} if alpha else {}))
    found = read_picture(file)
    assert (found.metadata.peak, found.metadata.highlights) == (pytest.approx(peak), True)
    assert np.allclose(found.values, values, rtol=2e-5, atol=1e-7)
    again = read_picture(encode_picture(found, "tiff"))
    assert np.allclose(again.values, values, rtol=5e-5, atol=1e-7)
    assert again.alpha is None or np.allclose(again.alpha, stored[:, :, 3], atol=1e-6)


def test_bands_are_read_as_the_whole_is() -> None:
    """The lamp lies in the first band; the others are brought into the range with it all the same."""
    file = tiff(scene(1000.0), photometric="rgb", rowsperstrip=4)
    opened = open_picture(file)
    opened.metadata.set_range(find_range(open_picture(file)))
    rows = FrameRows(opened)
    found = np.concatenate([rows.read(top, min(41, top + 7)) for top in range(0, 41, 7)])
    assert np.array_equal(found, read_picture(file).pixels)
    assert np.allclose(found[30:, :, 0], 0.75 * scene(1000.0)[30:, :, 0], atol=1e-6)


@pytest.mark.parametrize(("format", "bits"), [("png", 16), ("jpg", 8), ("webp", 8), ("avif", 12)])
def test_elsewhere_values_up_to_one_stay_and_what_is_above_is_white(format: str, bits: int) -> None:
    values = scene(20.0)
    said: list[str] = []
    found = read_picture(
        encode_picture(read_picture(tiff(values, photometric="rgb")), format, lossless=True, on_loss=said.append)
    )
    assert said[0].endswith(f"holds no floating point: written with {bits} bits per sample")
    assert said[1:] == ["values up to 20: what is above 1 became white"]
    top = np.iinfo(found.pixels.dtype).max
    wanted = np.minimum(values, 1.0)
    assert np.abs(found.pixels / top - wanted).mean() < (0.02 if format == "jpg" else 0.6 / (2**bits - 1))
    assert found.pixels[6:8, 6:8].min() > 0.97 * top


def test_another_scale_is_written_by_its_largest_value_and_said() -> None:
    values = (pixels("float32", 3) * 255).round()
    said: list[str] = []
    found = read_picture(encode_picture(read_picture(tiff(values, photometric="rgb")), "png", on_loss=said.append))
    assert said[1:] == [f"values up to {values.max():g}: {values.max():g} became white"]
    assert np.allclose(found.pixels / 65535, values / values.max(), atol=1e-5)


def test_a_picture_made_by_hand_is_scaled_evenly() -> None:
    picture = Picture(pixels("float32", 3), metadata=Metadata(peak=7.0))
    assert np.allclose(picture.values, picture.pixels * 7)
    assert Picture(pixels("uint8", 3)).values.max() > 1


def test_a_negative_has_no_highlights() -> None:
    values = scene(20.0)[:, :, 0]
    found = read_picture(tiff(values, photometric="miniswhite"))
    assert not found.metadata.highlights
    assert np.allclose(found.pixels[:, :, 0], 1 - values / 20, atol=1e-6)


def test_an_ordinary_picture_is_untouched() -> None:
    from PIL import Image

    values = pixels("float32", 1)[:, :, 0]
    found = read_picture(encoded(Image.fromarray(values), "TIFF"))
    assert np.array_equal(found.pixels[:, :, 0], values) and found.values is found.pixels

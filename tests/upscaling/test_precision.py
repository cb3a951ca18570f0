"""What "auto" computes in: bf16 for 8 bits where the processor has it, fp32 for pictures with finer steps."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fourfold.imaging import Picture, read_picture
from fourfold.upscaling import auto_precision, load
from fourfold.upscaling import upscaler as upscaler_module
from fourfold.upscaling.engines.openvino import has_fast_bf16
from fourfold.upscaling.files import FileOptions, Job, upscale_files
from fourfold.weights import shipped_names
from tests.conftest import make_photo

SHIPPED = "srgan-plus"


@pytest.fixture
def fast_bf16(monkeypatch):
    """A processor that has bfloat16."""
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: True)


@pytest.fixture
def made(monkeypatch):
    """The precisions of the engines that are made, in order."""
    precisions = []
    create = upscaler_module.create

    def noted(graph, engine, precision, **options):
        found = create(graph, engine, precision, **options)
        precisions.append(found.precision)
        return found

    monkeypatch.setattr(upscaler_module, "create", noted)
    return precisions


def as_kind(photo, dtype):
    return {"uint8": photo, "uint16": photo.astype(np.uint16) * 257, "float32": np.float32(photo / 255)}[dtype]


@pytest.mark.skipif(SHIPPED not in shipped_names(), reason="nothing is shipped")
@pytest.mark.parametrize(("precision", "least", "most"), [("auto", 1500, 5000), ("bf16", 2, 100)])
def test_a_smooth_ramp_of_16_bits_keeps_its_steps(fast_bf16, precision, least, most):
    """Clouds, skin, a clear sky: above 0.93 of white, 4,600 steps of 16 bits, where bfloat16 has 20 or 40."""
    if precision == "bf16" and not has_fast_bf16():
        pytest.skip("OpenVINO computes in fp32 on a processor without bfloat16")
    ramp = np.linspace(0.93 * 65535, 65535, 48 * 48).round().astype(np.uint16)
    upscaler = load(SHIPPED, engine="openvino", precision=precision)
    found = upscaler(ramp.reshape(48, 48, 1).transpose(1, 0, 2).repeat(3, axis=2))
    levels = len(np.unique(found[found > 0.93 * 65535]))
    assert least < levels <= most


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_more_than_8_bits_are_computed_in_fp32(fast_bf16, tiny_weights, made, engine, dtype):
    photo = as_kind(make_photo(20, 24), dtype)
    expected = load(tiny_weights, engine=engine, precision="fp32")(photo)
    made.clear()
    upscaler = load(tiny_weights, engine=engine)
    assert made == ["bf16"]  # no more is needed for 8 bits
    assert (upscaler.precision, upscaler.precision_for("uint8"), upscaler.precision_for(dtype)) == (
        "bf16",
        "bf16",
        "fp32",
    )
    assert np.array_equal(upscaler(photo), expected)
    assert np.array_equal(upscaler(photo), expected)
    assert made == ["bf16", "fp32"]


def test_8_bits_are_computed_as_ever(fast_bf16, tiny_weights, made):
    photo = make_photo(20, 24)
    expected = load(tiny_weights, precision="bf16", engine="openvino")(photo)
    upscaler = load(tiny_weights, engine="openvino")
    upscaler(as_kind(photo, "uint16"))
    assert np.array_equal(upscaler(photo), expected)
    assert made == ["bf16", "bf16", "fp32"]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_precision_that_was_asked_for_is_for_all(fast_bf16, tiny_weights, made, precision):
    upscaler = load(tiny_weights, engine="openvino", precision=precision)
    for dtype in ("uint8", "uint16", "float32"):
        assert upscaler.precision_for(dtype) == precision
        upscaler(as_kind(make_photo(9, 9), dtype))
    assert made == [precision]


def test_a_processor_without_bf16_needs_one_engine(monkeypatch, tiny_weights, made):
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: False)
    upscaler = load(tiny_weights, engine="openvino")
    upscaler(as_kind(make_photo(9, 9), "uint16"))
    assert made == ["fp32"]
    assert [auto_precision("openvino", dtype) for dtype in ("uint8", "uint16")] == ["fp32", "fp32"]


def test_bf16_that_openvino_cannot_have_is_not_said_to_be(monkeypatch, tiny_weights, made, tmp_path):
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: False)
    photo = make_photo(20, 24)
    upscaler = load(tiny_weights, engine="openvino", precision="bf16")
    assert upscaler.precision == "fp32" and made == ["fp32"]
    assert np.array_equal(upscaler(photo), load(tiny_weights, engine="openvino", precision="fp32")(photo))
    source = Picture(photo).save(tmp_path / "photo.png")
    (outcome,) = upscale_files(upscaler, [Job(source, tmp_path / "large.png")])
    assert outcome.precision == "fp32"
    assert load(tiny_weights, engine="torch", precision="bf16").precision == "bf16"


def test_threads_share_the_second_engine(fast_bf16, tiny_weights, made):
    photo = as_kind(make_photo(20, 24), "uint16")
    upscaler = load(tiny_weights, engine="openvino")
    together = threading.Barrier(4)

    def work(_):
        together.wait()
        return upscaler(photo)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    assert all(np.array_equal(sr, found[0]) for sr in found)
    assert made == ["bf16", "fp32"]


class Watched:
    """An engine that notes its largest window."""

    def __init__(self, engine):
        self._engine, self.largest_px = engine, 0
        self.precision, self.name = engine.precision, engine.name

    def run(self, lr):
        self.largest_px = max(self.largest_px, lr.shape[2] * lr.shape[3])
        return self._engine.run(lr)


def test_the_memory_holds_for_fp32_too(fast_bf16, tiny_weights):
    """A value takes twice the bytes: the windows are as small as those of an upscaler that was made for fp32."""
    exact, upscaler = (load(tiny_weights, engine="openvino", precision=p) for p in ("fp32", "auto"))
    exact.max_memory = upscaler.max_memory = 8 << 20
    limit_px = exact.max_window_px
    assert limit_px < upscaler.max_window_px
    watched = Watched(upscaler._exact_engine())
    upscaler._exact_engine = lambda: watched
    upscaler(as_kind(make_photo(120, 120), "uint16"))
    assert 0.5 * limit_px < watched.largest_px <= limit_px


def test_files_say_what_they_were_computed_in(fast_bf16, tiny_weights, made, tmp_path):
    upscaler = load(tiny_weights, engine="openvino")
    jobs = []
    for dtype in ("uint8", "uint16", "float32"):
        source = Picture(as_kind(make_photo(20, 24), dtype)).save(tmp_path / f"{dtype}.tif")
        jobs.append(Job(source, tmp_path / f"{dtype}_x4.tif"))
    for _ in range(2):
        options = FileOptions(receipt=True, overwrite=True)
        outcomes = list(upscale_files(upscaler, jobs, options=options))
        assert [outcome.precision for outcome in outcomes] == ["bf16", "fp32", "fp32"]
    receipts = [json.loads((tmp_path / f"{job.destination.name}.receipt.json").read_text()) for job in jobs]
    assert [receipt["settings"]["precision"] for receipt in receipts] == ["bf16", "fp32", "fp32"]
    assert made == ["bf16", "fp32"]  # the second run of files has the first one's engines
    for job in jobs:
        expected = upscaler(read_picture(job.source).pixels)
        assert np.array_equal(read_picture(job.destination).pixels, expected)

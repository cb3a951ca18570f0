"""Files in, files out: the memory that codecs and network share, and receipts beside and inside the output."""

import errno
import json
import os
import re
import threading

import numpy as np
import pytest
from PIL import Image

from fourfold.errors import CancelledError, PictureError, UsageError
from fourfold.imaging import Picture, SaveOptions, decoders, read_picture, sink
from fourfold.imaging.writing import EncodingError
from fourfold.upscaling import DEFAULT_MAX_MEMORY, ArraySource, load
from fourfold.upscaling.files import MOST_REPEATS, FileOptions, Job, upscale_file, upscale_files
from fourfold.weights import WeightsConfig, shipped_names, write_weights
from tests.conftest import make_photo, make_tensors
from tests.imaging.samples import XMP, exif_with
from tests.upscaling.receipts import embedded_receipt


class Watched:
    """An engine that notes the size of its windows."""

    def __init__(self, engine):
        self._engine, self.windows_px = engine, []
        self.precision, self.name = engine.precision, engine.name

    def run(self, lr):
        self.windows_px.append(lr.shape[2] * lr.shape[3])
        return self._engine.run(lr)


@pytest.fixture
def upscaler(tiny_weights):
    return load(tiny_weights, engine="openvino", precision="fp32", max_memory="16M")


@pytest.fixture
def source(tmp_path):
    return Picture(make_photo(140, 140)).save(tmp_path / "a.png")


def test_less_memory_makes_smaller_tiles(upscaler, tiny_weights):
    whole_px = upscaler.max_window_px
    upscaler.max_memory = 8 << 20
    assert upscaler.max_window_px == pytest.approx(whole_px / 2, abs=1)
    upscaler.max_memory = 16 << 20
    assert upscaler.max_window_px == whole_px


def test_the_memory_is_set_as_it_is_given_at_first(upscaler):
    upscaler.max_memory = "1G"
    assert upscaler.max_memory == 1 << 30
    for wrong in ("much", 0, -1):
        with pytest.raises(UsageError):
            upscaler.max_memory = wrong
    assert upscaler.max_memory == 1 << 30
    upscaler.max_memory = None
    assert upscaler.max_memory == DEFAULT_MAX_MEMORY


@pytest.mark.parametrize(("ending", "codec_bytes_per_px"), [("png", 0), ("webp", 6), ("avif", 38)])
def test_the_tiles_leave_the_codecs_their_memory(upscaler, source, ending, codec_bytes_per_px):
    """38 bytes for each of 313,600 pixels are 11 of the 16 MiB."""
    whole_px = upscaler.max_window_px
    left = upscaler.max_memory - codec_bytes_per_px * (4 * 140) ** 2
    upscaler._engine = Watched(upscaler._engine)
    upscale_file(upscaler, source, source.with_name(f"b.{ending}"))
    assert max(upscaler._engine.windows_px) <= whole_px * left / upscaler.max_memory
    assert (upscaler.max_memory, upscaler.max_window_px) == (16 << 20, whole_px)


@pytest.mark.skipif("srgan-plus" not in shipped_names(), reason="nothing is shipped")
def test_a_limit_in_which_the_work_is_done_over_and_over_is_refused(source):
    """On a laptop, hours for a picture of a few hundred pixels."""
    upscaler = load("srgan-plus", engine="openvino", precision="fp32", max_memory="16M")
    message = r"a\.png: within 16M srgan-plus would do its work [\d,]+ times over, .*; --max-memory \d+M allows it"
    with pytest.raises(PictureError, match=message) as refused:
        upscale_file(upscaler, source, source.with_name("b.png"))
    named = int(re.search(r"memory (\d+)M", str(refused.value))[1])
    assert 16 < named < 128
    assert upscaler.repeats(140, 140, np.uint8, named << 20) <= MOST_REPEATS / 2
    assert upscaler.repeats(40, 40, np.uint8, 16 << 20) == 1  # which fits into one window
    assert list(source.parent.iterdir()) == [source]


def test_the_memory_that_is_named_for_the_codecs_is_enough_for_the_tiles(tmp_path):
    """100M hold what AVIF needs for this picture, and leave tiles that are mostly halo: the next try was refused."""
    deep = write_weights(tmp_path / "deep.safetensors", WeightsConfig("srresnet"), make_tensors("srresnet", {}))
    upscaler = load(deep, engine="openvino", precision="fp32", max_memory="16M")
    picture = Picture(make_photo(300, 300)).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match="its decoder and encoder hold") as refused:
        upscale_file(upscaler, picture, tmp_path / "b.avif")
    upscaler.max_memory = re.search(r"--max-memory (\d+M) allows it", str(refused.value))[1]
    with pytest.raises(CancelledError):  # it has begun, which is all that is asked here
        upscale_file(upscaler, picture, tmp_path / "b.avif", cancelled=lambda: True)


def test_bands_that_are_thin_count_as_work_done_over(upscaler):
    """A very wide picture's rows fill the memory before its tiles do."""
    wide = ArraySource(np.zeros((200, 20_000, 3), np.uint16))
    grid = upscaler._plan(wide, upscaler.max_window_px)
    assert grid.rows[1].core_stop - grid.rows[1].core_start < 10
    times = upscaler.repeats(200, 20_000, np.uint16, upscaler.max_memory)
    assert times == grid.computed_px / (200 * 20_000)


@pytest.mark.parametrize("name", ["progress", "cancelled"])
def test_what_a_callback_raises_is_the_callers(name, upscaler, source):
    """No failure of a file, and no reason to go on with the next one."""

    class EnoughError(Exception):
        pass

    def call(*_):
        raise EnoughError("the caller's own")

    jobs = [Job(source, source.with_name(f"{k}.png")) for k in range(2)]
    with pytest.raises(EnoughError, match="the caller's own"):
        list(upscale_files(upscaler, jobs, **{name: call}))
    with pytest.raises(EnoughError):
        upscale_file(upscaler, source, source.with_name("b.png"), **{name: call})
    assert list(source.parent.iterdir()) == [source]


def test_a_network_that_repeats_work_in_any_case_is_not_refused(upscaler, source, monkeypatch):
    """Its halo is larger than the largest window: no memory would do."""
    monkeypatch.setattr(type(upscaler), "repeats", lambda self, height, width, dtype, memory, channels: 20.0)
    assert upscale_file(upscaler, source, source.with_name("b.png")).status == "done"


@pytest.mark.parametrize(("side_px", "thread"), [(60, "decoder"), (600, "Main")])
def test_a_file_that_takes_much_memory_is_looked_through_when_the_network_is_done(
    upscaler, source, monkeypatch, side_px, thread
):
    """A progressive JPEG is decoded whole, and the file before may have all the memory but its own."""
    Image.fromarray(make_photo(side_px, side_px)).save(source.with_name("b.jpg"), progressive=True)
    found, look = [], decoders._look_through_jpeg
    monkeypatch.setattr(
        decoders, "_look_through_jpeg", lambda load: found.append(threading.current_thread().name) or look(load)
    )
    jobs = [Job(source, source.with_name("a_x4.png")), Job(source.with_name("b.jpg"), source.with_name("b_x4.png"))]
    assert [made.status for made in upscale_files(upscaler, jobs)] == ["done", "done"]
    [name] = found
    assert name.startswith(thread)


def test_names_may_be_text(upscaler, source):
    jobs = [Job(str(source), str(source.with_name("b.png")))]
    assert [made.status for made in upscale_files(upscaler, jobs)] == ["done"]


def test_a_zero_byte_is_in_no_name(upscaler, source):
    with pytest.raises(PictureError, match=r"b\\x00\.png' is no name of a file"):
        upscale_file(upscaler, source, str(source.with_name("b\0.png")))


@pytest.mark.parametrize("side_px", [60, 600])
def test_a_damaged_file_leaves_nothing_however_much_memory_it_takes(upscaler, source, side_px):
    Image.fromarray(make_photo(side_px, side_px)).save(source.with_name("b.jpg"), progressive=True)
    whole = source.with_name("b.jpg").read_bytes()
    source.with_name("b.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError, match="damaged or ends too early"):
        upscale_file(upscaler, source.with_name("b.jpg"), source.with_name("b.png"))
    assert sorted(path.name for path in source.parent.iterdir()) == ["a.png", "b.jpg"]


def test_the_memory_comes_back_after_a_failure(upscaler, source):
    before = upscaler.max_memory, upscaler.max_window_px
    with pytest.raises(CancelledError):
        upscale_file(upscaler, source, source.with_name("b.avif"), cancelled=lambda: True)
    assert (upscaler.max_memory, upscaler.max_window_px) == before


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif"])
def test_a_stripped_output_holds_its_own_receipt_and_nothing_of_the_source(upscaler, tmp_path, ending):
    from PIL import Image

    source = tmp_path / "a.jpg"
    Image.fromarray(make_photo(20, 30)).save(source, exif=exif_with(1), xmp=XMP, comment=b"private", dpi=(300, 300))
    options = FileOptions(SaveOptions(strip=True), embed_receipt=True)
    outcome = upscale_file(upscaler, source, tmp_path / f"b.{ending}", options=options)
    assert outcome.notes == []
    found = read_picture(tmp_path / f"b.{ending}").metadata
    receipt = embedded_receipt(found.xmp)
    assert receipt is not None and receipt["input"]["name"] == "a.jpg"
    assert found.dpi == (300.0, 300.0) and not found.comments and found.iptc is None
    data = (tmp_path / f"b.{ending}").read_bytes()
    assert not [word for word in (b"Maker", b"dc:format", b"private") if word in data]


def test_the_receipt_states_the_quality_that_was_used(upscaler, source, monkeypatch):
    save, failed = sink.save_image, []

    def save_the_second_time(*arguments):
        if not failed:
            failed.append(EncodingError("webp: cannot be encoded"))
            raise failed[0]
        save(*arguments)

    monkeypatch.setattr(sink, "_SURE_WEBP_PX", 0)
    monkeypatch.setattr(sink, "save_image", save_the_second_time)
    options = FileOptions(receipt=True, settings={"quality": None})
    outcome = upscale_file(upscaler, source, source.with_name("b.webp"), options=options)
    assert "quality lowered to 90" in outcome.notes[0]
    assert json.loads(outcome.receipt.read_text())["settings"]["quality"] == 90


def test_a_format_without_xmp_says_so_for_the_receipt_alone(upscaler, source):
    options = FileOptions(SaveOptions(strip=True), embed_receipt=True)
    outcome = upscale_file(upscaler, source, source.with_name("b.gif"), options=options)
    assert "GIF holds no XMP: left out" in outcome.notes


def too_long(folder):
    return folder / f"{'n' * 248}.png"


def a_folder(folder):
    (folder / "b.png.receipt.json").mkdir()
    return folder / "b.png"


@pytest.mark.parametrize(
    ("make", "message"),
    [(too_long, "receipt.json: cannot be written: the file name is too long"), (a_folder, "is a folder")],
)
def test_a_receipt_that_cannot_be_is_told_before_the_work(upscaler, source, make, message):
    destination = make(source.parent)
    upscaler._engine = Watched(upscaler._engine)
    with pytest.raises(PictureError, match=message):
        upscale_file(upscaler, source, destination, options=FileOptions(receipt=True))
    assert upscaler._engine.windows_px == [] and not destination.exists()
    upscale_file(upscaler, source, destination)  # the picture itself may have that name


def test_the_receipt_of_a_picture_that_is_replaced_is_pointed_out(upscaler, source):
    destination = source.with_name("b.png")
    with_receipt, without = FileOptions(receipt=True, overwrite=True), FileOptions(overwrite=True)
    assert upscale_file(upscaler, source, destination, options=with_receipt).notes == []
    said = upscale_file(upscaler, source, destination, options=without).notes
    assert said == ["b.png.receipt.json stays and is not of this picture, but of the one that it replaces"]
    assert upscale_file(upscaler, source, destination, options=with_receipt).notes == []


def test_a_receipt_that_fails_takes_its_picture_with_it(upscaler, source, monkeypatch):
    def no_space(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fourfold.upscaling.receipt.os.write", no_space)
    with pytest.raises(PictureError, match=r"b\.png\.receipt\.json: cannot be written: the disk is full"):
        upscale_file(upscaler, source, source.with_name("b.png"), options=FileOptions(receipt=True))
    monkeypatch.undo()
    assert [p.name for p in source.parent.iterdir()] == ["a.png"]
    outcome = upscale_file(upscaler, source, source.with_name("b.png"), options=FileOptions(receipt=True))
    assert outcome.receipt == source.with_name("b.png.receipt.json") and outcome.receipt.is_file()

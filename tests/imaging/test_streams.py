"""Rows in, rows out: what goes through in bands is what goes through whole."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fourfold.errors import OutputExistsError, PictureError
from fourfold.imaging import (
    FORMATS,
    AtomicOutput,
    FrameRows,
    Layout,
    Metadata,
    Picture,
    RowSink,
    SaveOptions,
    atomic_output,
    encode_picture,
    find_range,
    hand_on,
    open_picture,
    read_picture,
)
from fourfold.imaging.atomic import TEMPORARY_PREFIX
from fourfold.imaging.png_stream import PngStream
from tests.imaging.samples import TOP, alpha_for, encoded, exif_with, make_photo, pixels


def repeated(rows: NDArray[Any]) -> NDArray[Any]:
    return rows.repeat(4, axis=0).repeat(4, axis=1)


def bands(rows: FrameRows, heights: list[int]) -> Iterator[NDArray[Any]]:
    top = 0
    while top < rows.height:
        bottom = min(rows.height, top + heights[top % len(heights)])
        yield repeated(rows.read(top, bottom))
        top = bottom


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("dtype", TOP)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
@settings(max_examples=5, deadline=None)
@given(
    height=st.integers(1, 60), width=st.integers(1, 40), heights=st.lists(st.integers(1, 30), min_size=1, max_size=4)
)
def test_banded_reading_is_whole_reading(
    dtype: str, channels: int, has_alpha: bool, height: int, width: int, heights: list[int]
) -> None:
    colour = pixels(dtype, channels, height, width)
    alpha = alpha_for(colour) if has_alpha else None
    rows = FrameRows(open_picture(encode_picture(Picture(colour, alpha), "tiff")))
    pieces: list[NDArray[Any]] = []
    hand_on(bands(rows, heights), rows, 4, lambda piece: pieces.append(piece[::4, ::4]))
    found = np.concatenate(pieces)
    assert found.shape == (height, width, channels + has_alpha)
    visible = np.ones((height, width), bool) if alpha is None else alpha > 0
    assert np.array_equal(found[visible][:, :channels], colour[visible])


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("dtype", TOP)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_streamed_writing_is_whole_writing(
    tmp_path: Path, format: str, dtype: str, channels: int, has_alpha: bool
) -> None:
    if format == "png" and dtype == "float32":
        pytest.skip("PNG holds no floating point")
    colour = pixels(dtype, channels, 101, 57)
    rows = colour if not has_alpha else np.dstack([colour, alpha_for(colour)])
    layout = Layout(101, 57, channels, has_alpha, colour.dtype)
    output = AtomicOutput(tmp_path / f"out.{format}")
    sink = RowSink(layout, Metadata(dpi=(300.0, 300.0)), FORMATS[format], SaveOptions(), output.descriptor, tmp_path)
    for top in range(0, 101, 13):
        sink.write(rows[top : top + 13])
    sink.finish()
    output.commit()
    found = read_picture(tmp_path / f"out.{format}")
    assert np.array_equal(found.pixels, colour)
    assert (found.alpha is not None) == has_alpha
    assert found.metadata.dpi == (300.0, 300.0)
    assert names(tmp_path) == [f"out.{format}"]


def test_png_stream_is_a_png() -> None:
    picture = make_photo(70, 33)
    stream = PngStream(33, 70, 3, np.uint8)
    file = b"".join(
        [stream.encode(picture[:1]), stream.encode(picture[1:64]), stream.encode(picture[64:]), stream.end()]
    )
    import io

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), picture)


def test_orientation_in_bands(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        file = encoded(Image.fromarray(make_photo(24, 37)), "PNG", exif=exif_with(orientation))
        opened = open_picture(file)
        rows = FrameRows(opened)
        found = np.concatenate([rows.read(top, min(opened.height, top + 7)) for top in range(0, opened.height, 7)])
        assert np.array_equal(found, read_picture(file).pixels)


def test_frames_one_after_the_other() -> None:
    frames = [Image.fromarray(make_photo(16, 24, seed)) for seed in range(3)]
    opened = open_picture(
        encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), all_frames=True
    )
    for k in range(3):
        rows = FrameRows(opened, k)
        found = np.concatenate([rows.read(0, 5), rows.read(5, 16)])
        assert np.array_equal(found, make_photo(16, 24, k))


def test_the_peak_is_found_and_applied() -> None:
    values = pixels("float32", 3) * 7.0
    file = encode_picture(Picture(np.asarray(values / 7.0, np.float32), metadata=Metadata(peak=7.0)), "tiff")
    opened = open_picture(file)
    opened.metadata.peak = find_range(open_picture(file)).peak
    assert opened.metadata.peak == pytest.approx(values.max(), rel=1e-6)
    assert FrameRows(opened).read(0, 41).max() == pytest.approx(1.0)


def test_a_file_that_ends_in_the_middle_fails_in_the_middle() -> None:
    file = encode_picture(Picture(make_photo(300, 200)), "png")
    rows = FrameRows(open_picture(file[: len(file) // 2]), name="half.png")
    with pytest.raises(PictureError, match=r"half\.png: "):
        rows.read(0, 300)


def test_a_failing_encoder_does_not_hang_the_writer(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w+b") as file:
        layout = Layout(4000, 17_000, 3, False, np.dtype(np.uint8))  # wider than WebP can be
        sink = RowSink(layout, Metadata(), FORMATS["webp"], SaveOptions(lossless=True), file.fileno(), tmp_path, 1)
        with pytest.raises(PictureError, match="cannot be encoded"):
            for _ in range(0, 4000, 100):
                sink.write(np.zeros((100, 17_000, 3), np.uint8))
            sink.finish()


def test_aborting_stops_the_encoder(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w+b") as file:
        layout = Layout(4000, 300, 3, False, np.dtype(np.uint8))
        sink = RowSink(layout, Metadata(), FORMATS["png"], SaveOptions(), file.fileno(), tmp_path)
        sink.write(make_photo(100, 300))
        sink.abort()
        sink.abort()
    assert "encoder" not in [thread.name for thread in threading.enumerate()]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    descriptor = os.open("/dev/full", os.O_RDWR)
    try:
        layout = Layout(400, 300, 3, False, np.dtype(np.uint8))
        sink = RowSink(layout, Metadata(), FORMATS["png"], SaveOptions(), descriptor, tmp_path)
        with pytest.raises(OSError) as caught:
            sink.write(make_photo(400, 300))
            sink.finish()
        assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(descriptor)


def test_atomic_output_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), atomic_output(path) as descriptor:
            os.write(descriptor, b"half")
            raise error
        assert names(tmp_path) == []
    with pytest.raises(PictureError, match="the disk is full"), atomic_output(path) as descriptor:
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []
    output = AtomicOutput(path)
    assert [name.startswith(TEMPORARY_PREFIX) for name in names(tmp_path)] == [True]
    del output
    assert names(tmp_path) == []


def test_what_still_holds_a_discarded_output_holds_no_room(tmp_path: Path) -> None:
    output = AtomicOutput(tmp_path / "a.png")
    os.write(output.descriptor, b"half")
    held = os.dup(output.descriptor)  # as libvips' target does, for as long as its error is kept
    output.discard()
    try:
        assert os.fstat(held).st_size == 0
    finally:
        os.close(held)


def test_existing_outputs_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        Picture(make_photo(8, 8)).save(path)
    assert path.read_bytes() == b"precious"
    Picture(make_photo(8, 8)).save(path, overwrite=True)
    assert read_picture(path).pixels.shape == (8, 8, 3)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match="is a folder"):
        Picture(make_photo(8, 8)).save(tmp_path / "folder.png", overwrite=True)


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(OutputExistsError, match="appeared"), atomic_output(path):
        path.write_bytes(b"somebody else's")
    assert path.read_bytes() == b"somebody else's"
    assert names(tmp_path) == ["a.png"]


def test_unwritable_places(tmp_path: Path) -> None:
    picture = Picture(make_photo(8, 8))
    with pytest.raises(PictureError, match="the folder does not exist"):
        picture.save(tmp_path / "none" / "a.png")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PictureError, match="a file, not a folder"):
        picture.save(tmp_path / "file" / "a.png")
    with pytest.raises(PictureError, match="too long"):
        picture.save(tmp_path / ("x" * 260 + ".png"))
    with pytest.raises(PictureError, match="no picture format ends in"):
        picture.save(tmp_path / "a.xyz")
    with pytest.raises(PictureError, match="too large for webp"):
        Picture(np.zeros((1, 16_384, 3), np.uint8)).save(tmp_path / "a.webp")
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PictureError, match="may not be written"):
            Picture(make_photo(8, 8)).save(tmp_path / "a.png")
    finally:
        tmp_path.chmod(0o700)

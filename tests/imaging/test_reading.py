"""Reading: every kind of picture that people have, and every kind of file that is none."""

import errno
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from fourfold.errors import PictureError, PictureTooLargeError
from fourfold.imaging import (
    FrameRows,
    avif_sequence,
    encode_picture,
    find_pictures,
    find_range,
    open_picture,
    read_picture,
    read_rgb,
    write_picture,
)
from fourfold.imaging.apng import frames_of
from fourfold.imaging.decoders import explain
from fourfold.imaging.finding import natural_order
from fourfold.imaging.formats import recognise
from fourfold.imaging.picture import Metadata, Picture
from fourfold.imaging.png_text import chunk
from fourfold.imaging.rows import read_rows
from fourfold.imaging.tiff_tags import read_tags
from tests.conftest import make_photo
from tests.imaging.samples import alpha_for, animation, encoded, exif_with, matrix_profile, pixels, png_header


def test_uint8_rgb_is_read_exactly(tmp_path: Path) -> None:
    picture = make_photo(30, 20)
    Image.fromarray(picture).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found.pixels.dtype == np.uint8
    assert np.array_equal(found.pixels, picture)
    assert found.alpha is None
    assert found.metadata.format == "png"
    assert found.metadata.notes == []


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_uint16_stays_uint16(format: str) -> None:
    picture = pixels("uint16", 1)[:, :, 0]
    found = read_picture(encoded(Image.fromarray(picture), format))
    assert found.pixels.dtype == np.uint16
    assert np.array_equal(found.pixels[:, :, 0], picture)
    assert found.metadata.bits == 16


def test_floating_point_beyond_one_keeps_its_peak() -> None:
    picture = pixels("float32", 1)[:, :, 0] * 3.0
    found = read_picture(encoded(Image.fromarray(picture), "TIFF"))
    assert found.pixels.dtype == np.float32
    assert found.metadata.peak == pytest.approx(picture.max())
    assert np.allclose(found.pixels[:, :, 0] * found.metadata.peak, picture, atol=1e-6)


#: largest colour and alpha of a file -> what 1.0 stands for in either
PEAKS = {
    "ordinary": (0.8, 0.5, (1.0, 1.0)),
    "8-bit numbers": (255.0, 128.0, (255.0, 255.0)),
    "dark 8-bit numbers": (40.0, 255.0, (40.0, 255.0)),
    "high dynamic range": (20.0, 1.0, (20.0, 1.0)),
    "alpha that has overshot": (20.0, 1.05, (20.0, 1.0)),
}


@pytest.mark.parametrize("case", PEAKS)
def test_floating_point_alpha_counts_as_its_colours_do(case: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    colour, alpha, peaks = PEAKS[case]
    values = np.full((20, 24, 4), colour, np.float32)
    values[:, :, 3] = alpha
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    found = read_picture(tmp_path / "a.tif")
    assert (found.metadata.peak, found.metadata.alpha_peak) == pytest.approx(peaks)
    streamed = find_range(open_picture(tmp_path / "a.tif"))
    assert (streamed.peak, streamed.alpha_peak) == pytest.approx(peaks)
    assert found.alpha is not None and np.allclose(found.alpha, min(1.0, alpha / peaks[1]))
    again = tifffile.imread(found.save(tmp_path / "again.tif"))
    assert np.allclose(again, np.minimum(values, [peaks[0]] * 3 + [peaks[1]]), rtol=1e-6)


#: samples, photometric interpretation and kind of alpha of a file -> what is read, colours and alpha
ALPHAS = {
    "grey float, multiplied": (np.float32([0.4, 0.5]), "minisblack", "assocalpha", [0.8, 0.5]),
    "grey float, straight": (np.float32([0.8, 0.5]), "minisblack", "unassalpha", [0.8, 0.5]),
    "float, multiplied": (np.float32([0.4, 0.2, 0.1, 0.5]), "rgb", "assocalpha", [0.8, 0.4, 0.2, 0.5]),
    "grey float of 0..255, multiplied": (np.float32([40, 128]), "minisblack", "assocalpha", [0.3125, 1.0]),
    "8 bits, multiplied": (np.uint8([102, 51, 0, 128]), "rgb", "assocalpha", [203, 101, 0, 128]),
    "CIELAB, opaque": (np.uint16([65535, 0, 0, 65535]), "cielab", "unassalpha", [65535, 65535, 65535, 65535]),
    "CIELAB, half": (np.uint16([65535, 0, 0, 32768]), "cielab", "unassalpha", [65535, 65535, 65535, 32768]),
    "CIELAB, quarter": (np.uint16([65535, 0, 0, 16384]), "cielab", "unassalpha", [65535, 65535, 65535, 16384]),
    "CIELAB, floating": (np.float32([100, 0, 0, 0.5]), "cielab", "unassalpha", [65535, 65535, 65535, 32768]),
    "CIELAB, floating, beyond 1": (np.float32([100, 0, 0, 1.5]), "cielab", "unassalpha", [65535, 65535, 65535, 65535]),
    "CMYK of 8 bits": (np.uint8([0, 0, 0, 0, 77]), "separated", "unassalpha", [255, 255, 255, 77]),
    "CMYK of 16 bits": (np.uint16([0, 0, 0, 0, 32768]), "separated", "unassalpha", [65535, 65535, 65535, 32768]),
    "a negative": (np.uint8([155, 77]), "miniswhite", "unassalpha", [100, 77]),
}


@pytest.mark.parametrize("case", ALPHAS)
def test_alpha_of_a_tiff_whatever_its_kind(case: str) -> None:
    samples, photometric, kind, expected = ALPHAS[case]
    found = read_picture(tiff_of(samples, photometric, kind))
    assert found.alpha is not None
    assert [*found.pixels[3, 3], found.alpha[3, 3]] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("samples", "photometric", "kind"),
    [
        (np.uint16([9999, 0, 0, 32768]), "cielab", "CIELAB"),
        (np.uint32([9999, 0, 0, 32768]), "rgb", "32-bit whole numbers"),
        (np.uint32([9999, 32768]), "minisblack", "32-bit whole numbers"),
        (np.float32([50, 0, 0, 0.5]), "cielab", "CIELAB"),
        (np.uint16([9999, 0, 0, 0, 32768]), "separated", "16-bit CMYK"),
        (np.uint8([99, 128]), "miniswhite", "grey whose white is 0"),
        (np.uint16([9999, 32768]), "miniswhite", "grey whose white is 0"),
    ],
)
def test_colours_that_cannot_be_told_from_their_alpha_are_refused(
    samples: NDArray[Any], photometric: str, kind: str
) -> None:
    with pytest.raises(PictureError, match=f"{kind} multiplied by alpha"):
        read_picture(tiff_of(samples, photometric, "assocalpha"))


def tiff_of(samples: NDArray[Any], photometric: str, alpha: str) -> bytes:
    """A TIFF file all of whose pixels are the same."""
    tifffile, file = pytest.importorskip("tifffile"), io.BytesIO()
    values = np.broadcast_to(samples, (8, 9, len(samples)))
    tifffile.imwrite(file, values, photometric=photometric, extrasamples=[alpha], planarconfig="contig", metadata=None)
    return file.getvalue()


def test_nan_and_negative_values_become_black() -> None:
    picture = np.full((4, 5), 0.5, np.float32)
    picture[1, 1], picture[2, 2], picture[3, 3] = np.nan, -1.0, np.inf
    found = read_picture(encoded(Image.fromarray(picture), "TIFF"))
    assert found.pixels[1, 1, 0] == 0.0
    assert found.pixels[2, 2, 0] == 0.0
    assert found.pixels[3, 3, 0] == 1.0
    assert found.metadata.peak == 1.0
    told = [
        "values below 0 were cut off: 1 of them",
        "values that are no numbers (NaN) became black: 1 of them",
        "values beyond all numbers became the largest one: 1 of them",
    ]
    assert found.metadata.notes == told
    picture[1, 1] = picture[2, 2] = picture[3, 3] = -1e-8  # rounding
    assert read_picture(encoded(Image.fromarray(picture), "TIFF")).metadata.notes == []


@pytest.mark.parametrize(
    ("mode", "format", "channels", "alpha", "note"),
    [
        ("L", "PNG", 1, False, ""),
        ("L", "JPEG", 1, False, ""),
        ("LA", "PNG", 1, True, ""),
        ("RGB", "JPEG", 3, False, ""),
        ("RGBA", "PNG", 3, True, ""),
        ("RGBA", "WEBP", 3, True, ""),
        ("RGBA", "AVIF", 3, True, ""),
        ("RGBA", "TIFF", 3, True, ""),
        ("P", "PNG", 3, False, "palette turned into full colour"),
        ("1", "PNG", 1, False, "1 bit per sample turned into 8"),
        ("1", "TIFF", 1, False, "1 bit per sample turned into 8"),
        ("CMYK", "JPEG", 3, False, "CMYK converted to sRGB through a general profile"),
        ("CMYK", "TIFF", 3, False, "CMYK converted to sRGB through a general profile"),
    ],
)
def test_modes(mode: str, format: str, channels: int, alpha: bool, note: str) -> None:
    picture = Image.fromarray(make_photo(16, 24))
    if alpha:
        picture = picture.convert("RGBA")
        picture.putalpha(Image.fromarray(alpha_for(make_photo(16, 24))))
        picture = picture.convert(mode)
    found = read_picture(encoded(picture.convert(mode), format))
    assert found.pixels.shape == (16, 24, channels)
    assert found.pixels.dtype == np.uint8
    assert (found.alpha is not None) == alpha
    assert found.metadata.notes == ([note] if note else [])


def test_cmyk_colours_are_right() -> None:
    # pure cyan ink on white paper is a greenish blue, paper is white, all inks are near black
    inks = np.zeros((8, 24, 4), np.uint8)
    inks[:, :8, 0] = 255
    inks[:, 16:] = 255
    found = read_picture(encoded(Image.fromarray(inks, mode="CMYK"), "TIFF")).pixels
    cyan, paper, black = found[4, 4], found[4, 12], found[4, 20]
    assert cyan[0] < 60 and cyan[1] > 120 and cyan[2] > 180
    assert paper.min() > 245
    assert black.max() < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int) -> None:
    picture = make_photo(32, 48)
    file = encoded(Image.fromarray(picture), "PNG", exif=exif_with(orientation))
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
    found = read_picture(file)
    assert np.array_equal(found.pixels, expected)
    again = read_picture(encode_picture(found, "png"))
    assert np.array_equal(again.pixels, expected)
    assert Image.open(io.BytesIO(encode_picture(found, "png"))).getexif()[0x0112] == 1


def test_grey_with_an_rgb_profile_becomes_rgb_so_that_the_profile_holds() -> None:
    grey = Image.fromarray(make_photo(16, 16)).convert("L")
    found = read_picture(encoded(grey, "JPEG", icc_profile=matrix_profile()))
    assert found.pixels.shape == (16, 16, 3)
    assert found.metadata.icc == matrix_profile()
    assert found.metadata.notes == ["grey with an RGB colour profile turned into RGB"]


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_monochrome_avif_keeps_its_grey_profile(mode: str) -> None:
    grey, profile = Image.fromarray(make_photo(16, 16)).convert("L"), matrix_profile(space=b"GRAY")
    if mode == "LA":
        grey.putalpha(200)
    found = read_picture(encoded(grey, "AVIF", quality=95, subsampling="4:0:0", icc_profile=profile))
    assert found.pixels.shape == (16, 16, 1)
    assert np.abs(found.pixels[:, :, 0].astype(int) - np.asarray(grey.getchannel("L"))).max() <= 3
    assert (found.alpha is not None) == (mode == "LA")
    assert found.metadata.icc == profile
    assert found.metadata.notes == []


def test_a_profile_of_another_colour_space_is_left_out_and_said() -> None:
    grey = matrix_profile(space=b"GRAY")
    found = read_picture(encoded(Image.fromarray(make_photo(8, 8)), "JPEG", icc_profile=grey))
    assert found.metadata.icc is None
    assert found.metadata.notes == ["the colour profile is for GRAY and was left out"]
    found = read_picture(encoded(Image.fromarray(make_photo(8, 8)), "PNG", icc_profile=grey))
    assert found.metadata.icc is None
    # here it was the PNG decoder that would not have it
    assert "the colour profile cannot be used and was left out (profile " in found.metadata.notes[0]


def test_a_profile_whose_name_is_latin_1_is_left_out_and_said(capfd: pytest.CaptureFixture[str]) -> None:
    """As PNG's standard has it; libvips quotes the name."""
    grey = encoded(Image.fromarray(make_photo(8, 8)).convert("L"), "PNG")
    content = "Écran".encode("latin-1") + b"\0\0" + zlib.compress(matrix_profile())
    chunk = struct.pack(">I", len(content)) + b"iCCP" + content + struct.pack(">I", zlib.crc32(b"iCCP" + content))
    found = read_picture(grey[:33] + chunk + grey[33:]).metadata
    assert found.icc is None
    assert "the colour profile cannot be used and was left out" in found.notes[0]
    assert capfd.readouterr().err == ""


def test_a_damaged_file_whose_message_is_no_text_spoils_no_other() -> None:
    """libvips names the box that it does not know; it is no UTF-8 here."""
    file = encoded(Image.fromarray(make_photo(24, 20)), "AVIF", exif=exif_with(6))
    assert b"irot" in file
    for _ in range(2):
        with pytest.raises(PictureError, match="cannot be decoded"):
            read_picture(file.replace(b"irot", b"iro\xff"))
    for format in ("JPEG", "PNG", "WEBP"):
        good = read_picture(encoded(Image.fromarray(make_photo(8, 9)), format, exif=exif_with(6)))
        assert read_picture(encode_picture(good, "png")).pixels.shape == (9, 8, 3)


def test_an_unusual_profile_is_kept_and_said() -> None:
    plain = matrix_profile()
    unusual = plain[:68] + struct.pack(">3i", 65536, 65536, 65536) + plain[80:]  # an illuminant that is not D50
    found = read_picture(encoded(Image.fromarray(make_photo(8, 8)), "PNG", icc_profile=unusual)).metadata
    assert found.icc == unusual
    assert [note for note in found.notes if note.startswith("the colour profile is unusual and was kept (")]


@pytest.mark.parametrize("rubbish", [b"x", b"rubbish" * 30])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_damaged_profile_is_left_out_and_said(format: str, rubbish: bytes) -> None:
    found = read_picture(encoded(Image.fromarray(make_photo(8, 8)), format, icc_profile=rubbish)).metadata
    how = "cannot be used and was left out (too short)" if format == "PNG" else "is damaged and was left out"
    assert (found.icc, found.notes) == (None, [f"the colour profile {how}"])


def test_only_the_first_frame_is_read_and_said() -> None:
    frames = animation()
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=70, loop=0)
    found = read_picture(file)
    assert found.pixels.shape == (16, 24, 3)
    assert found.metadata.notes == ["only the first of 3 frames"]
    opened = open_picture(file, all_frames=True)
    assert (opened.frames, opened.height, opened.delays_ms, opened.loop) == (3, 16, [70, 70, 70], 0)


def test_an_animated_avif_is_read_as_a_still_picture(tmp_path: Path) -> None:
    frames = animation()
    path = tmp_path / "a.avif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    note = f"only the first of {len(frames)} frames; animated AVIF is read as a still picture"
    assert open_picture(path, all_frames=True).metadata.notes == [note]
    assert open_picture(path.read_bytes()).metadata.notes == [note]
    frames[0].save(path)
    assert open_picture(path).metadata.notes == []


@pytest.mark.parametrize("cut", [0, 7, 20, 300, 500, 929])
def test_a_damaged_sequence_has_one_frame(cut: int) -> None:
    file = io.BytesIO()
    frames = animation()
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:])
    assert avif_sequence.frames_of(file.getvalue()) == len(frames)
    assert avif_sequence.frames_of(file.getvalue()[:cut]) == 1
    assert avif_sequence.frames_of(b"\0\0\0\x01moov" + b"\0" * 8) == 1


def test_the_other_pictures_of_a_jpeg_are_named() -> None:
    """Views of a stereo camera, previews, gain maps."""
    frames = [frame.convert("RGB") for frame in animation()]
    several = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert read_picture(several).metadata.notes == [f"only the first of {len(frames)} pictures in the file"]
    at = several.index(b"MPF\0") + 4
    for damage in (b"XX*\0", several[at : at + 4] + b"\xff\xff\xff\xff"):
        damaged = several[:at] + damage + several[at + len(damage) :]
        assert read_picture(damaged).metadata.notes == []


def test_an_animated_png_is_a_still_picture_and_said(tmp_path: Path) -> None:
    frames = animation()
    file = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=70)
    note = "only the first of 3 frames; animated PNG is read as a still picture"
    (path := tmp_path / "moving.png").write_bytes(file)
    for source in (file, path):
        found = read_picture(source)
        assert found.pixels.shape == (16, 24, 3)
        assert found.metadata.notes == [note]
    assert read_picture(encoded(frames[0], "PNG")).metadata.notes == []
    for end in range(8, 60):  # cut short anywhere: never an error of its own
        assert frames_of(file[:end]) in (1, 3)


WARNED = {
    "bytes too many before a segment": lambda file: file[:20] + b"\0" * 10 + file[20:],
    "bytes too many before the end": lambda file: file[:-2] + b"\0" * 10 + file[-2:],
    "an unknown revision of JFIF": lambda file: file[:11] + b"\2\1" + file[13:],
}


@pytest.mark.parametrize("case", WARNED)
def test_what_a_decoder_warns_of_and_costs_no_pixel_is_read_and_said(case: str) -> None:
    file = encoded(Image.fromarray(make_photo(64, 64)), "JPEG", progressive=True)
    found = read_picture(WARNED[case](file))
    assert np.array_equal(found.pixels, read_picture(file).pixels)
    assert all(note.startswith("its decoder warns: ") for note in found.metadata.notes)


def test_damage_behind_a_harmless_fault_is_not_passed_over_in_silence() -> None:
    file = overwritten(encoded(_PHOTO, "JPEG", quality=90), 1)
    [note] = read_picture(file[:20] + b"\0" * 10 + file[20:]).metadata.notes
    assert "look whether the picture is whole" in note


def test_opening_alone_decodes_nothing() -> None:
    """A server looks at headers before it knows whether a picture is too large."""
    file = overwritten(encoded(_PHOTO, "JPEG", quality=90), 1)
    assert open_picture(file).width == 200
    with pytest.raises(PictureError, match="damaged"):
        open_picture(file, verify=True)
    with pytest.raises(PictureTooLargeError):
        open_picture(file, max_pixels=200, verify=True)


def test_a_sound_tiff_with_jpeg_inside_is_read() -> None:
    found = read_picture(_JPEG_IN_TIFF)
    assert np.abs(found.pixels.astype(int) - np.asarray(_PHOTO)).mean() < 5
    assert found.metadata.notes == []


def test_a_tiff_in_one_compressed_strip_of_more_than_50_mb_is_read() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 300_000, 3), dtype=np.uint8)
    file = encoded(Image.fromarray(noise), "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 60})
    assert np.array_equal(read_picture(file).pixels, noise)


@pytest.mark.parametrize(
    ("tag", "content", "said"),
    [
        (37724, b"Adobe Photoshop Document Data Block\0" + b"8BIM" * 9, "Photoshop's layers were left out"),
        (34377, b"8BIM\7\xd0\0\0\0\0\0\x08a path..", "Photoshop's resources (such as clipping paths) were left out"),
    ],
    ids=["layers", "resources"],
)
def test_what_photoshop_keeps_in_a_tiff_is_missed(tag: int, content: bytes, said: str) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[tag], info.tagtype[tag] = content, 7
    file = encoded(Image.fromarray(make_photo(8, 9)), "TIFF", tiffinfo=info)
    [note] = read_picture(file).metadata.notes
    assert note.startswith(said)


def test_pages_that_mean_something_else_leave_the_first(tmp_path: Path) -> None:
    pages = [Image.fromarray(make_photo(8, 9, seed)) for seed in range(2)]
    plain = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert open_picture(plain, all_frames=True).frames == 2
    for page, name, value in zip(pages, ("x", "icc_profile"), ("", matrix_profile()), strict=True):
        page.info[name], page.encoderinfo = value, {}
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "two.tif", new=True) as file:
        for page, profile in zip(pages, (None, matrix_profile()), strict=True):
            page.save(file, "TIFF", icc_profile=profile)
            file.newFrame()
    opened = open_picture(tmp_path / "two.tif", all_frames=True)
    assert (opened.frames, opened.metadata.notes) == (
        1,
        ["only the first of 2 pages; they differ in colour profile or in what their channels are"],
    )


def test_pages_that_say_something_else_of_themselves_are_read_and_it_is_said(tmp_path: Path) -> None:
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "two.tif", new=True) as file:
        for seed, name in enumerate(("first", "second")):
            Image.fromarray(make_photo(8, 9, seed)).save(file, "TIFF", description=name)
            file.newFrame()
    opened = open_picture(tmp_path / "two.tif", all_frames=True)
    assert opened.frames == 2
    assert "of what the pages say of themselves (names, resolution), only the first page's is kept" in (
        opened.metadata.notes
    )


@pytest.mark.parametrize("orientation", [1, 2, 6])
@pytest.mark.parametrize("as_file", [False, True])
def test_every_page_has_its_own_palette(as_file: bool, orientation: int, tmp_path: Path) -> None:
    colours = [make_photo(30, 40, seed) for seed in range(2)]
    pages = [Image.fromarray(page).quantize(16) for page in colours]
    grey = Image.fromarray(colours[0][:, :, 0] // 64)
    grey.putpalette([level for level in (0, 90, 180, 255) for _ in range(3)])
    pages = [pages[0], pages[0].transpose(Image.Transpose.ROTATE_180), pages[1], grey, pages[1]]
    source: Any = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], tiffinfo={0x0112: orientation})
    if as_file:
        (tmp_path / "pages.tif").write_bytes(source)
        source = tmp_path / "pages.tif"
    opened = open_picture(source, all_frames=True)
    assert (opened.frames, opened.metadata.notes) == (5, ["palette turned into full colour"])
    for k, page in enumerate(pages):
        image = page.convert("RGB")
        image.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(image))
        rows = FrameRows(opened, k)
        found = [rows.read(top, min(top + 16, rows.height)) for top in range(0, rows.height, 16)]
        assert np.array_equal(np.concatenate(found), expected)


def test_pages_that_come_round_again_are_looked_at_once() -> None:
    page = Image.fromarray(make_photo(3, 4)[:, :, 0] // 128)
    page.putpalette([0, 9, 0, 255, 255, 0])
    file = bytearray(encoded(page, "TIFF", save_all=True, append_images=[page]))
    order = "<" if file[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", file, 4)
    (count,) = struct.unpack_from(order + "H", file, first)
    struct.pack_into(order + "I", file, first + 2 + 12 * count, first)
    samples, _ = read_tags(bytes(file))
    assert samples.palette and not samples.palettes_differ


def test_of_a_hundred_palettes_and_one_the_first_page_is_read() -> None:
    page = Image.fromarray(make_photo(3, 4)[:, :, 0] // 128)
    pages = [page.copy() for _ in range(101)]
    for k, one in enumerate(pages):
        one.putpalette([k, 0, 0, 255, 255, k])
    file = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    opened = open_picture(file, all_frames=True)
    assert opened.frames == 1
    assert "only the first of 101 pages; of those with several palettes, 100 are read" in opened.metadata.notes
    file = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:-1])
    opened = open_picture(file, all_frames=True)
    assert np.array_equal(read_rows(opened, 99 * 3, 100 * 3), np.asarray(pages[99].convert("RGB")))


def test_an_avif_of_several_pictures_gives_the_main_one() -> None:
    pages = [pyvips.Image.new_from_array(make_photo(16, 24, seed)) for seed in range(2)]
    both = pages[0].join(pages[1], "vertical").copy()
    both.set_type(pyvips.GValue.gint_type, "page-height", 16)
    file = both.heifsave_buffer(compression="av1", lossless=True)
    found = read_picture(file)
    assert found.pixels.shape == (16, 24, 3)
    assert found.metadata.notes == ["only the main one of 2 pictures in the file"]


def test_pages_of_different_size_leave_the_first() -> None:
    pages = [Image.fromarray(make_photo(8, 9)), Image.fromarray(make_photo(10, 12))]
    file = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    opened = open_picture(file, all_frames=True)
    assert opened.frames == 1
    assert opened.metadata.notes == ["only the first of 2 pages; they differ in size, kind or orientation"]


def test_result_may_be_written_to() -> None:
    found = read_picture(encoded(Image.fromarray(make_photo(8, 9)), "PNG"))
    found.pixels[0, 0] = 7
    assert found.pixels[0, 0, 0] == 7


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (1, 40), (40, 1)])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "GIF"])
def test_tiny_pictures(format: str, height: int, width: int) -> None:
    found = read_picture(encoded(Image.fromarray(make_photo(height, width)), format))
    assert found.pixels.shape == (height, width, 3)


def test_read_rgb(tmp_path: Path) -> None:
    grey = make_photo(9, 7)[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_rgb(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2))
    picture = make_photo(9, 7)
    write_picture(Picture(picture, alpha_for(picture)), tmp_path / "alpha.png")
    assert np.array_equal(read_rgb(tmp_path / "alpha.png"), picture)
    write_picture(Picture(pixels("float32", 3)), tmp_path / "float.tif")
    with pytest.raises(PictureError, match="floating-point"):
        read_rgb(tmp_path / "float.tif")


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a.png"
    path.write_bytes(encoded(Image.fromarray(make_photo(8, 9)), "JPEG"))
    assert read_picture(path).metadata.format == "jpg"


NAMES = [
    "with space.png",
    "Grüße 漢字 🙂.png",
    "[a]*?.png",
    "-o.png",
    "100%.png",
    "x" * 240 + ".png",
    "a=b,c[n=-1].png",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name(tmp_path: Path, name: str) -> None:
    picture = Picture(make_photo(8, 9))
    assert np.array_equal(read_picture(picture.save(tmp_path / name)).pixels, picture.pixels)


def test_a_name_that_is_not_unicode(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert np.array_equal(read_picture(Picture(make_photo(8, 9)).save(path, overwrite=True)).pixels, make_photo(8, 9))


def test_very_deep_paths(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 3000:
        folder = folder / ("d" * 200)
    folder.mkdir(parents=True)
    path = Picture(make_photo(8, 9)).save(folder / "deep.png")
    assert read_picture(path).pixels.shape == (8, 9, 3)


GOOD_PNG = encoded(Image.fromarray(make_photo(64, 64)), "PNG")
GOOD_JPEG = encoded(Image.fromarray(make_photo(64, 64)), "JPEG")
GOOD_WEBP = encoded(Image.fromarray(make_photo(64, 64)), "WEBP")
GOOD_TIFF = encoded(Image.fromarray(make_photo(64, 64)), "TIFF")
GOOD_AVIF = encoded(Image.fromarray(make_photo(64, 64)), "AVIF")
GOOD_GIF = encoded(Image.fromarray(make_photo(64, 64)), "GIF")


def overwritten(file: bytes, seed: int) -> bytes:
    """A file whose middle was written over, as a failing disk leaves it; it has its whole length."""
    at = len(file) // 2
    return file[:at] + np.random.default_rng(seed).bytes(64) + file[at + 64 :]


def tiff_with(**tags: int | tuple[int, ...]) -> bytes:
    """A TIFF file with tags (by number, as ``t254``) beside its own."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[int(name[1:])] = value
        info.tagtype[int(name[1:])] = 4
    return encoded(Image.fromarray(make_photo(9, 8)), "TIFF", tiffinfo=info)


def with_strips_cut(file: bytes) -> bytes:
    """A little-endian TIFF file in one strip, of which half is left."""
    at = struct.unpack_from("<I", file, 4)[0]
    entries = range(at + 2, at + 2 + 12 * struct.unpack_from("<H", file, at)[0], 12)
    (counts,) = (entry for entry in entries if struct.unpack_from("<H", file, entry)[0] == 279)
    (size,) = struct.unpack_from("<I", file, counts + 8)
    return file[: counts + 8] + struct.pack("<I", size // 2) + file[counts + 12 :]


_PHOTO = Image.fromarray(make_photo(200, 200))
_JPEG_IN_TIFF = encoded(_PHOTO, "TIFF", compression="jpeg", quality=90, tiffinfo={278: 200})
BAD = {
    "jpeg in a tiff truncated": (with_strips_cut(_JPEG_IN_TIFF), "damaged"),
    "jpeg in a tiff damaged": (overwritten(_JPEG_IN_TIFF, 1), "damaged"),
    "jpeg damaged": (overwritten(encoded(_PHOTO, "JPEG", quality=90), 1), "damaged|cannot be decoded"),
    "jpeg with restarts damaged": (
        overwritten(encoded(_PHOTO, "JPEG", quality=90, restart_marker_rows=1), 0),
        "damaged|cannot be decoded",
    ),
    "ycbcr tiff": (encoded(_PHOTO.convert("YCbCr"), "TIFF", compression="tiff_lzw"), "YCbCr samples"),
    "dng": (tiff_with(t50706=(1, 4, 0, 0)), "a camera's raw file"),
    "raw with a preview first": (tiff_with(t254=1, t330=8), "a camera's raw file"),
    "empty": (b"", "the file is empty"),
    "text": (b"I am not a picture\n" * 9, "not a picture; PNG, JPEG"),
    "zeros": (b"\0" * 1000, "not a picture"),
    "pdf": (b"%PDF-1.7\n", "it is a PDF file"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is an SVG file"),
    "bmp": (b"BM" + b"\0" * 60, "it is a BMP file"),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "it is HEIC"),
    "png signature only": (GOOD_PNG[:8], "damaged|cannot be decoded"),
    "png of an app for ios": (
        GOOD_PNG[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + GOOD_PNG[8:],
        r"Xcode gives those of apps \(CgBI\), which is not read here; .* makes an ordinary one",
    ),
    "png whose first chunk is none": (
        GOOD_PNG[:8] + chunk(b"tEXt", b"k\0v") + GOOD_PNG[8:],
        "the file is damaged or ends too early",
    ),
    "png truncated": (GOOD_PNG[: len(GOOD_PNG) // 2], "damaged|cannot be decoded"),
    "png damaged": (GOOD_PNG[:300] + b"\x55" * 80 + GOOD_PNG[380:], "damaged|cannot be decoded"),
    "jpeg truncated": (GOOD_JPEG[: len(GOOD_JPEG) // 2], "damaged|cannot be decoded"),
    "jpeg head only": (GOOD_JPEG[:20], "damaged|cannot be decoded"),
    "webp truncated": (GOOD_WEBP[: len(GOOD_WEBP) // 2], "damaged|cannot be decoded"),
    "tiff truncated": (GOOD_TIFF[:100], "damaged|cannot be decoded"),
    "avif truncated": (GOOD_AVIF[: len(GOOD_AVIF) // 2], "damaged|cannot be decoded"),
    "gif truncated": (GOOD_GIF[:100], "damaged|cannot be decoded"),
    "signed 16-bit": (b"", ""),
}
BAD.pop("signed 16-bit")


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("as_file", [True, False], ids=["file", "bytes"])
def test_bad_files_are_refused_by_name(case: str, as_file: bool, tmp_path: Path) -> None:
    data, message = BAD[case]
    path = tmp_path / "bäd file.png"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=message) as caught:
        read_picture(path if as_file else data)
    assert str(caught.value).startswith(str(path) if as_file else "the picture")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("position", range(0, len(GOOD_JPEG), max(1, len(GOOD_JPEG) // 40)))
@pytest.mark.parametrize(
    "file", [GOOD_PNG, GOOD_JPEG, GOOD_WEBP, GOOD_TIFF, GOOD_GIF], ids=["png", "jpg", "webp", "tiff", "gif"]
)
def test_flipped_bytes_never_do_worse_than_an_error(file: bytes, position: int) -> None:
    position %= len(file)
    damaged = file[:position] + bytes([file[position] ^ 0xFF]) + file[position + 1 :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = read_picture(damaged, max_pixels=1_000_000)
        except PictureError:
            return
    assert found.pixels.size > 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_folder_for_temporary_files_is_no_fault_of_the_picture(code: int) -> None:
    error = pyvips.Error("", f"wbuffer_write: write failed\nsystem error: {os.strerror(code)}\n")
    assert explain(error).startswith("the folder for temporary files is full; the environment variable TMPDIR")


def test_huge_headers_are_refused_before_decoding() -> None:
    with pytest.raises(
        PictureTooLargeError, match=r"100000 x 100000 is 10,000,000,000 pixels; the limit is 100,000,000"
    ):
        read_picture(png_header(100_000, 100_000))
    with pytest.raises(PictureTooLargeError, match="--max-pixels 10000000000"):
        read_picture(png_header(100_000, 100_000))


def test_the_limit_is_inclusive() -> None:
    file = encoded(Image.fromarray(make_photo(10, 10)), "PNG")
    assert read_picture(file, max_pixels=100).pixels.shape == (10, 10, 3)
    with pytest.raises(PictureTooLargeError):
        read_picture(file, max_pixels=99)


def test_frames_count_towards_the_limit() -> None:
    frames = animation()
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(PictureTooLargeError, match="x 3 frames"):
        open_picture(file, max_pixels=24 * 16 * 2, all_frames=True)


def test_missing_file_folder_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(PictureError, match=r"cannot be read \(Is a directory\)"):
        read_picture(tmp_path)
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture("a\0b.png")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """It could be waited for until the end of time, and is read more than once."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(PictureError, match=r"pipe\.png: a pipe or a device"):
        read_picture(tmp_path / "pipe.png")
    with pytest.raises(PictureError, match="a pipe or a device"):
        read_picture("/dev/null")


def test_a_link_in_a_circle_is_found_and_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    (found,) = find_pictures(tmp_path)
    with pytest.raises(PictureError, match=r"loop\.png"):
        read_picture(found)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"msf1\0\0\0\0hevcmsf1", "HEIC"),
        (b"isom\0\0\0\0mp41", "a video"),
        (b"avif\0\0\0\0mif1heic", None),
        (b"mif1\0\0\0\0mif1avif", None),
        (b"mif1\0\0\0\0miaf", None),
    ],
)
def test_avif_is_told_from_its_relatives(brands: bytes, kind: str | None) -> None:
    start = struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + b"heicavif"
    if kind is None:
        assert recognise(start).name == "avif"
    else:
        with pytest.raises(PictureError, match=f"it is {kind}, which is not read here"):
            recognise(start)


def test_the_order_of_pictures_is_not_the_disks() -> None:
    """Not of those either whose names differ in case alone."""
    names = ["001.png", "01.png", "1.png", "2.png", "A.png", "a.png"]
    for order in (names, names[::-1]):
        assert [path.name for path in sorted(map(Path, order), key=natural_order)] == names


def test_find_pictures(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "b.JPG", "notes.txt", ".hidden.png", "sub/c.webp", ".git/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert [p.name for p in find_pictures(tmp_path)] == ["2.png", "10.png", "b.JPG"]
    assert [p.name for p in find_pictures(tmp_path, recursive=True)] == ["2.png", "10.png", "b.JPG", "c.webp"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="no picture in it"):
        find_pictures(tmp_path / "empty")
    with pytest.raises(PictureError, match="no such folder"):
        find_pictures(tmp_path / "nowhere")


def test_a_closed_folder_is_named_with_the_reason(closed: Path) -> None:
    with pytest.raises(PictureError, match=r"closed.inside: cannot be looked at \(Permission denied\)"):
        find_pictures(closed / "inside")


def test_nothing_but_the_profile_and_the_resolution_survives_stripping() -> None:
    assert Metadata(exif=b"x", xmp=b"y", icc=b"z").stripped().exif is None


def test_a_file_that_ends_in_its_header_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Picture(make_photo(8, 8)).save(path)
    whole = path.read_bytes()
    for size in range(9, 48, 3):
        with pytest.raises(PictureError, match="the file is damaged or ends too early"):
            read_picture(whole[:size])

"""What stands beside the pixels: text fields, comments, EXIF that libvips does not know, orientation, frames."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, PngImagePlugin

from fourfold.errors import PictureError
from fourfold.imaging import (
    FORMATS,
    AtomicOutput,
    FrameRows,
    Layout,
    RowSink,
    SaveOptions,
    decoder_bytes,
    encode_picture,
    losses,
    open_picture,
    read_picture,
)
from fourfold.imaging.avif_colour import read_samples, unheard_colour
from fourfold.imaging.exif import EXIF_IFD, Ifd, Tag, build_exif, parse_exif
from fourfold.imaging.gif_blocks import read_blocks
from fourfold.imaging.iptc import WRAPPER, bare, wrapped
from fourfold.imaging.jpeg_segments import read_segments
from fourfold.imaging.picture import Metadata, Picture
from fourfold.imaging.png_text import chunk
from fourfold.imaging.reading import to_array
from fourfold.imaging.samples import widened
from fourfold.imaging.tiff_tags import _in_order
from fourfold.imaging.webp_chunks import is_lossy
from fourfold.imaging.xmp import upright_xmp
from tests.imaging.samples import XMP, animation, encoded, exif_with, make_photo, matrix_profile

PICTURE = Image.fromarray(make_photo(16, 24))
PLAIN_PNG = encoded(PICTURE, "PNG")
ANIMATED_GIF = encoded(
    animation()[0], "GIF", save_all=True, append_images=animation()[1:], duration=70, comment="José".encode("latin-1")
)


def png_with(*chunks: bytes) -> bytes:
    """A PNG file with chunks behind its first."""
    return PLAIN_PNG[:33] + b"".join(chunks) + PLAIN_PNG[33:]


@pytest.mark.parametrize("turn", [1, 3, 6])
def test_exif_of_a_png_counts_wherever_it_stands(turn: int) -> None:
    block = exif_with(turn).tobytes().removeprefix(b"Exif\0\0")
    found = read_picture(PLAIN_PNG[:-12] + chunk(b"eXIf", block) + PLAIN_PNG[-12:])
    before = read_picture(png_with(chunk(b"eXIf", block)))
    assert np.array_equal(found.pixels, before.pixels)
    assert (found.metadata.exif, found.metadata.notes) == (before.metadata.exif, before.metadata.notes)
    assert found.metadata.exif is not None
    damaged = bytearray(PLAIN_PNG[:-12] + chunk(b"eXIf", block) + PLAIN_PNG[-12:])
    damaged[-20] ^= 0xFF  # its checksum is wrong now
    assert read_picture(bytes(damaged)).metadata.exif is None


def test_a_repeated_text_field_is_said_once() -> None:
    found = read_picture(png_with(*(chunk(b"tEXt", b"Key\0%d" % k) for k in range(5))))
    assert (found.metadata.comments["Key"], len(found.metadata.notes)) == ("0\n1\n2\n3\n4", 1)


def written(picture: Picture, folder: Path, format: str = "png") -> bytes:
    """A picture written row by row, as the command does."""
    height, width, channels = picture.pixels.shape
    layout = Layout(height, width, channels, False, picture.pixels.dtype)
    output = AtomicOutput(folder / f"rows.{format}", overwrite=True)
    sink = RowSink(layout, picture.metadata, FORMATS[format], SaveOptions(), output.descriptor, folder)
    sink.write(picture.pixels)
    sink.finish()
    output.commit()
    return (folder / f"rows.{format}").read_bytes()


def chrm(values: tuple[int, ...], off: int = 0) -> bytes:
    """A chunk of chromaticities: white, red, green, blue, in 100,000ths."""
    return chunk(b"cHRM", struct.pack(">8I", *(value + off for value in values)))


SRGB = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
ADOBE_RGB = (31_270, 32_900, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000)
PRIMARIES, LINEAR = (
    "primaries (cHRM) that are not sRGB's were taken for sRGB's",
    "a gamma of 1/1.00 was taken for sRGB's",
)


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([chunk(b"gAMA", (45455).to_bytes(4, "big"))], []),
        ([chunk(b"gAMA", (100_000).to_bytes(4, "big"))], ["a gamma of 1/1.00 was taken for sRGB's"]),
        ([chunk(b"gAMA", (55_556).to_bytes(4, "big"))], ["a gamma of 1/1.80 was taken for sRGB's"]),
        ([chunk(b"gAMA", (55_556).to_bytes(4, "big")), chunk(b"sRGB", b"\0")], []),
        ([chunk(b"gAMA", b"\0\0\0\0")], []),
        ([chunk(b"cICP", b"\1\r\0\1")], []),
        ([chunk(b"cICP", b"\x09\x10\0\1")], ["colours by cICP code points were taken for sRGB"]),
        (
            [chunk(b"cICP", b"\x09\x10\0\1"), chunk(b"sRGB", b"\0")],
            ["colours by cICP code points were taken for sRGB"],
        ),
        (
            [chunk(b"cICP", b"\x09\x10\0\1"), chunk(b"iCCP", b"p\0\0" + zlib.compress(matrix_profile()))],
            ["colours by cICP code points were taken for what the colour profile says"],
        ),
        ([chrm(SRGB)], []),
        ([chrm(SRGB, off=30)], []),
        ([chrm(SRGB), chunk(b"gAMA", (45455).to_bytes(4, "big"))], []),
        ([chrm(ADOBE_RGB), chunk(b"gAMA", (45470).to_bytes(4, "big"))], [PRIMARIES]),
        ([chrm(ADOBE_RGB), chunk(b"gAMA", (100_000).to_bytes(4, "big"))], [LINEAR, PRIMARIES]),
        ([chrm(ADOBE_RGB), chunk(b"sRGB", b"\0")], []),
        ([chrm(ADOBE_RGB), chunk(b"cICP", b"\1\r\0\1")], []),
        ([chunk(b"cHRM", b"\0" * 32)], []),
    ],
)
def test_colours_that_are_not_heeded_are_said(chunks: list[bytes], said: list[str]) -> None:
    assert read_picture(png_with(*chunks)).metadata.notes == said


@pytest.mark.parametrize("before", [0, 49, 60, 1100])
@pytest.mark.parametrize("packed", [False, True])
def test_xmp_is_found_behind_any_number_of_text_fields(before: int, packed: bool) -> None:
    fields = [chunk(b"tEXt", f"Field {k}".encode() + b"\0text") for k in range(before)]
    text = b"\1\0\0\0" + zlib.compress(XMP) if packed else b"\0\0\0\0" + XMP
    found = read_picture(png_with(*fields, chunk(b"iTXt", b"XML:com.adobe.xmp\0" + text))).metadata
    assert found.xmp == XMP
    assert len(found.comments) == min(before, 1000)
    assert found.notes == (["more than 1,000 text fields: the rest was left out"] if before > 1000 else [])


@pytest.mark.parametrize("text", [b"", b"\0\0\0", b"\1\0\0\0not packed", b"\0\0\0\0\xff\xfe"])
def test_damaged_xmp_is_no_error(text: bytes) -> None:
    read_picture(png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0" + text)))


def colr(*boxes: bytes) -> bytes:
    """An AVIF file whose first colour box is replaced by boxes that are as long together."""
    file = encoded(PICTURE, "AVIF")
    at = file.index(b"colrnclx") - 4
    size = int.from_bytes(file[at : at + 4], "big")
    made = b"".join(boxes)
    assert len(made) == size
    return file[:at] + made + file[at + size :]


def nclx(primaries: int, transfer: int) -> bytes:
    return b"\0\0\0\x13colrnclx" + struct.pack(">3H", primaries, transfer, 6) + b"\x80"


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ((1, 13), None),
        ((2, 2), None),
        ((9, 16), "colours by code points (primaries 9, transfer 16) were taken for sRGB"),
        ((12, 13), "colours by code points (primaries 12, transfer 13) were taken for sRGB"),
        ((1, 8), "colours by code points (primaries 1, transfer 8) were taken for sRGB"),
    ],
)
def test_code_points_of_an_avif_that_are_not_heeded_are_said(points: tuple[int, int], said: str | None) -> None:
    assert read_picture(colr(nclx(*points))).metadata.notes == ([] if said is None else [said])


def test_code_points_beside_a_profile_are_nobodys_business() -> None:
    file = encoded(PICTURE, "AVIF", icc_profile=matrix_profile())
    assert read_picture(file).metadata.notes == []
    assert unheard_colour(file) == []


@pytest.mark.parametrize("range_", ["full", "limited"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("subsampling", ["4:0:0", "4:4:4"])
def test_grey_of_an_avif_is_in_the_range_that_it_says(range_: str, alpha: bool, subsampling: str) -> None:
    grey = Image.fromarray(np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))).convert("RGB")
    if alpha:
        grey.putalpha(200)
    found = read_picture(encoded(grey, "AVIF", quality=95, subsampling=subsampling, range=range_))
    assert np.abs(found.pixels.astype(int) - np.asarray(grey)[:, :, :3]).max() <= 2
    assert not alpha or (found.alpha is not None and np.all(found.alpha == 200))


@pytest.mark.parametrize(("bits", "black", "white"), [(8, 16, 235), (10, 64 << 6, 940 << 6), (12, 256 << 4, 3760 << 4)])
def test_black_and_white_of_a_narrow_range(bits: int, black: int, white: int) -> None:
    kind, top = (np.uint8, 255) if bits == 8 else (np.uint16, 65536 - (1 << (16 - bits)))
    image = pyvips.Image.new_from_array(np.array([[[0] * 3, [black] * 3, [white] * 3]], kind))
    assert widened(image, bits).numpy()[0, :, 0].tolist() == [0, 0, top]


def test_colours_of_an_avif_that_are_multiplied_by_alpha_are_divided_by_it() -> None:
    picture = Image.new("RGBA", (24, 16), (200, 100, 50, 128))
    found = read_picture(encoded(picture, "AVIF", quality=100, subsampling="4:4:4", alpha_premultiplied=True))
    assert found.alpha is not None and np.all(found.alpha == 128)
    assert np.abs(found.pixels.astype(int) - [200, 100, 50]).max() <= 3


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_damaged_avif_is_no_error(cut: int) -> None:
    read_samples(encoded(PICTURE.convert("RGBA"), "AVIF", alpha_premultiplied=True)[:cut])
    file = colr(nclx(9, 16))
    assert unheard_colour(file[:cut]) in ([], unheard_colour(file))
    assert len(unheard_colour(file[:cut] + b"\0\0\0\1" + file[cut + 4 :])) <= 1


def test_text_is_whole_though_the_disk_takes_it_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_at_once = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda descriptor, data, at: written_at_once(descriptor, data[:50], at))
    comments = {f"Field {k}": "word " * 100 for k in range(3)}
    exif = exif_with(1).tobytes()
    picture = Picture(make_photo(9, 8), metadata=Metadata(comments=dict(comments), exif=exif))
    assert read_picture(written(picture, tmp_path)).metadata.comments == comments
    tags = parse_exif(read_picture(written(picture, tmp_path, "tiff")).metadata.exif or b"").main.tags
    assert tags[0x0110].data == b"Model X\0"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("all_frames", [False, True])
def test_a_gif_cut_short_is_refused(share: float, all_frames: bool, tmp_path: Path) -> None:
    part = ANIMATED_GIF[: int(len(ANIMATED_GIF) * share)]
    (path := tmp_path / "short.gif").write_bytes(part)
    for source in (part, path):
        with pytest.raises(PictureError, match="damaged or ends too early"):
            open_picture(source, all_frames=all_frames)


def gif_with(*extensions: bytes) -> bytes:
    """A GIF file with extensions before its frame."""
    plain = encoded(PICTURE.quantize(64), "GIF")
    at = 13 + (3 << ((plain[10] & 7) + 1))
    return plain[:at] + b"".join(extensions) + plain[at:]


XMP_OF_A_GIF = b"\x21\xff\x0bXMP DataXMP" + XMP + bytes([1, *range(255, -1, -1), 0])


def test_xmp_and_the_profile_of_a_gif_are_kept() -> None:
    profile = matrix_profile()
    parts = [profile[at : at + 255] for at in range(0, len(profile), 255)]
    block = b"\x21\xff\x0bICCRGBG1012" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    found = read_picture(gif_with(block, XMP_OF_A_GIF))
    assert (found.metadata.xmp, found.metadata.icc, found.metadata.notes) == (XMP, profile, [])
    again = read_picture(encode_picture(found, "png")).metadata
    assert (again.xmp, again.icc) == (XMP, profile)


@pytest.mark.parametrize(
    "extension",
    [
        b"\x21\xff\x0bXMP DataXMP\0",
        b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0",
        b"\x21\xff\x0bICCRGBG1012\0",
        b"\x21\xff\x0bICCRGBG1012\4abcd\0",
    ],
)
def test_what_is_no_xmp_and_no_profile_in_a_gif(extension: bytes) -> None:
    found = read_picture(gif_with(extension)).metadata
    assert (found.xmp, found.icc) == (None, None)


@pytest.mark.parametrize("junk", [b"\0", b"junk behind the end", b"\x21\xfe\xff"])
def test_junk_behind_a_gif_is_nobodys_business(junk: bytes) -> None:
    assert open_picture(ANIMATED_GIF + junk, all_frames=True).frames == 3


def test_every_cut_of_a_gif_is_noticed() -> None:
    assert read_blocks(ANIMATED_GIF).comments == ["José".encode("latin-1")]
    for end in range(13, len(ANIMATED_GIF)):
        with pytest.raises(PictureError):
            read_blocks(ANIMATED_GIF[:end])
    with pytest.raises(PictureError, match="no block"):
        read_blocks(PLAIN_GIF_HEAD + b"\x55;")


PLAIN_GIF_HEAD = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)

TEXTS = {
    "Latin-1": ("Copyright", "© 1998 José Müller"),
    "beyond Latin-1": ("Title", "日本語 é"),
    "several lines": ("Description", "one\ntwo"),
    "key with a hyphen": ("Long-key-x", "v"),
    "empty": ("Empty", ""),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_fields_are_right_for_other_readers(case: str, tmp_path: Path) -> None:
    key, text = TEXTS[case]
    info = PngImagePlugin.PngInfo()
    info.add_text(key, text)
    found = read_picture(encoded(PICTURE, "PNG", pnginfo=info))
    assert found.metadata.comments == {key: text}
    for file in (encode_picture(found, "png"), written(found, tmp_path)):
        other = Image.open(io.BytesIO(file))
        assert isinstance(other, PngImagePlugin.PngImageFile)
        assert other.text == {key: text}
        assert file.index(b"tEXt" if case != "beyond Latin-1" else b"iTXt") < file.index(b"IDAT")
        assert np.array_equal(np.asarray(other), found.pixels)
        assert read_picture(file).metadata.comments == {key: text}


LATIN_1 = "é, and more of it".encode("latin-1")
BOMB = zlib.compress(b"\0" * (2 << 20))
CHUNKS: dict[str, tuple[bytes, dict[str, str], str]] = {
    "tEXt": (chunk(b"tEXt", b"k\0" + LATIN_1), {"k": "é, and more of it"}, ""),
    "zTXt": (chunk(b"zTXt", b"k\0\0" + zlib.compress(LATIN_1)), {"k": "é, and more of it"}, ""),
    "iTXt": (chunk(b"iTXt", b"k\0\0\0\0\0" + "日".encode()), {"k": "日"}, ""),
    "iTXt packed": (chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress("日".encode())), {"k": "日"}, ""),
    "language": (chunk(b"iTXt", b"k\0\0\0de\0K\0x"), {"k": "x"}, "the language of the text field 'k' was left out"),
    "twice": (chunk(b"tEXt", b"k\0a") + chunk(b"tEXt", b"k\0b"), {"k": "a\nb"}, "'k' is there more than once: joined"),
    "no UTF-8": (chunk(b"iTXt", b"k\0\0\0\0\0" + LATIN_1), {}, "the text field 'k' was left out"),
    "no key": (chunk(b"tEXt", b"\0text"), {}, "the text field '' was left out: it is damaged"),
    "not packed": (chunk(b"zTXt", b"k\0\0nonsense"), {}, "the text field 'k' was left out"),
    "packed, cut": (chunk(b"zTXt", b"k\0\0" + zlib.compress(b"text")[:-3]), {}, "the text field 'k' was left out"),
    "many": (
        b"".join(chunk(b"tEXt", b"%d\0text" % k) for k in range(1200)),
        {str(k): "text" for k in range(1000)},
        "more than 1,000 text fields: the rest was left out",
    ),
    "bomb": (chunk(b"zTXt", b"k\0\0" + BOMB), {}, "it is too long (1,048,576 bytes each"),
    "many bombs": (
        b"".join(chunk(b"zTXt", b"%d\0\0" % k + zlib.compress(b"x" * (1 << 20))) for k in range(9)),
        {str(k): "x" * (1 << 20) for k in range(8)},
        "the text field '8' was left out: it is too long",
    ),
}


@pytest.mark.parametrize("case", CHUNKS)
def test_text_chunks(case: str) -> None:
    chunks, comments, note = CHUNKS[case]
    found = read_picture(png_with(chunks)).metadata
    assert found.comments == comments
    assert (note in "; ".join(found.notes)) if note else found.notes == []


def test_a_text_chunk_with_a_wrong_checksum_is_not_taken_over() -> None:
    damaged = chunk(b"tEXt", b"k\0text")[:-1] + b"\0"
    try:
        found = read_picture(png_with(damaged)).metadata
    except PictureError:
        return  # libvips may refuse it before
    assert found.comments == {}
    assert "the text field 'k' was left out: it is damaged" in found.notes


@pytest.mark.parametrize("key", ["", "x" * 80, "日本", "line\nbreak", " edge"])
def test_keys_that_png_cannot_hold_are_said(key: str) -> None:
    said: list[str] = []
    picture = Picture(make_photo(8, 8), metadata=Metadata(comments={key: "x", "good": "y"}))
    assert read_picture(encode_picture(picture, "png", on_loss=said.append)).metadata.comments == {"good": "y"}
    assert said == [f"PNG names text fields with 1 to 79 Latin letters: {key} left out"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (encoded(PICTURE, "JPEG", comment=b"Grandma, Lisbon"), "Grandma, Lisbon"),
        (encoded(PICTURE, "JPEG", comment="Grüße".encode()), "Grüße"),
        (encoded(PICTURE, "GIF", comment="José".encode("latin-1")), "José"),
    ],
    ids=["jpg", "jpg in UTF-8", "gif"],
)
def test_comments_go_into_png_and_jpeg_and_are_missed_elsewhere(file: bytes, text: str, tmp_path: Path) -> None:
    found = read_picture(file)
    assert found.metadata.comments == {"Comment": text}
    assert read_picture(encode_picture(found, "png")).metadata.comments == {"Comment": text}
    said: list[str] = []
    made = encode_picture(found, "jpg", on_loss=said.append)
    found.save(tmp_path / "found.jpg")
    assert said == []
    for jpeg in (made, (tmp_path / "found.jpg").read_bytes()):
        assert Image.open(io.BytesIO(jpeg)).info["comment"].decode() == text
        assert read_picture(jpeg).metadata.comments == {"Comment": text}
    encode_picture(found, "webp", on_loss=said.append)
    assert said == ["WebP holds no text fields: Comment left out"]


@pytest.mark.parametrize(
    ("comments", "says"),
    [
        ({"Comment": "x" * 65_533}, []),
        ({"Comment": "x" * 65_534}, ["JPG is given at most 65,533 bytes of comment: left out"]),
        ({"Title": "x", "Comment": "y"}, ["JPG holds no text fields but the comment: Title left out"]),
    ],
    ids=["longest", "too long", "title"],
)
def test_what_a_jpeg_comment_holds(comments: dict[str, str], says: list[str]) -> None:
    said: list[str] = []
    file = encode_picture(Picture(make_photo(8, 8), metadata=Metadata(comments=comments)), "jpg", on_loss=said.append)
    assert said == says
    kept = {"Comment": comments["Comment"]} if len(comments["Comment"]) <= 65_533 else {}
    assert read_picture(file).metadata.comments == kept


def test_a_jpeg_comment_stands_behind_exif_and_profile(tmp_path: Path) -> None:
    picture = read_picture(encoded(PICTURE, "JPEG", exif=exif_with(1), dpi=(300, 300), icc_profile=matrix_profile()))
    picture.metadata.comments["Comment"] = "x"
    picture.save(tmp_path / "picture.jpg")
    found = (tmp_path / "picture.jpg").read_bytes()
    assert found[2] == 0xFF
    assert found[3] in (0xE0, 0xE1)  # JFIF's or EXIF's
    assert found.index(b"Exif\0") < found.index(b"ICC_PROFILE\0") < found.index(b"\xff\xfe\0\3x")
    assert read_picture(found).metadata.comments == {"Comment": "x"}


def rare_tags(order: str) -> tuple[dict[int, Tag], dict[int, Tag]]:
    """Tags that libexif does not know, for the main list and the EXIF list."""
    return {0x4746: Tag(3, 1, struct.pack(order + "H", 5))}, {
        0x9400: Tag(10, 1, struct.pack(order + "ii", 215, 10)),
        0xA436: Tag(2, 6, b"Title\0"),
        0xA437: Tag(129, 7, "Grüß\0".encode()),
        0x927C: Tag(7, 40, bytes(range(40))),
    }


def rare_exif(order: str) -> bytes:
    """An EXIF block with the rare tags and the usual ones."""
    block = parse_exif(exif_with().tobytes())
    block.main, block.order = _in_order(block.main, block.order, order), order
    main, sub = rare_tags(order)
    block.main.tags |= main
    block.main.children[EXIF_IFD].tags |= sub
    return build_exif(block)


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff", "avif"])
@pytest.mark.parametrize("dpi", [None, (300.0, 200.0)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_rare_exif_tags_stay(format: str, dpi: tuple[float, float] | None, order: str, tmp_path: Path) -> None:
    picture = Picture(make_photo(32, 48), metadata=Metadata(exif=rare_exif(order), dpi=dpi, comments={"k": "v"}))
    for file in (encode_picture(picture, format, on_loss=lambda _: None), written(picture, tmp_path, format)):
        found = read_picture(file)
        block = parse_exif(found.metadata.exif or b"")
        main, sub = rare_tags(block.order)
        assert main.items() <= block.main.tags.items()
        assert sub.items() <= block.main.children[EXIF_IFD].tags.items()
        assert found.metadata.dpi == dpi or dpi is None
        other = Image.open(io.BytesIO(file))
        other.load()
        assert other.getexif().get_ifd(0x8769)[0xA436] == "Title"
        assert other.getexif().get_ifd(0x8825)[4] == (11.0, 34.0, 31.0)


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif"])
@pytest.mark.parametrize("size", [1, 200, 64_000, 66_000, 200_000])
def test_exif_of_any_size_is_kept_or_missed(format: str, size: int) -> None:
    note = Tag(7, size, b"x" * size)
    block = build_exif(parse_exif(build_exif_with(note)))
    said: list[str] = []
    file = encode_picture(Picture(make_photo(8, 8), metadata=Metadata(exif=block)), format, on_loss=said.append)
    found = read_picture(file).metadata
    if size < 65_000:
        assert said == []
        assert parse_exif(found.exif or b"").main.children[EXIF_IFD].tags[0x927C] == note
    else:
        assert said == [
            f"{'WebP' if format == 'webp' else format.upper()} is given at most 65,000 bytes of EXIF: left out"
        ]
        assert found.exif is None
    assert Image.open(io.BytesIO(file)).getexif() is not None


def test_an_animation_keeps_rare_exif_tags(tmp_path: Path) -> None:
    layout = Layout(16, 24, 3, False, np.dtype(np.uint8), frames=3, delays_ms=(70, 80, 90))
    with (tmp_path / "a.webp").open("w+b") as file:
        sink = RowSink(layout, Metadata(exif=rare_exif("<")), FORMATS["webp"], SaveOptions(), file.fileno(), tmp_path)
        sink.write(np.concatenate([make_photo(16, 24, k) for k in range(3)]))
        sink.finish()
    opened = open_picture(tmp_path / "a.webp", all_frames=True)
    assert (opened.frames, opened.delays_ms) == (3, [70, 80, 90])
    assert rare_tags("<")[1].items() <= parse_exif(opened.metadata.exif or b"").main.children[EXIF_IFD].tags.items()


def build_exif_with(note: Tag) -> bytes:
    block = parse_exif(exif_with().tobytes())
    block.main = Ifd(children={EXIF_IFD: Ifd({0x927C: note})})
    return build_exif(block)


@pytest.mark.parametrize(
    ("kind", "size", "limit"),
    [
        ("xmp", 60_000, "60,000"),
        ("xmp", 60_001, "60,000"),
        ("xmp", 70_000, "60,000"),
        ("iptc", 65_500, "65,500"),
        ("iptc", 70_000, "65,500"),
    ],
)
def test_what_is_too_long_for_jpeg_is_missed(kind: str, size: int, limit: str) -> None:
    kept = size <= int(limit.replace(",", ""))
    data = b"<x:xmpmeta>".ljust(size, b"a") if kind == "xmp" else b"\x1c\x02\x05" + b"\0" * (size - 3)
    picture = Picture(make_photo(8, 8), metadata=Metadata(**{kind: data}))
    said: list[str] = []
    found = read_picture(encode_picture(picture, "jpg", on_loss=said.append)).metadata
    assert (getattr(found, kind) is not None) == kept
    assert said == ([] if kept else [f"JPG is given at most {limit} bytes of {kind.upper()}: left out"])


@pytest.mark.parametrize("cut", ["within the records", "between resources"])
def test_iptc_in_several_segments_is_whole(cut: str) -> None:
    records = b"\x1c\x02\x78" + (30_000).to_bytes(2, "big") + bytes(range(250)) * 120
    block = wrapped(records).removeprefix(WRAPPER)
    parts = [PATH + block[:9_001], block[9_001:]] if cut == "within the records" else [PATH, block]
    found = read_picture(jpeg_with(*parts))
    assert bare(found.metadata.iptc or b"") == records
    said: list[str] = []
    assert read_picture(encode_picture(found, "tiff", on_loss=said.append)).metadata.iptc == records
    assert said == ["TIFF is given no Photoshop resources (such as clipping paths): left out"]
    again = read_picture(encode_picture(found, "jpg")).metadata
    assert again.iptc == WRAPPER + PATH + block
    assert found.metadata.notes == []


#: One of Photoshop's resources: a clipping path.
PATH = b"8BIM\x07\xd0\0\0\0\0\0\x10" + b"a path".ljust(16, b"\0")


def jpeg_with(*resources: bytes) -> bytes:
    """A JPEG file with Photoshop's resources, in a segment each."""
    plain = encoded(PICTURE, "JPEG")
    segments = [b"\xff\xed" + (len(WRAPPER + part) + 2).to_bytes(2, "big") + WRAPPER + part for part in resources]
    return plain[:2] + b"".join(segments) + plain[2:]


def test_resources_too_long_for_a_segment_leave_iptc() -> None:
    records = b"\x1c\x02\x78" + (30_000).to_bytes(2, "big") + bytes(range(250)) * 120
    long = b"8BIM\x07\xd1\0\0\0\0\xc3\x50" + b"x" * 50_000
    for parts, kept in (([long, wrapped(records).removeprefix(WRAPPER)], records), ([long, long], None)):
        found = read_picture(jpeg_with(*parts)).metadata
        assert found.iptc == kept
        [note] = found.notes
        assert note.startswith("Photoshop's resources (such as clipping paths) were left out")
    alone = b"\x1c\x02\x05" + bytes(70_000)
    block = wrapped(alone).removeprefix(WRAPPER)
    found = read_picture(jpeg_with(block[:40_000], block[40_000:])).metadata
    assert (found.iptc, found.notes) == (alone, [])


def test_iptc_alone_is_no_other_resource() -> None:
    said: list[str] = []
    found = read_picture(jpeg_with(wrapped(b"\x1c\x02\x05\x00\x05Title").removeprefix(WRAPPER)))
    encode_picture(found, "tiff", on_loss=said.append)
    assert said == []


@pytest.mark.parametrize("parts", [[PATH], [PATH, PATH]])
def test_resources_without_iptc_are_not_taken_for_it(parts: list[bytes]) -> None:
    found = read_picture(jpeg_with(*parts))
    for format in ("png", "tiff"):
        said: list[str] = []
        assert read_picture(encode_picture(found, format, on_loss=said.append)).metadata.iptc is None
        assert said == [f"{format.upper()} is given no Photoshop resources (such as clipping paths): left out"]
    assert read_picture(encode_picture(found, "jpg")).metadata.iptc == WRAPPER + b"".join(parts)


def test_extended_xmp_is_missed() -> None:
    plain = encoded(PICTURE, "JPEG")
    more = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<x/>"
    file = plain[:2] + b"\xff\xe1" + (len(more) + 2).to_bytes(2, "big") + more + plain[2:]
    assert read_picture(file).metadata.notes == ["XMP beyond the first 64 KB (extended XMP) was left out"]
    assert read_picture(plain).metadata.notes == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'<a tiff:Orientation="6" b="6"/>', b'<a tiff:Orientation="1" b="6"/>'),
        (b"<a tiff:Orientation = '8'/>", b"<a tiff:Orientation = '1'/>"),
        (b"<tiff:Orientation>6</tiff:Orientation>", b"<tiff:Orientation>1</tiff:Orientation>"),
        (b"<tiff:Orientation>\n 3 </tiff:Orientation>", b"<tiff:Orientation>\n 1 </tiff:Orientation>"),
        (b'<a tiff:Orientation="66"/>', b'<a tiff:Orientation="66"/>'),
        (b"<a/>", b"<a/>"),
    ],
)
def test_xmp_says_upright(before: bytes, after: bytes) -> None:
    assert upright_xmp(before, 1, 8, 8) == (after, [])
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + before + b"</x:xmpmeta>"
    file = encode_picture(Picture(make_photo(8, 8), metadata=Metadata(xmp=packet, exif=exif_with(1).tobytes())), "png")
    assert after in (read_picture(file).metadata.xmp or b"")
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        for mark in ("", "\ufeff"):
            wide = (mark + packet.decode()).encode(encoding)
            assert upright_xmp(wide, 1, 8, 8)[0] == (mark + packet.replace(before, after).decode()).encode(encoding)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_an_orientation_that_only_xmp_states_is_kept(format: str) -> None:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a tiff:Orientation='6'/></x:xmpmeta>"
    found = read_picture(encoded(PICTURE, format, xmp=packet))
    assert found.pixels.shape == np.asarray(PICTURE).shape
    assert b"tiff:Orientation='6'" in (found.metadata.xmp or b"")


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "tiff", "avif"])
def test_xmp_states_the_size_of_the_file_it_is_in(format: str) -> None:
    packet = (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a exif:PixelXDimension='2' tiff:ImageWidth='2' other:Width='2'/>"
        b"<exif:PixelYDimension> 3 </exif:PixelYDimension><tiff:ImageLength>3</tiff:ImageLength></x:xmpmeta>"
    )
    picture = Picture(make_photo(24, 32), metadata=Metadata(xmp=packet))
    found = read_picture(encode_picture(picture, format)).metadata.xmp or b""
    assert b"<a exif:PixelXDimension='32' tiff:ImageWidth='32' other:Width='2'/>" in found
    assert b"<exif:PixelYDimension> 24 </exif:PixelYDimension><tiff:ImageLength>24</tiff:ImageLength>" in found
    assert picture.metadata.xmp == packet


@pytest.mark.parametrize("said", ['GCamera:MotionPhoto="1"', "GCamera:MicroVideo='1'", 'Camera:MotionPhoto="1"'])
def test_a_motion_photo_becomes_a_still_one_and_that_is_said(said: str) -> None:
    packet = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a {said}/></x:xmpmeta>".encode()
    found = read_picture(encoded(PICTURE, "JPEG", xmp=packet) + b"a video").metadata
    assert found.notes == ["only the still picture of a motion photo: its video was left out"]
    assert said.replace("1", "0").encode() in (found.xmp or b"")


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        (
            [
                chunk(b"tIME", b"\x07\xe8\5\6\7\x08\x09"),
                chunk(b"bKGD", b"\0" * 6),
                chunk(b"sBIT", b"\5\5\5"),
                chunk(b"iDOT", b""),
            ],
            [],
        ),
        ([chunk(b"oFFs", b"\0" * 9), chunk(b"caNv", b"\0" * 16)], ["the chunks oFFs, caNv were left out"]),
        ([chunk(b"caNv", b"\0" * 16)] * 3, ["the chunks caNv were left out"]),
    ],
)
def test_chunks_that_nobody_reads_are_said(chunks: list[bytes], said: list[str]) -> None:
    assert read_picture(png_with(*chunks)).metadata.notes == said


def segment(number: int, content: bytes) -> bytes:
    return bytes((0xFF, 0xE0 + number)) + (len(content) + 2).to_bytes(2, "big") + content


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([segment(12, b"Ducky\0\1"), segment(14, b"Adobe\0d\0\0\0\0\1"), segment(0, b"JFXX\0\x10")], []),
        ([segment(13, b"Adobe_CM\0\2\x80")], []),
        ([segment(1, b"FLIR\0\1\0\0heat"), segment(1, b"FLIR\0\1\1\0more"), segment(3, b"\1\2")], ["FLIR, APP3"]),
        ([segment(13, b"Adobe_Photoshop2.5:8BIM" + bytes(20)), segment(3, b"Adobe\0d")], ["APP13, Adobe"]),
    ],
)
def test_segments_that_nobody_reads_are_said(segments: list[bytes], said: list[str]) -> None:
    plain = encoded(PICTURE, "JPEG")
    found = read_picture(plain[:2] + b"".join(segments) + plain[2:])
    assert found.metadata.notes == [f"segments that are not known here were left out: {names}" for names in said]


EXIF_SEGMENTS = [segment(1, b"Exif\0\0" + exif_with(turn).tobytes().removeprefix(b"Exif\0\0")) for turn in (6, 3)]
XMP_SEGMENTS = [
    segment(1, b"http://ns.adobe.com/xap/1.0/\0" + packet) for packet in (XMP, XMP.replace(b"kept", b"more"))
]


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        (EXIF_SEGMENTS, ["EXIF is there more than once: only the first block was kept"]),
        (XMP_SEGMENTS * 2, ["XMP is there more than once: only the first block was kept"]),
        ([EXIF_SEGMENTS[0]] * 2 + [XMP_SEGMENTS[0]] * 2, []),
    ],
)
def test_blocks_of_a_jpeg_beyond_the_first_are_told_of(segments: list[bytes], said: list[str]) -> None:
    plain = encoded(PICTURE, "JPEG")
    found = read_picture(plain[:2] + b"".join(segments) + plain[2:])
    assert found.metadata.notes == said
    if EXIF_SEGMENTS[0] in segments:
        assert found.pixels.shape == np.asarray(PICTURE.rotate(90, expand=True)).shape
    if XMP_SEGMENTS[0] in segments:
        assert found.metadata.xmp == XMP


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([(65000, "s", 0, "secret")], "the private tags 65000 were left out"),
        ([(40000 + k, "H", 1, k) for k in range(12)], "the private tags 40000, 40001, 40002, 40003, 40004, 40005, "),
        ([(301, "H", 768, tuple(range(768)))], "a curve, white or primaries that are given without a colour profile"),
        ([(318, "2I", 2, (3127, 10000, 3290, 10000))], "a curve, white or primaries that are given without a"),
    ],
)
def test_tags_that_nobody_reads_are_said(tags: list[tuple[Any, ...]], said: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, make_photo(16, 24), photometric="rgb", metadata=None, software=False, extratags=tags)
    [note] = read_picture(file.getvalue()).metadata.notes
    assert note.startswith(said)


def test_pictures_below_a_tiff_are_said() -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(make_photo(16, 24), photometric="rgb", subifds=1, metadata=None, software=False)
        writer.write(make_photo(8, 12), photometric="rgb", subfiletype=1, metadata=None, software=False)
    assert read_picture(file.getvalue()).metadata.notes == [
        "only the picture itself: 1 below it (smaller versions, perhaps) left out"
    ]


def test_damaged_wide_xmp_stays_as_it_is() -> None:
    damaged = "<a tiff:Orientation='8'/>".encode("utf-16-le") + b"\0"
    assert upright_xmp(damaged, 6, 8, 8) == (damaged, [])


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "GIF"])
def test_no_resolution_is_made_up(format: str, tmp_path: Path) -> None:
    found = read_picture(encoded(PICTURE, format))
    assert found.metadata.dpi is None
    found.metadata.comments["Title"] = "in front of it"
    made = encode_picture(found, "png")
    found.save(tmp_path / "found.png")
    for file in (made, (tmp_path / "found.png").read_bytes()):
        assert "dpi" not in Image.open(io.BytesIO(file)).info
        assert read_picture(file).metadata.dpi is None
        assert read_picture(file).metadata.comments["Title"] == "in front of it"
    found.metadata.comments.clear()
    said: list[str] = []
    encode_picture(found, "gif", on_loss=said.append)
    assert not any("DPI" in sentence for sentence in said)
    if format in ("PNG", "JPEG", "TIFF"):
        assert read_picture(encoded(PICTURE, format, dpi=(300, 300))).metadata.dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(
    ("unit", "dpi"),
    [
        ("NONE", None),
        ("INCH", (300, 300)),
        ("CENTIMETER", (762, 762)),
    ],
)
def test_a_tiff_without_a_unit_states_no_resolution(unit: str, dpi: tuple[float, float] | None) -> None:
    found = read_picture(tiff((make_photo(8, 8), 1), resolution=(300, 300), resolutionunit=unit)).metadata.dpi
    assert found == (None if dpi is None else pytest.approx(dpi, abs=0.1))


def test_a_tiff_that_names_no_unit_counts_in_inches() -> None:
    file = encoded(PICTURE, "TIFF", dpi=(300, 300))
    entry = struct.pack("<HHI", 0x0128, 3, 1)
    assert entry in file
    unknown = file.replace(entry, struct.pack("<HHI", 0xFE28, 3, 1))
    assert read_picture(unknown).metadata.dpi == pytest.approx((300, 300), abs=0.1)


def tiff(*pages: Any, **options: Any) -> bytes:
    """A TIFF file with these pages, each (array, orientation)."""
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page, orientation in pages:
            writer.write(page, extratags=[(274, "H", 1, orientation, True)], metadata=None, **options)
    return file.getvalue()


OME = '<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by a microscope -->\n<OME xmlns="x"><Pixels SizeX="24"/></OME>'


@pytest.mark.parametrize(
    ("description", "program"),
    [
        (OME, "OME"),
        ('<ome:OME xmlns:ome="x"/>', "OME"),
        ("ImageJ=1.54f\nspacing=3.0\nunit=um\n", "ImageJ"),
        ('{"shape": [16, 24, 3]}', "tifffile"),
        ("shape=(16,24,3)", "tifffile"),
        ("A slide, seen in ImageJ=1.54f", ""),
        ('<?xml version="1.0"?><home/>', ""),
        ("{}", ""),
    ],
)
def test_descriptions_that_state_the_size_and_the_scale_are_left_out_and_said(description: str, program: str) -> None:
    file = encoded(PICTURE, "TIFF", description=description, artist="Somebody")
    found = read_picture(file)
    said = f"{program}'s description was left out: it states the size and the scale of the small picture"
    assert found.metadata.notes == [said] * bool(program)
    tags = Image.open(io.BytesIO(encode_picture(found, "tiff"))).getexif()
    assert (tags.get(0x010E), tags.get(0x013B)) == (None if program else description, "Somebody")


def test_a_description_that_is_left_out_makes_no_difference_between_pages() -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([make_photo(16, 24, seed) for seed in range(2)]), photometric="rgb", ome=True)
    opened = open_picture(file.getvalue(), all_frames=True)
    assert opened.frames == 2
    assert [note for note in opened.metadata.notes if "pages" in note] == []


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [False, True])
def test_negatives_come_out_as_positives(kind: Any, alpha: bool) -> None:
    top = 1 if np.dtype(kind).kind == "f" else np.iinfo(kind).max
    grey = (np.linspace(0, 1, 60).reshape(6, 10) * top).astype(kind)
    page = np.dstack([grey, grey]) if alpha else grey
    options = {"extrasamples": ["unassalpha"], "planarconfig": "contig"} if alpha else {}
    read = [
        read_picture(tiff((page, 1), photometric=f"minis{black}", **options)).pixels for black in ("white", "black")
    ]
    assert np.allclose(read[0][..., 0], (top - read[1][..., 0].astype(np.float64)).astype(read[1].dtype), atol=1e-6)
    assert np.array_equal(read[0][..., 1:], read[1][..., 1:])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("format", ["TIFF", "PNG"])
def test_palettes_that_are_given_up_are_said(format: str, bits: int) -> None:
    picture = Image.fromarray(make_photo(8, 8)).quantize(1 << bits)
    metadata = read_picture(encoded(picture, format)).metadata
    assert (metadata.notes, metadata.bits) == (["palette turned into full colour"], 8)


def upright(page: Any, orientation: int) -> Any:
    from PIL import ImageOps

    still = encoded(Image.fromarray(page), "PNG", exif=exif_with(orientation))
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(still))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_page_is_turned(orientation: int) -> None:
    pages = [make_photo(16, 24, k) for k in range(3)]
    file = tiff(*((page, orientation) for page in pages), photometric="rgb")
    opened = open_picture(file, all_frames=True)
    expected = [upright(page, orientation) for page in pages]
    assert opened.frames == len(pages)
    assert (opened.height, opened.width) == expected[0].shape[:2]
    assert np.array_equal(to_array(opened.image), np.concatenate(expected))
    assert opened.metadata.notes == []
    assert decoder_bytes(opened) == (3 * 16 * 24 * 3 if orientation > 2 else 0)
    opened = open_picture(file, all_frames=True)
    found = [FrameRows(opened, k).read(0, opened.height) for k in range(3)]
    assert np.array_equal(np.stack(found), np.stack(expected))


def test_mirrored_pages_of_any_size_are_read_in_order() -> None:
    pages = [make_photo(300, 700, k) for k in range(6)]
    opened = open_picture(tiff(*((page, 2) for page in pages), photometric="rgb"), all_frames=True)
    for k, page in enumerate(pages):
        rows = FrameRows(opened, k)
        found = np.concatenate([rows.read(top, min(top + 64, 300)) for top in range(0, 300, 64)])
        assert np.array_equal(found, page[:, ::-1])


def test_pages_that_are_turned_differently_leave_the_first() -> None:
    file = tiff((make_photo(16, 24), 6), (make_photo(16, 24), 1), photometric="rgb")
    opened = open_picture(file, all_frames=True)
    assert (opened.frames, opened.height, opened.width) == (1, 24, 16)
    assert opened.metadata.notes == ["only the first of 2 pages; they differ in size, kind or orientation"]


@pytest.mark.parametrize("format", FORMATS)
def test_pages_are_no_flip_book(format: str) -> None:
    file = tiff((make_photo(8, 9), 1), (make_photo(8, 9, 1), 1), (make_photo(8, 9, 2), 1), photometric="rgb")
    opened = open_picture(file, all_frames=FORMATS[format].frames)
    assert opened.frames == (3 if format == "tiff" else 1)
    assert opened.metadata.notes == ([] if format == "tiff" else ["only the first of 3 pages"])


@pytest.mark.parametrize(
    ("format", "delays", "said"),
    [
        ("webp", (11, 70), []),
        ("webp", (10, 70), ["frames shown for 10 ms or less are shown for 100 ms, as browsers show them"]),
        ("gif", (10, 70), ["GIF holds 256 colours per frame: reduced"]),
        (
            "gif",
            (10, 75),
            ["GIF holds frame times in steps of 10 ms: rounded", "GIF holds 256 colours per frame: reduced"],
        ),
        ("tiff", (10, 70), ["TIFF holds pages, not an animation: frame times and loops left out"]),
        ("tiff", (), []),
        ("png", (10, 70), ["PNG holds one picture: only the first of 2 is written"]),
    ],
)
def test_lost_frame_times_are_said(format: str, delays: tuple[int, ...], said: list[str], tmp_path: Path) -> None:
    layout = Layout(16, 24, 3, False, np.dtype(np.uint8), frames=2, delays_ms=delays)
    assert losses(FORMATS[format], layout, Metadata(), SaveOptions()) == said
    output = AtomicOutput(tmp_path / f"a.{format}")
    sink = RowSink(layout, Metadata(), FORMATS[format], SaveOptions(), output.descriptor, tmp_path)
    sink.write(np.concatenate([make_photo(16, 24), make_photo(16, 24, 1)]))
    sink.finish()
    output.commit()
    found = open_picture(tmp_path / f"a.{format}", all_frames=True)
    changed = any("times" in sentence or "100 ms" in sentence for sentence in said)
    assert (found.delays_ms == list(delays)) == (not changed and format != "png")


@pytest.mark.parametrize("top", [1000, 2**32 - 1])
def test_whole_numbers_of_32_bits_keep_their_transparency(top: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.full((8, 9, 4), top, np.uint32)
    values[:, :, 3] = 2**30
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", extrasamples=["unassalpha"])
    found = read_picture(file.getvalue())
    assert found.alpha is not None and np.allclose(found.alpha, 0.25)


@pytest.mark.parametrize(
    ("kinds", "alpha", "left_out"),
    [
        (["unassalpha"], 0, ""),
        (["unspecified"], None, "a channel that is neither"),
        (["unspecified", "unspecified"], None, "2 channels that are neither"),
        (["unassalpha", "unspecified"], 0, "a channel that is neither"),
        (["unspecified", "unassalpha"], 1, "a channel that is neither"),
    ],
)
@pytest.mark.parametrize("colours", [1, 3])
def test_channels_of_a_tiff_that_are_no_alpha(kinds: list[str], alpha: int | None, left_out: str, colours: int) -> None:
    """A saved selection, taken for transparency, would make the picture vanish."""
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(1, 255, (12, 10, colours + len(kinds)), dtype=np.uint8)
    file = io.BytesIO()
    photometric = "rgb" if colours == 3 else "minisblack"
    tifffile.imwrite(file, values, photometric=photometric, extrasamples=kinds, planarconfig="contig")
    found = read_picture(file.getvalue())
    assert np.array_equal(found.pixels, values[..., :colours])
    if alpha is None:
        assert found.alpha is None
    else:
        assert np.array_equal(np.asarray(found.alpha).reshape(12, 10), values[..., colours + alpha])
    assert [note for note in found.metadata.notes if left_out and left_out in note] == (
        [f"{left_out} colour nor transparency left out"] if left_out else []
    )


@pytest.mark.parametrize("top", [1000, 2**32 - 1])
def test_whole_numbers_of_32_bits_keep_their_values(top: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.linspace(0, top, 16 * 24).reshape(16, 24).astype(np.uint32)
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None)
    found = read_picture(file.getvalue())
    assert found.pixels.dtype == np.float32
    assert found.metadata.peak == pytest.approx(top)
    assert found.metadata.notes == ["32-bit whole numbers turned into 32-bit floating point"]
    again = tifffile.imread(io.BytesIO(encode_picture(found, "tiff")))
    assert np.allclose(again, values, rtol=1e-6, atol=top * 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "uint32"])
def test_cmyk_of_other_samples_is_refused(dtype: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, np.full((8, 9, 4), 0.5).astype(dtype), photometric="separated", metadata=None)
    with pytest.raises(PictureError, match="CMYK, which is not read here; convert it to 8- or 16-bit CMYK or to RGB"):
        read_picture(file.getvalue())


def test_cielab_keeps_its_depth_or_is_refused() -> None:
    tifffile = pytest.importorskip("tifffile")
    lab = np.zeros((16, 400, 3), np.uint16)
    lab[..., 0] = np.linspace(20_000, 22_000, 400)
    files = []
    for samples in (lab, (lab >> 8).astype(np.uint8)):
        files.append(io.BytesIO())
        tifffile.imwrite(files[-1], samples, photometric="cielab", metadata=None)
    found = read_picture(files[0].getvalue())
    assert (found.pixels.dtype, found.metadata.bits) == (np.uint16, 16)
    assert len(np.unique(found.pixels[0, :, 0])) > 300  # 8 bits would leave a dozen
    assert found.metadata.notes == ["CIELAB converted to sRGB"]
    with pytest.raises(PictureError, match="8-bit CIELAB, which is not read here; convert it"):
        read_picture(files[1].getvalue())


def webp(lossless: bool, **more: Any) -> bytes:
    return encoded(PICTURE, "WEBP", lossless=lossless, **more)


@pytest.mark.parametrize(
    ("data", "compressed"),
    [
        (encoded(PICTURE, "JPEG", quality=1), True),
        (encoded(PICTURE, "JPEG", quality=97), True),
        (encoded(PICTURE, "JPEG", quality=97, progressive=True, icc_profile=matrix_profile()), True),
        (encoded(PICTURE, "JPEG", quality=98), False),
        (encoded(PICTURE, "JPEG", quality=100), False),
        (encoded(PICTURE.convert("L"), "JPEG", quality=75), True),
        (encoded(PICTURE.convert("CMYK"), "JPEG", quality=75), True),
        (webp(False), True),
        (webp(True), False),
        (webp(False, exif=b"Exif\0\0", icc_profile=matrix_profile()), True),
        (webp(True, exif=b"Exif\0\0", icc_profile=matrix_profile()), False),
        (webp(False, save_all=True, append_images=[PICTURE.rotate(180)]), True),
        (webp(True, save_all=True, append_images=[PICTURE.rotate(180)]), False),
        (encode_picture(Picture(make_photo(16, 24)), "avif", quality=50), True),
        (encode_picture(Picture(make_photo(16, 24)), "avif", quality=100), True),
        (encode_picture(Picture(make_photo(16, 24)), "avif", lossless=True), False),
        (PLAIN_PNG, False),
        (ANIMATED_GIF, False),
        (encoded(PICTURE, "TIFF", compression="jpeg"), False),
    ],
)
def test_what_was_stored_with_losses_that_show(data: bytes, compressed: bool) -> None:
    assert open_picture(data).metadata.compressed is compressed


@pytest.mark.parametrize("quality", [1, 30, 49, 50, 51, 75, 90, 95, 98, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality: int) -> None:
    data = encoded(PICTURE, "JPEG", quality=quality)
    assert read_segments(data).quality == quality
    tables = data.index(b"\xff\xdb")
    wide = b"\xff\xdb\0\x83\x10" + struct.pack(">64H", *(n for n in data[tables + 5 : tables + 69]))
    assert read_segments(data[:tables] + wide + data[tables + 69 :]).quality == quality, "16 bits each"


@pytest.mark.parametrize(
    "segment",
    [b"", b"\xff\xdb\0\x02", b"\xff\xdb\0\x03\0", b"\xff\xdb\0\x43\x01" + bytes(64), b"\xff\xdb\0\x43\x10" + bytes(64)],
)
def test_a_jpeg_without_a_table_for_luma_has_no_quality(segment: bytes) -> None:
    assert read_segments(b"\xff\xd8" + segment + b"\xff\xd9").quality is None


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8X\xff\xff\xff\xff", bytes(200_000)]
)
def test_a_webp_of_which_nothing_can_be_seen_is_not_called_lossy(data: bytes) -> None:
    assert is_lossy(data) is False


@pytest.mark.parametrize(
    ("layout", "held"),
    [
        ({}, 0),
        ({"compression": "zlib", "rowsperstrip": 64}, "the strip"),
        ({"planarconfig": "separate", "rowsperstrip": 64}, 2 * 64 * 80 * 3),
        ({"planarconfig": "separate", "rowsperstrip": 1000}, 2 * 64 * 80 * 3),
        ({"tile": (16, 32)}, 2 * 16 * 80 * 3),
        ({"tile": (96, 96)}, 2 * 96 * 80 * 3),
    ],
)
@pytest.mark.parametrize("big", [False, True])
def test_what_a_tiff_takes_to_decode_follows_from_how_its_pixels_lie(
    layout: dict[str, Any], held: int | str, big: bool
) -> None:
    tifffile, file, pixels = pytest.importorskip("tifffile"), io.BytesIO(), make_photo(64, 80)
    stored = pixels.transpose(2, 0, 1) if "planarconfig" in layout else pixels
    tifffile.imwrite(file, stored, photometric="rgb", metadata=None, bigtiff=big, **layout)
    if held == "the strip":
        with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff_file:
            held = max(tiff_file.pages[0].databytecounts)
    opened = open_picture(file.getvalue())
    assert decoder_bytes(opened) == held
    assert np.array_equal(to_array(opened.image), pixels)


def test_a_strip_of_jpeg_is_decoded_whole() -> None:
    file = encoded(Image.fromarray(make_photo(64, 80)), "TIFF", compression="jpeg", tiffinfo={278: 32})
    assert decoder_bytes(open_picture(file)) == 2 * 32 * 80 * 3


def jfif(unit: int, across: int, down: int) -> bytes:
    """A JPEG file with this density."""
    plain = bytearray(encoded(PICTURE, "JPEG"))
    assert plain[6:10] == b"JFIF"
    plain[13:18] = struct.pack(">BHH", unit, across, down)
    return bytes(plain)


def phys(unit: int, across: int, down: int) -> bytes:
    return png_with(chunk(b"pHYs", struct.pack(">IIB", across, down, unit)))


def tiff_density(unit: int, across: int, down: int) -> bytes:
    tifffile, file = pytest.importorskip("tifffile"), io.BytesIO()
    values = np.asarray(PICTURE)
    tifffile.imwrite(file, values, photometric="rgb", metadata=None, resolution=(across, down), resolutionunit=unit)
    return file.getvalue()


def gif_shape(value: int) -> bytes:
    plain = encoded(PICTURE.quantize(64), "GIF")
    return plain[:12] + bytes([value]) + plain[13:]


def pasp(across: int, down: int) -> bytes:
    """An AVIF file with this shape of pixels instead of its number of bits, which is in its pictures, too."""
    file = encoded(PICTURE, "AVIF")
    at = file.index(b"\0\0\0\x10pixi")
    return file[: at + 4] + b"pasp" + struct.pack(">II", across, down) + file[at + 16 :]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (gif_shape(0), ""),
        (gif_shape(49), ""),
        (gif_shape(113), "2 across to 1 down"),
        (gif_shape(48), "63 across to 64 down"),
        (pasp(4, 3), "4 across to 3 down"),
        (pasp(7, 7), ""),
        (pasp(0, 7), ""),
        (jfif(0, 45, 64), "64 across to 45 down"),
        (jfif(0, 1, 1), ""),
        (jfif(0, 0, 7), ""),
        (jfif(1, 300, 150), ""),
        (phys(0, 45, 64), "64 across to 45 down"),
        (phys(0, 1, 1), ""),
        (phys(1, 3000, 6000), ""),
        (tiff_density(1, 45, 64), "64 across to 45 down"),
        (tiff_density(1, 72, 72), ""),
        (tiff_density(2, 300, 150), ""),
    ],
)
def test_pixels_that_are_not_square_are_told_of(file: bytes, said: str) -> None:
    expected = [f"the pixels' shape ({said}) was left out: they are taken for square"] if said else []
    assert read_picture(file).metadata.notes == expected


CREDENTIALS_TOLD = "Content Credentials (C2PA) were left out: they vouch for the pixels as they were"


def webp_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file with chunks behind its own, and bytes that are none behind its end."""
    file = encoded(PICTURE, "WEBP", lossless=True, exif=exif_with())
    for kind, content in chunks:
        file += kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
    return file[:4] + (len(file) - 8).to_bytes(4, "little") + file[8:] + b"JUNK\4\0\0\0junk"


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([], []),
        ([(b"C2PA", b"a manifest")], [CREDENTIALS_TOLD]),
        ([(b"abcd", b"odd"), (b"EF\xe9 ", b""), (b"abcd", b"")], ["the chunks abcd, EF\xe9 were left out"]),
        ([(b"abcd", b""), (b"C2PA", b"")], [CREDENTIALS_TOLD, "the chunks abcd were left out"]),
        (
            [(b"%04d" % k, b"") for k in range(12)],
            [f"the chunks {', '.join(f'{k:04}' for k in range(10))} were left out"],
        ),
    ],
)
def test_chunks_of_a_webp_that_nobody_reads_are_said(chunks: list[tuple[bytes, bytes]], said: list[str]) -> None:
    assert read_picture(webp_with(*chunks)).metadata.notes == said


def test_an_animated_webp_has_no_chunks_to_tell_of() -> None:
    first, *others = animation()
    file = encoded(
        first.convert("RGBA"), "WEBP", save_all=True, append_images=others, xmp=XMP, icc_profile=matrix_profile()
    )
    assert read_picture(file).metadata.notes == ["only the first of 3 frames"]


C2PA_UUID, OTHER_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481"), bytes(range(16))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([C2PA_UUID], [CREDENTIALS_TOLD]),
        (
            [OTHER_UUID, OTHER_UUID],
            ["boxes that are not known here were left out: 00010203-0405-0607-0809-0a0b0c0d0e0f"],
        ),
        ([b"too short"], []),
    ],
)
def test_boxes_of_an_avif_that_nobody_reads_are_said(names: list[bytes], said: list[str]) -> None:
    boxes = (name + b"content" * (len(name) == 16) for name in names)
    file = encoded(PICTURE, "AVIF") + b"".join((8 + len(b)).to_bytes(4, "big") + b"uuid" + b for b in boxes)
    assert read_picture(file).metadata.notes == said


def test_content_credentials_are_told_of() -> None:
    plain = encoded(PICTURE, "JPEG")
    box = struct.pack(">I", 40) + b"jumb" + struct.pack(">I", 32) + b"jumdc2pa" + bytes(12) + b"\3c2pa\0"
    content = b"JP\0\1\0\0\0\1" + box
    signed = plain[:2] + b"\xff\xeb" + (len(content) + 2).to_bytes(2, "big") + content + plain[2:]
    assert read_picture(signed).metadata.notes == [CREDENTIALS_TOLD]
    assert read_picture(png_with(chunk(b"caBX", box))).metadata.notes == [CREDENTIALS_TOLD]


def test_the_names_of_a_tiff_and_its_page_are_kept() -> None:
    tifffile, file = pytest.importorskip("tifffile"), io.BytesIO()
    names = {0x010D: "invoice.pdf", 0x011D: "page one"}
    tags = [(number, 2, 0, text, True) for number, text in names.items()]
    tifffile.imwrite(file, np.asarray(PICTURE), photometric="rgb", metadata=None, extratags=tags)
    found = read_picture(file.getvalue())
    for format in ("tiff", "png", "jpg"):
        kept = parse_exif(read_picture(encode_picture(found, format)).metadata.exif or b"").main.tags
        assert {number: kept[number].data.rstrip(b"\0").decode() for number in names} == names

"""The comparison sheet: the same picture by several methods side by side, as in the paper's figure 2.

::

    title                                              the small picture that all of them saw
    subtitle
    nearest       bicubic       network       original          one column per method
    (PSNR / SSIM) ...
    [ picture  ]  [ picture  ]  [ picture  ]  [ picture  ]      the detail is framed
    [ detail   ]  [ detail   ]  [ detail   ]  [ detail   ]      magnified
    footnote
"""

import math
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fourfold.evaluation.comparison import Comparison, Restored
from fourfold.evaluation.samples import Square

PAPER = (255, 255, 255)
INK = (24, 26, 31)
SOFT = (107, 114, 128)
LINE = (222, 225, 230)
#: frames the detail; readable on dark and on bright pictures together with its dark outline
FRAME = (255, 196, 0)

MARGIN = 64
GAP = 28
#: between a column's label and its picture
LABEL = 106
NARROWEST_PANEL, WIDEST_PANEL = 384, 512
#: how often a pixel of the picture is repeated in the detail, unless another detail is asked for
MAGNIFICATION = 4

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Texts:
    """What stands on the sheet beside the pictures."""

    title: str
    subtitle: str
    footnote: str


def panel_px(comparison: Comparison) -> int:
    """Returns the width of a column: the picture's own where that is reasonable."""
    width: int = comparison.hr.shape[1]
    return min(max(NARROWEST_PANEL, width), WIDEST_PANEL)


def draw_sheet(comparison: Comparison, detail: Square, texts: Texts) -> NDArray[np.uint8]:
    """Returns the sheet, (H, W, 3) uint8.

    Args:
        comparison: pictures and scores.
        detail: the square to magnify, in pixels of the original.
        texts: title, subtitle and footnote.
    """
    panel, columns = panel_px(comparison), comparison.restored
    height, width = comparison.hr.shape[:2]
    shrink = min(1.0, panel / width, 1.25 * panel / height)
    top = MARGIN + max(comparison.lr.shape[0], 104) + 44 + LABEL
    total_width = 2 * MARGIN + len(columns) * panel + (len(columns) - 1) * GAP
    total_height = top + round(height * shrink) + GAP + panel + 62 + MARGIN
    sheet = Image.new("RGB", (total_width, total_height), PAPER)
    pen = ImageDraw.Draw(sheet)
    _draw_header(sheet, pen, comparison, texts, top - LABEL)
    for index, restored in enumerate(columns):
        left = MARGIN + index * (panel + GAP)
        _draw_label(pen, restored, (left, top - LABEL + 8), panel)
        _draw_column(sheet, restored.pixels, detail, shrink, (left, top), panel)
    _write(pen, (MARGIN, total_height - MARGIN - 22), texts.footnote, 22, total_width - 2 * MARGIN, SOFT)
    return np.asarray(sheet)


def _draw_header(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, comparison: Comparison, texts: Texts, bottom: int
) -> None:
    small = Image.fromarray(comparison.lr)
    left = sheet.width - MARGIN - small.width
    sheet.paste(small, (left, MARGIN))
    room = left - 2 * MARGIN - 260
    _write(pen, (MARGIN, MARGIN - 8), texts.title, 52, room, INK)
    _write(pen, (MARGIN, MARGIN + 66), texts.subtitle, 26, room, SOFT)
    pen.text((left - 18, MARGIN), "what all of them saw", font=_font(22), fill=SOFT, anchor="ra")
    size = f"{small.width} x {small.height}"
    pen.text((left - 18, MARGIN + 30), size, font=_font(22), fill=SOFT, anchor="ra")
    pen.line((MARGIN, bottom - 22, sheet.width - MARGIN, bottom - 22), fill=LINE, width=2)


def _draw_label(pen: ImageDraw.ImageDraw, restored: Restored, corner: tuple[int, int], width: int) -> None:
    left, top = corner
    _write(pen, (left, top), restored.method, 36, width, INK)
    _write(pen, (left, top + 46), scores(restored), 26, width, SOFT)


def scores(restored: Restored) -> str:
    """Returns PSNR and SSIM in brackets, as in the paper's figures."""
    if math.isinf(restored.psnr_db):
        return "(the reference)"
    return f"({restored.psnr_db:.2f} dB / {restored.ssim:.4f})"


def _draw_column(
    sheet: Image.Image,
    pixels: NDArray[np.uint8],
    detail: Square,
    shrink: float,
    corner: tuple[int, int],
    panel: int,
) -> None:
    left, top = corner
    picture = Image.fromarray(pixels)
    size = (round(picture.width * shrink), round(picture.height * shrink))
    shown = picture.resize(size, Image.Resampling.LANCZOS) if shrink < 1.0 else picture.copy()
    x, y, side = detail
    # nearest: a magnifying glass over the pixels, without an opinion of its own
    magnified = picture.crop((x, y, x + side, y + side)).resize((panel, panel), Image.Resampling.NEAREST)
    box = [round(v * shrink) for v in (x, y, x + side, y + side)]
    _draw_frame(shown, (box[0], box[1], box[2], box[3]), 3)
    _draw_frame(magnified, (0, 0, panel, panel), 4)
    sheet.paste(shown, (left, top))
    sheet.paste(magnified, (left, top + shown.height + GAP))


def _draw_frame(picture: Image.Image, box: tuple[int, int, int, int], line_px: int) -> None:
    """Draws a frame inside the box, with a thin dark edge so that it shows on any background."""
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = box
    pen.rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=line_px)
    inner = (left + line_px, top + line_px, right - 1 - line_px, bottom - 1 - line_px)
    pen.rectangle(inner, outline=INK, width=1)


def _font(size: int) -> Font:
    """Returns the scalable font that Pillow carries; no font of the system is needed."""
    return ImageFont.load_default(size)


def _write(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, size: int, width: int, ink: tuple[int, int, int]
) -> None:
    """Writes a line in the largest size, up to ``size``, that fits the width."""
    text = _plain(text)
    while size > 14 and _font(size).getlength(text) > width:
        size -= 2
    pen.text(corner, text, font=_font(size), fill=ink)


def _plain(text: str) -> str:
    """Returns text in the characters that the font has: letters without accents, others as question marks."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode()

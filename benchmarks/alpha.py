"""How well the outline of a cut-out is enlarged: by the network that draws alpha, and by the exact bicubic.

    python benchmarks/alpha.py [--height 72] [--width 96]

Shapes are drawn large, and covered area is alpha: shapes of all slants, a strip, a line and letters. Once LR has
half-transparent pixels, as a careful cut-out has, once none, as a GIF has. Printed is the error of the enlarged alpha,
root of the mean square in 255ths; the table is in docs/pictures.md.
"""

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import fourfold
from fourfold.imaging import imresize
from fourfold.upscaling.alpha import enlarged_alpha

SCALE, FINER = 4, 16


def main() -> None:
    """Prints the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=72)
    parser.add_argument("--width", type=int, default=96)
    options = parser.parse_args()
    upscaler = fourfold.load(precision="fp32")
    print(f"{'shape':>8}  {'in LR':>12}  {'bicubic':>8}  {'network':>8}")
    for name, draw in SHAPES.items():
        large = drawn(draw, options.height, options.width)
        true, small = reduced(large, FINER // SCALE), reduced(large, FINER)
        for edges, lr in (("half-opaque", small), ("0 and 255", np.where(small >= 128, 255, 0).astype(np.uint8))):
            bicubic = error(imresize(lr, SCALE), true)
            print(f"{name:>8}  {edges:>12}  {bicubic:8.2f}  {error(enlarged_alpha(lr, upscaler), true):8.2f}")


def drawn(draw: Any, height: int, width: int) -> Image.Image:
    """Returns a shape, sixteen times as large as LR."""
    picture = Image.new("L", (width * FINER, height * FINER))
    draw(ImageDraw.Draw(picture), width * FINER, height * FINER)
    return picture


def reduced(picture: Image.Image, factor: int) -> NDArray[np.uint8]:
    """Returns how much of each pixel is covered, of 255."""
    return np.asarray(picture.reduce(factor))


def error(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Returns the root of the mean square error."""
    return float(np.sqrt(np.mean((found.astype(float) - true) ** 2)))


SHAPES = {
    "ellipse": lambda d, w, h: d.ellipse((w // 9, h // 11, w * 8 // 9, h * 10 // 11), fill=255),
    "triangle": lambda d, w, h: d.polygon([(w // 9, h * 5 // 6), (w // 2, h // 8), (w * 7 // 8, h)], fill=255),
    "strip": lambda d, w, h: d.line((w // 9, h // 4, w * 8 // 9, h * 2 // 3), fill=255, width=4 * FINER),
    "line": lambda d, w, h: d.line((w // 9, h // 8, w * 8 // 9, h * 7 // 8), fill=255, width=FINER),
    "letters": lambda d, w, h: d.text((w // 9, h // 4), "Agape", fill=255, font=ImageFont.load_default(h / 2.5)),
}

if __name__ == "__main__":
    main()

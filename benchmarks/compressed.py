"""How networks enlarge pictures that were stored with losses, by the quality that they were stored at.

    python benchmarks/compressed.py FOLDER NAME|FILE [NAME|FILE ...] [--format jpg] [--qualities 98 95 90 75 50]
        [--niqe FILE] [--vgg FILE] [--part 384]

FOLDER holds originals. Of each, the middle is shrunk by the exact bicubic, stored as JPEG, WebP or AVIF with colour at
4:2:0, read, and restored in fp32 on every processor; the means over the pictures are printed. "none" is LR that was not
stored so. VGG54's distance is that of ``fourfold evaluate --vgg FILE --vgg-normalisation oxford``. The table is in
docs/pictures.md.
"""

import argparse
from pathlib import Path

import numpy as np
import pyvips

import fourfold
from fourfold.evaluation.metrics import psnr, ssim_daala
from fourfold.evaluation.niqe import load_pristine, niqe
from fourfold.evaluation.perceptual import vgg_distance
from fourfold.imaging import find_pictures, imresize, read_rgb

SCALE = 4

#: How libvips stores and reads a format.
FORMATS = {
    "jpg": ("jpegsave_buffer", {"subsample_mode": "on"}, pyvips.Image.jpegload_buffer),
    "webp": ("webpsave_buffer", {}, pyvips.Image.webpload_buffer),
    "avif": ("heifsave_buffer", {"compression": "av1", "subsample_mode": "on"}, pyvips.Image.heifload_buffer),
}


def main() -> None:
    """Prints a row for each quality and network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", help='"bicubic" is one, too')
    parser.add_argument("--format", choices=FORMATS, default="jpg")
    parser.add_argument("--qualities", type=int, nargs="+", default=[98, 95, 90, 75, 50])
    parser.add_argument("--niqe", type=Path, help="NIQE's parameters (.npz)")
    parser.add_argument("--vgg", type=Path, help="VGG19's weights")
    parser.add_argument("--part", type=int, default=384, help="side of the part that is taken, in pixels")
    options = parser.parse_args()
    measures = {"PSNR": psnr, "SSIM": ssim_daala}
    if options.niqe:
        pristine = load_pristine(options.niqe)
        measures["NIQE"] = lambda sr, hr: niqe(sr, pristine)
    if options.vgg:
        measures["VGG54"] = vgg_distance(options.vgg, "54", normalisation="oxford")
    originals = [middle(read_rgb(path), options.part) for path in find_pictures(options.folder)]
    small = [imresize(hr, 1 / SCALE) for hr in originals]
    enlarge = {m: bicubic if m == "bicubic" else fourfold.load(m, precision="fp32") for m in options.models}
    print(f"{options.format:>7}  {'':>24}  " + "  ".join(f"{title:>6}" for title in measures))
    for quality in [None, *options.qualities]:
        given = [lr if quality is None else stored(lr, options.format, quality) for lr in small]
        for model, upscaler in enlarge.items():
            pairs = [(upscaler(lr), hr) for lr, hr in zip(given, originals, strict=True)]
            means = {title: np.mean([measure(sr, hr) for sr, hr in pairs]) for title, measure in measures.items()}
            cells = "  ".join(
                f"{mean:6.2f}" if title in ("PSNR", "NIQE") else f"{mean:6.4f}" for title, mean in means.items()
            )
            print(f"{quality or 'none':>7}  {Path(model).name[-24:]:>24}  {cells}", flush=True)


def middle(picture: np.ndarray, side: int) -> np.ndarray:
    """Returns the middle of a picture, cut to multiples of the scale."""
    top, left = (max(0, size - side) // 2 for size in picture.shape[:2])
    part = picture[top : top + side, left : left + side]
    return np.ascontiguousarray(part[: len(part) // SCALE * SCALE, : part.shape[1] // SCALE * SCALE])


def stored(picture: np.ndarray, format: str, quality: int) -> np.ndarray:
    """Returns a picture, (H, W, 3) uint8, as a file of it shows it."""
    save, settings, read = FORMATS[format]
    data = getattr(pyvips.Image.new_from_array(picture, interpretation="srgb"), save)(Q=quality, **settings)
    return np.array(read(data).numpy()[:, :, :3])


def bicubic(lr: np.ndarray) -> np.ndarray:
    """Returns the bicubic enlargement."""
    return imresize(lr, SCALE)


if __name__ == "__main__":
    main()

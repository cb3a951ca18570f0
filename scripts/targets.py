"""Makes pictures to train on of what a model's self-ensemble restores: LR, and HR mixed with the ensemble's SR.

    python scripts/targets.py photos/ srresnet-mse -o targets/
    fourfold train srresnet-plus --data targets/hr --lr-data targets/lr --set loss.pixel_floor=2.5e-5

HR holds what no network can know from LR, and most of the gradient is noise of it; the ensemble's SR is nearer to HR
than the model's own, and can be known from LR (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
What is there already is left as it is, so that it can be stopped and gone on with.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import fourfold
from fourfold.durable import write_atomically
from fourfold.errors import FourfoldError, UsageError
from fourfold.imaging import Picture, encode_picture, find_pictures, imresize, read_rgb
from fourfold.upscaling.upscaler import Upscaler

#: Of the ensemble's SR in the targets; the rest is HR's, which keeps them honest where the ensemble is wrong.
SHARE = 0.85


def make_pair(source: Path, upscaler: Upscaler, share: float, hr: Path, lr: Path) -> None:
    """Writes one picture's target, (h, w, 3) uint8 of whole LR pixels, and its LR.

    Raises:
        PictureError: if it cannot be read.
    """
    original = read_rgb(source)
    height, width = (side // upscaler.scale * upscaler.scale for side in original.shape[:2])
    original = original[:height, :width]
    small = imresize(original, 1 / upscaler.scale)
    restored = upscaler(small.astype(np.float32) / 255.0) * 255.0
    mixed = np.rint(original + share * (restored - original)).astype(np.uint8)
    for path, pixels in ((lr, small), (hr, mixed)):  # HR last: where it is, its LR is
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode_picture(Picture(pixels), "png"))


def make_targets(folder: Path, upscaler: Upscaler, share: float, out: Path) -> int:
    """Writes the pairs of a folder's pictures under ``out/hr`` and ``out/lr``; returns how many could not be read."""
    failed = 0
    sources = find_pictures(folder, recursive=True)
    for number, source in enumerate(sources, 1):
        name = source.relative_to(folder)
        name = name.with_name(f"{name.name}.png")  # a.jpg and a.webp are two pictures
        if (out / "hr" / name).exists():
            continue
        try:
            make_pair(source, upscaler, share, out / "hr" / name, out / "lr" / name)
        except FourfoldError as error:
            failed += 1
            print(f"{source}: {error}", file=sys.stderr)
        print(f"\r{number} of {len(sources)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="HR pictures")
    parser.add_argument("model", help="a shipped name or a weights file")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=SHARE, help="the ensemble's share of the targets, 0 to 1")
    options = parser.parse_args()
    try:
        if not 0 <= options.share <= 1:
            raise UsageError(f"--share {options.share}: it must lie in 0..1")
        upscaler = fourfold.load(options.model, precision="fp32", ensemble=True)
        if make_targets(options.data, upscaler, options.share, options.out):
            sys.exit(1)
    except (FourfoldError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

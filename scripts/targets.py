"""Makes pictures to train on of what a model's self-ensemble restores: LR, and HR mixed with the ensemble's SR.

    python scripts/targets.py photos/ srresnet-mse -o targets/
    python scripts/targets.py photos/ srresnet-mse -o targets/ --shrink 0.5 1
    fourfold train srresnet-plus --data targets/hr --lr-data targets/lr --set loss.pixel_floor=2.5e-5 \
        --set data.shrink_share=0

HR holds what no network can know from LR, and most of the gradient is noise of it; the ensemble's SR is nearer to HR
than the model's own, and can be known from LR (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
The ensemble knows an answer to any LR, so pictures may be shown in more ways than they were taken: --shrink makes
targets of each picture shrunk by a random factor, which --seed chooses, beside those that are there.
What is there already is left as it is, so that it can be stopped and gone on with; OUT/targets.json says what it was
made with, and targets that are made otherwise go elsewhere.
"""

import argparse
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fourfold
from fourfold.durable import write_atomically
from fourfold.errors import FourfoldError, PictureError, UsageError
from fourfold.imaging import Picture, encode_picture, find_pictures, imresize
from fourfold.training.pictures import read_planes
from fourfold.upscaling.upscaler import Upscaler

#: Of the ensemble's SR in the targets; the rest is HR's, which keeps them honest where the ensemble is wrong.
SHARE = 0.85

#: Pictures are not shrunk to less than this: a crop of 128 px is to fit in anywhere.
LEAST_SIDE = 144

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Shrinking:
    """By how much pictures are shrunk before anything else.

    Attributes:
        least: the smallest factor.
        largest: the largest factor.
        seed: of the factors; part of the targets' names, so that those of several seeds lie side by side.
    """

    least: float
    largest: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.largest <= 1:
            raise UsageError(f"--shrink {self.least:g} {self.largest:g}: two factors in 0..1, the least one first")

    def __call__(self, picture: Pixels, name: Path, scale: int) -> Pixels:
        """Returns the picture shrunk by its factor, less some rows and columns: LR's cells fall anywhere, too."""
        chance = random.Random(f"{self.seed} {name.as_posix()}")
        factor = chance.uniform(self.least, self.largest)
        factor = min(1.0, max(factor, LEAST_SIDE / min(picture.shape[:2])))
        row, column = chance.randrange(scale), chance.randrange(scale)
        height, width = (round(factor * side) for side in picture.shape[:2])
        return imresize(picture, size=(height, width))[row:, column:]


def make_pair(original: Pixels, upscaler: Upscaler, share: float, hr: Path, lr: Path) -> None:
    """Writes one picture's target, (h, w, 3) uint8 of whole LR pixels, and its LR."""
    height, width = (side // upscaler.scale * upscaler.scale for side in original.shape[:2])
    if not (height and width):
        raise PictureError(f"{original.shape[1]}x{original.shape[0]} is smaller than one LR pixel")
    original = original[:height, :width]
    small = imresize(original, 1 / upscaler.scale)
    restored = upscaler(small.astype(np.float32) / 255.0) * 255.0
    mixed = np.rint(original + share * (restored - original)).astype(np.uint8)
    for path, pixels in ((lr, small), (hr, mixed)):  # HR last: where it is, its LR is
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode_picture(Picture(pixels), "png"))


def agree(out: Path, ending: str, settings: dict[str, object]) -> None:
    """Notes what targets of an ending are made with; refuses to mix them with targets that were made otherwise."""
    record = out / "targets.json"
    known = json.loads(record.read_bytes()) if record.exists() else {}
    for name, ours in settings.items():
        if ending in known and known[ending].get(name, ours) != ours:
            raise UsageError(
                f"{out} has targets *{ending} made with {name} {known[ending][name]}, not {ours}; name another "
                "folder, or another --seed"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(record, (json.dumps({**known, ending: settings}, indent=2) + "\n").encode())


def make_targets(folder: Path, upscaler: Upscaler, share: float, out: Path, shrinking: Shrinking | None = None) -> int:
    """Writes the pairs of a folder's pictures under ``out/hr`` and ``out/lr``; returns how many could not be read."""
    if out.resolve().is_relative_to(folder.resolve()):  # targets would be made of targets
        raise UsageError(f"{out} lies in {folder}; name a folder beside it")
    failed = 0
    sources = find_pictures(folder, recursive=True)
    ending = ".png" if shrinking is None else f".shrunk-{shrinking.seed}.png"
    shrink = None if shrinking is None else [shrinking.least, shrinking.largest]
    made = {"folder": str(folder.resolve()), "model": upscaler.weights.sha256, "share": share, "shrink": shrink}
    agree(out, ending, made)
    for number, source in enumerate(sources, 1):
        name = source.relative_to(folder)
        target = name.with_name(name.name + ending)  # a.jpg and a.webp are two pictures
        if (out / "hr" / target).exists():
            continue
        try:
            original = read_planes(source).transpose(1, 2, 0)
            if shrinking is not None:
                original = shrinking(original, name, upscaler.scale)
            make_pair(original, upscaler, share, out / "hr" / target, out / "lr" / target)
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
    parser.add_argument("--shrink", type=float, nargs=2, metavar=("LEAST", "LARGEST"), help="shrink pictures before")
    parser.add_argument("--seed", type=int, default=1, help="of --shrink's factors; another one makes other targets")
    options = parser.parse_args()
    try:
        if not 0 <= options.share <= 1:
            raise UsageError(f"--share {options.share}: it must lie in 0..1")
        shrinking = Shrinking(*options.shrink, options.seed) if options.shrink else None
        upscaler = fourfold.load(options.model, precision="fp32", ensemble=True)
        if make_targets(options.data, upscaler, options.share, options.out, shrinking):
            sys.exit(1)
    except (FourfoldError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

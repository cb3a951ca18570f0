"""What networks draw where the original is flat: dots beside edges, echoes around letters, grain on the sky.

    python benchmarks/flat.py FOLDER NAME|FILE [NAME|FILE ...]

FOLDER holds originals. Each is shrunk by the exact bicubic and restored, in fp32 on every processor; printed are the
root mean squares of the error in 255ths, each pixel weighted by how flat the original is around it, as ``loss.flat``
has it: anywhere, and within seven pixels of an edge, where the original rises by 40 of 255 and more.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

import fourfold
from fourfold.imaging import find_pictures, imresize, read_rgb, to_integers, to_unit
from fourfold.networks import luma
from fourfold.training.losses import flat_weight

NEAR_PX = 7
EDGE = 40 / 255


def main() -> None:
    """Prints a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    originals = [to_integers(to_unit(read_rgb(path))) for path in find_pictures(options.folder)]
    pictures = [hr[: len(hr) // 4 * 4, : hr.shape[1] // 4 * 4] for hr in originals]
    weights = [weights_of(hr) for hr in pictures]
    print(f"{'error in 255ths':>24}  {'flat':>8}  {'flat beside edges':>17}")
    for model in options.models:
        upscaler = fourfold.load(model, precision="fp32")
        errors = [(upscaler(imresize(hr, 1 / 4)).astype(float) - hr) ** 2 for hr in pictures]
        squares = np.array([[(w * e.mean(axis=2)).sum() for w in ws] for ws, e in zip(weights, errors, strict=True)])
        total = np.array([[w.sum() for w in ws] for ws in weights])
        flat, beside = np.sqrt(squares.sum(axis=0) / total.sum(axis=0))
        print(f"{Path(model).name[-24:]:>24}  {flat:8.2f}  {beside:17.2f}", flush=True)


def weights_of(hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each pixel's weight as flat ground, and as flat ground beside an edge."""
    picture = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None].float() / 255
    flat = flat_weight(picture)
    y = luma(picture)
    highest, lowest = (functional.max_pool2d(s * y, 2 * NEAR_PX + 1, 1, NEAR_PX) for s in (1, -1))
    beside = flat * (highest + lowest > EDGE)
    return flat[0, 0].numpy(), beside[0, 0].numpy()


if __name__ == "__main__":
    main()

"""What VGG19's layers see of fine waves, and what they see of them enlarged; see docs/training.md.

    python benchmarks/vgg_waves.py FOLDER --vgg FILE [--vgg-normalisation oxford] [--layer 22] [--zoom 1.5 2]

FOLDER holds originals, of which the middle is taken, shrunk by the exact bicubic, and restored by srresnet-mse. A faint
wave is added to what was restored: by how much does the distance of VGG19's features to the original grow? Where it
falls, a network that follows these features alone draws the wave.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

import fourfold
from fourfold.evaluation.sets import Entry, read_pair
from fourfold.imaging import find_pictures
from fourfold.networks import load_vgg19
from fourfold.training.losses import vgg_loss
from fourfold.weights import FAITHFUL

SIDE = 128
LOOKS = 3  # at random parts and factors
ACROSS = (0.0, 0.1, 0.2)
ALONG = (0.05, 0.1, 0.2, 0.3, 0.4, 0.44, 0.48)


def main() -> None:
    """Prints the tables: waves per pixel along and across, and the growth of the distance in per cent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vgg", type=Path, required=True)
    parser.add_argument("--vgg-normalisation", default="oxford")
    parser.add_argument("--layer", default="22")
    parser.add_argument("--zoom", type=float, nargs=2, default=(1.5, 2.0), metavar=("LEAST", "LARGEST"))
    parser.add_argument("--amplitude", type=float, default=3.0, help="of the wave, in 255ths")
    options = parser.parse_args()
    features = load_vgg19(options.vgg, options.layer, options.vgg_normalisation)
    sr, hr = _middles(options.folder)
    axis = torch.arange(float(sr.shape[-1]))

    def distance(pictures: torch.Tensor, zoom: tuple[float, float]) -> float:
        torch.manual_seed(0)  # the same looks for every wave
        looks = LOOKS if zoom[1] > 1 else 1
        with torch.no_grad():
            return float(np.mean([vgg_loss(pictures, hr, features, 1.0, 0, zoom).item() for _ in range(looks)]))

    for zoom in ((1.0, 1.0), tuple(options.zoom)):
        plain = distance(sr, zoom)
        seen = f"enlarged {zoom[0]:g} to {zoom[1]:g} times" if zoom[1] > 1 else "as they are"
        print(f"VGG{options.layer}, pictures {seen}")
        print("across \\ along" + "".join(f"{along:8.2f}" for along in ALONG))
        for across in ACROSS:
            growths = []
            for along in ALONG:
                phase = 2 * math.pi * (along * axis[None, :] + across * axis[:, None])
                wave = options.amplitude / 255 * torch.sin(phase + 0.7)
                growths.append(100 * (distance(sr + wave, zoom) / plain - 1))
            print(f"{across:14.2f}" + "".join(f"{growth:+7.1f}%" for growth in growths), flush=True)


def _middles(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the middles of restored pictures and of their originals, (N, 3, SIDE, SIDE) in 0..1."""
    upscaler = fourfold.load(FAITHFUL)
    restored, originals = [], []
    for path in find_pictures(folder):
        pair = read_pair(Entry(path.name, path.stem, path, None))
        top, left = ((size - SIDE) // 2 for size in pair.hr.shape[:2])
        if min(top, left) < 0:
            continue
        for pictures, picture in ((restored, upscaler(pair.lr)), (originals, pair.hr)):
            pictures.append(picture[top : top + SIDE, left : left + SIDE, :3] / 255.0)
    if not originals:
        raise SystemExit(f"{folder}: no pictures of {SIDE}x{SIDE} and more")
    sr, hr = (torch.tensor(np.stack(x), dtype=torch.float32).permute(0, 3, 1, 2) for x in (restored, originals))
    return sr, hr


if __name__ == "__main__":
    main()

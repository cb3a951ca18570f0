"""Fine waves: what VGG19's layers see of them, and what networks draw of them; see docs/training.md.

    python benchmarks/waves.py FOLDER --vgg FILE [--vgg-normalisation oxford] [--layer 22] [--zoom 1.5 2]
    python benchmarks/waves.py FOLDER --drawn NAME|FILE ...

FOLDER holds originals, of which the middle is taken, shrunk by the exact bicubic, and restored by srresnet-mse.

--vgg adds a faint wave to what was restored: by how much does the distance of VGG19's features to the original grow?
Where it falls, a network that follows these features alone draws the wave.

--drawn tells how far a network's result differs from srresnet-mse's around the wave of less than 2.7 px at which it
differs most: the mean square, in 255ths squared, of 4 x 4 of the 64 x 64 frequencies.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

import fourfold
from fourfold.evaluation.benchmark import Pixels
from fourfold.imaging import find_pictures, imresize, read_rgb, to_integers, to_unit
from fourfold.networks import load_vgg19
from fourfold.training.losses import vgg_loss

BASE = "srresnet-mse"
SIDE = 192
WINDOW = 64
LOOKS = 3  # at random parts and factors
ACROSS = (0.0, 0.1, 0.2)
ALONG = (0.05, 0.1, 0.2, 0.3, 0.4, 0.44, 0.48)


def main() -> None:
    """Prints what is seen, by waves per pixel along and across, in per cent of the distance; or what is drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--vgg", type=Path)
    asked.add_argument("--drawn", nargs="+")
    parser.add_argument("--vgg-normalisation", default="oxford")
    parser.add_argument("--layer", default="22")
    parser.add_argument("--zoom", type=float, nargs=2, default=(1.5, 2.0), metavar=("LEAST", "LARGEST"))
    parser.add_argument("--amplitude", type=float, default=3.0, help="of the wave, in 255ths")
    options = parser.parse_args()
    pairs = _middles(options.folder)
    if options.drawn:
        _print_drawn(pairs, options.drawn)
    else:
        _print_seen(pairs, options)


def _print_seen(pairs: list[tuple[Pixels, Pixels]], options: argparse.Namespace) -> None:
    features = load_vgg19(options.vgg, options.layer, options.vgg_normalisation)
    upscaler = fourfold.load(BASE)
    sr, hr = (
        torch.tensor(np.stack(pictures) / 255, dtype=torch.float32).permute(0, 3, 1, 2)
        for pictures in ([upscaler(lr) for lr, _ in pairs], [hr for _, hr in pairs])
    )
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


def _print_drawn(pairs: list[tuple[Pixels, Pixels]], models: list[str]) -> None:
    faithful = fourfold.load(BASE)
    around = np.abs(np.fft.fftshift(np.fft.fftfreq(WINDOW))).reshape(-1, 4).mean(axis=1)
    fine = np.maximum(around[:, None], around[None, :]) > 1 / 2.7
    hann = np.outer(np.hanning(WINDOW), np.hanning(WINDOW))
    for model in models:
        upscaler = fourfold.load(model)
        powers = []
        for lr, _ in pairs:
            difference = (upscaler(lr).astype(float) - faithful(lr)) @ (0.299, 0.587, 0.114)
            for top in range(0, SIDE - WINDOW + 1, WINDOW // 2):
                for left in range(0, SIDE - WINDOW + 1, WINDOW // 2):
                    window = difference[top : top + WINDOW, left : left + WINDOW]
                    powers.append(np.abs(np.fft.fft2((window - window.mean()) * hann)) ** 2)
        power = np.fft.fftshift(np.mean(powers, axis=0)) / (hann**2).sum() / WINDOW**2
        blocks = power.reshape(WINDOW // 4, 4, WINDOW // 4, 4).sum(axis=(1, 3))
        print(f"{Path(model).stem:20} {blocks[fine].max():6.3f}", flush=True)


def _middles(folder: Path) -> list[tuple[Pixels, Pixels]]:
    """Returns LR and HR of the middles of a folder's originals, HR of SIDE x SIDE."""
    pairs = []
    for path in find_pictures(folder):
        hr = to_integers(to_unit(read_rgb(path)))
        top, left = ((size - SIDE) // 2 for size in hr.shape[:2])
        if min(top, left) >= 0:
            hr = hr[top : top + SIDE, left : left + SIDE]
            pairs.append((imresize(hr, 0.25), hr))
    if not pairs:
        raise SystemExit(f"{folder}: no pictures of {SIDE}x{SIDE} and more")
    return pairs


if __name__ == "__main__":
    main()

"""What lies between two networks: the fidelity dial in numbers; see docs/fidelity.md.

    python benchmarks/fidelity.py FOLDER [--model NAME|FILE] [--faithful NAME|FILE] [--steps 5] [--niqe FILE]

FOLDER holds originals. Each is shrunk by the exact bicubic and restored at every fidelity, in fp32 on every processor;
the means are printed.
"""

import argparse
from pathlib import Path

import numpy as np

import fourfold
from fourfold.evaluation.benchmark import measure
from fourfold.evaluation.niqe import load_pristine
from fourfold.evaluation.sets import Entry, read_pair
from fourfold.imaging import find_pictures
from fourfold.weights import default_name

COLUMNS = {"psnr_y": "PSNR", "ssim_daala": "SSIM", "niqe": "NIQE", "lr_psnr": "back to LR", "colour_drift": "drift"}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=default_name())
    parser.add_argument("--faithful")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--niqe", type=Path, help="NIQE's parameters (.npz)")
    options = parser.parse_args()
    pristine = load_pristine(options.niqe) if options.niqe else None
    pairs = [read_pair(Entry(path.name, path.stem, path, None)) for path in find_pictures(options.folder)]
    print("fidelity  " + "  ".join(f"{title:>10}" for title in COLUMNS.values()))
    for fidelity in np.linspace(0, 1, options.steps):
        upscaler = fourfold.load(options.model, fidelity=float(fidelity), faithful=options.faithful, precision="fp32")
        rows = [measure(upscaler(pair.lr), pair.hr, pair.lr, pristine=pristine) for pair in pairs]
        columns = [[row.get(name) for row in rows] for name in COLUMNS]  # a mean is over all pictures, or there is none
        cells = (f"{'-':>10}" if None in values else f"{np.mean(values):10.4g}" for values in columns)
        print(f"{fidelity:8.2f}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()

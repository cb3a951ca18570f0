"""How often a picture that was a JPEG is recognised by its pixels, and one that was not is taken for one.

    python benchmarks/jpeg_traces.py FOLDER [FOLDER ...] [--qualities 98 95 90 75 50 30] [--factors 2 4] [--sides 64 96]

The pictures are shrunk by the exact bicubic first, by each factor, which wipes out what their files may have been; from
the smallest, parts of such sides are cut, too, at the top left. Each is then stored as JPEG with colour at 4:2:0 and
read again. Printed is the share that :func:`fourfold.imaging.jpeg_traces.was_jpeg` says yes to. The table is in
docs/pictures.md.
"""

import argparse
from pathlib import Path

import numpy as np

from fourfold.imaging import find_pictures, imresize, read_rgb
from fourfold.imaging.jpeg_traces import was_jpeg
from fourfold.training.jpeg import round_trip


def main() -> None:
    """Prints a row for each size and a column for each quality."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--qualities", type=int, nargs="+", default=[98, 95, 90, 75, 50, 30])
    parser.add_argument("--factors", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 96])
    options = parser.parse_args()
    paths = [path for folder in options.folders for path in find_pictures(folder, recursive=True)]
    most = max(options.factors)
    print(f"{len(paths)} pictures{'never':>12}" + "".join(f"{quality:>8}" for quality in options.qualities))
    sizes: dict[str, list[np.ndarray]] = {f"1/{factor}": [] for factor in options.factors}
    sizes |= {f"{side} px": [] for side in options.sides}
    for path in paths:
        picture = read_rgb(path)
        for factor in options.factors:
            height, width = (side // factor * factor for side in picture.shape[:2])
            small = imresize(picture[:height, :width], 1 / factor)
            sizes[f"1/{factor}"].append(small)
            if factor == most:
                for side in options.sides:
                    sizes[f"{side} px"].append(np.ascontiguousarray(small[:side, :side]))
    for size, pictures in sizes.items():
        shares = [np.mean([was_jpeg(p) for p in pictures])]
        shares += [np.mean([was_jpeg(round_trip(p, quality)) for p in pictures]) for quality in options.qualities]
        print(f"{size:>12}" + "".join(f"{share:>8.1%}" for share in shares), flush=True)


if __name__ == "__main__":
    main()

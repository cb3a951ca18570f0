"""How far the edge of a tile is felt: the worst difference to the whole picture, by the halo that is cut off.

    python benchmarks/halo.py FOLDER [NAME|FILE ...] [--precision fp32] [--parts 8]

FOLDER holds photographs. Parts of them, evenly spread, are restored once as they are and once without their upper and
left edge; what lies at least a halo inside that cut is compared. Printed is the largest difference of any value, in
255ths; without names, of each shipped network. The table is in docs/speed.md.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourfold.imaging import find_pictures, read_rgb
from fourfold.upscaling import create, folded, luma
from fourfold.weights import load_weights, shipped_names

HALOS = (0, 8, 12, 16, 20, 24, 28, 32, 36, 40)
#: Pixels that are cut off, and that are compared beyond the largest halo.
CUT_PX, KEPT_PX = 20, 12
SIDE_PX = CUT_PX + max(HALOS) + KEPT_PX


def main() -> None:
    """Prints a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--parts", type=int, default=8, help="of each picture")
    options = parser.parse_args()
    parts = [part for path in find_pictures(options.folder) for part in spread(unit(path), options.parts)]
    print(f"{len(parts)} parts; halo " + "  ".join(f"{halo:>7}" for halo in HALOS))
    for model in options.models or shipped_names():
        graph = folded(load_weights(model))
        engine = create(graph, "openvino", options.precision)
        worst = np.zeros(len(HALOS))
        for part in parts:
            whole = luma.run(engine, graph, part).clip(0, 1)[graph.scale * CUT_PX :, graph.scale * CUT_PX :]
            felt = np.abs(whole - luma.run(engine, graph, np.ascontiguousarray(part[CUT_PX:, CUT_PX:])).clip(0, 1))
            inside = [felt[graph.scale * halo :, graph.scale * halo :].max() for halo in HALOS]
            worst = np.maximum(worst, 255 * np.array(inside))
        print(f"{Path(model).name[-20:]:>20}  " + "  ".join(f"{value:7.4f}" for value in worst), flush=True)


def unit(path: Path) -> NDArray[np.float32]:
    """Returns a photograph, (H, W, 3) in 0..1."""
    return np.asarray(read_rgb(path) / np.float32(255), dtype=np.float32)


def spread(picture: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
    """Returns about so many square parts of a picture, evenly spread."""
    each = max(1, round(count**0.5))
    rows, columns = (
        np.linspace(0, max(0, side - SIDE_PX), each).astype(int) for side in (picture.shape[0], picture.shape[1])
    )
    found = (picture[top : top + SIDE_PX, left : left + SIDE_PX] for top, left in product(rows, columns))
    return [np.ascontiguousarray(part) for part in found if min(part.shape[:2]) > CUT_PX + max(HALOS)]


if __name__ == "__main__":
    main()

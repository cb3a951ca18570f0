"""Writes the mean of networks of one shape, which were trained from the same beginning: often better than each.

    python scripts/mean.py srresnet-plus srresnet-mse runs/plus/best.safetensors -o mean.safetensors

Everything but the tensors comes from the first one. Such networks lie in one valley, and their mean is nearer to its
bottom than what noise in training leaves each of them at (Izmailov et al., "Averaging Weights Leads to Wider Optima
and Better Generalization", UAI 2018; Wortsman et al., "Model soups", ICML 2022). Networks that did not begin together
have no such mean; validate it before use.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from fourfold.errors import FourfoldError, WeightsError
from fourfold.weights import WeightsFile, load_weights, write_weights


def mean(files: list[WeightsFile], target: Path) -> None:
    """Writes the mean of the files' networks.

    Raises:
        WeightsError: if they are not of one architecture and shape.
    """
    first = files[0]
    for other in files[1:]:
        ours, theirs = ((f.config.architecture, f.config.parameters) for f in (first, other))
        if ours != theirs:
            raise WeightsError(f"{other.path} is {theirs}, and {first.path} is {ours}; only networks alike have a mean")
    tensors = {
        name: np.mean([np.asarray(file.tensors[name], np.float64) for file in files], axis=0).astype(np.float32)
        for name in first.tensors
    }
    write_weights(target, first.config, tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="shipped names or weights files")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        mean([load_weights(model) for model in options.models], options.out)
    except FourfoldError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

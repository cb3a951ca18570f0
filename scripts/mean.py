"""Writes the mean of networks of one shape, which were trained from the same beginning: often better than each.

    python scripts/mean.py srresnet-plus srresnet-mse runs/plus/best.safetensors -o mean.safetensors

Such networks lie in one valley, and their mean is nearer to its
bottom than what noise in training leaves each of them at (Izmailov et al., "Averaging Weights Leads to Wider Optima
and Better Generalization", UAI 2018; Wortsman et al., "Model soups", ICML 2022). Networks that did not begin together
have no such mean; validate it before use.
"""

import argparse
import sys
from pathlib import Path

from fourfold.errors import FourfoldError
from fourfold.upscaling.interpolation import interpolate, mixed_config
from fourfold.weights import WeightsFile, load_weights, write_weights


def mean(files: list[WeightsFile], target: Path) -> None:
    """Writes the mean of the files' networks; its header says what all were trained on, and has no scores.

    Raises:
        UsageError: if they are not of one architecture and shape.
    """
    whole = files[0]
    for count, file in enumerate(files[1:], 2):
        whole = interpolate(whole, file, 1 / count, corrected=False)
    names = ", ".join(file.config.name for file in files)
    write_weights(target, mixed_config(files, f"mean of {names}"), whole.tensors)


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

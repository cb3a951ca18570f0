"""Stores the discriminator of a run in the package, so that others can go on from the weights that it helped to train.

    python scripts/publish_discriminator.py runs/srgan-plus-001 srgan-plus

Takes the newest checkpoint's, as float16; the name and the licence are those of the shipped model.
"""

import argparse
import sys
from pathlib import Path

from fourfold.errors import FourfoldError
from fourfold.training.discriminator_file import SHIPPED_DISCRIMINATORS, load_discriminator, write_discriminator
from fourfold.weights import locate, read_config, shipped_names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("name", choices=shipped_names(), metavar="NAME", help="of the shipped model")
    options = parser.parse_args()
    try:
        about = {"of": options.name, "licence": read_config(locate(options.name)).licence}
        SHIPPED_DISCRIMINATORS.mkdir(exist_ok=True)
        path = SHIPPED_DISCRIMINATORS / f"{options.name}.safetensors"
        print(write_discriminator(path, load_discriminator(str(options.run)), about))
    except (FourfoldError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

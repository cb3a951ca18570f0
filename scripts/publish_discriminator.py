"""Stores the discriminator of a run in the package, so that others can go on from the weights that it helped to train.

    python scripts/publish_discriminator.py runs/srgan-plus-001 srgan-plus

Takes the newest checkpoint's, as float16; the name is that of the shipped model.
"""

import argparse
import sys
from pathlib import Path

from fourfold.errors import FourfoldError
from fourfold.training.discriminator_file import SHIPPED_DISCRIMINATORS, load_discriminator, write_discriminator
from fourfold.weights import read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("name", help="of the model")
    options = parser.parse_args()
    try:
        config = read_config(options.run / "latest.safetensors")
        about = {"of": options.name, "updates": config.updates, "licence": "Apache-2.0"}
        SHIPPED_DISCRIMINATORS.mkdir(exist_ok=True)
        path = SHIPPED_DISCRIMINATORS / f"{options.name}.safetensors"
        print(write_discriminator(path, load_discriminator(str(options.run)), about))
    except FourfoldError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Keeps colours on the fidelity dial: measures the tint half way to the faithful network, and notes what takes it away.

    python scripts/dial.py srgan-plus --data photos/
    python scripts/dial.py mine.safetensors --faithful my-srresnet.safetensors --data photos/

What lies half way between two networks has a tint that neither of them has, because the blocks' slopes and products are
not linear in the weights. It is nearly the same matrix on colours in all pictures: it is measured on LR of those in
``--data``, and stored in the header of the photo-realistic network's file, which is written anew, its numbers as they
are. It holds for that faithful network alone: when that one is trained further, run this again. See docs/fidelity.md.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import fourfold
from fourfold.durable import write_atomically
from fourfold.errors import FourfoldError, UsageError
from fourfold.training.centring import Picture, colour_correction, middles
from fourfold.training.jpeg import USUAL_QUALITY, round_trip
from fourfold.upscaling import interpolate
from fourfold.upscaling.engines import PRECISIONS
from fourfold.upscaling.upscaler import resolve
from fourfold.weights import WeightsFile, load_weights, write_weights


def measure(realistic: WeightsFile, faithful: WeightsFile, pictures: list[Picture]) -> dict[str, object]:
    """Returns the header's ``dial``: the correction of colours half way, the mean of both precisions.

    Raises:
        UsageError: if the two are one network, or do not fit together.
    """
    if realistic.tensors_sha256 == faithful.tensors_sha256:
        raise UsageError(f"{realistic.path} and {faithful.path} are the same network: nothing lies between")
    between = interpolate(realistic, faithful, 0.5, corrected=False)
    stored = bool(realistic.config.recipe.get("data", {}).get("jpeg_share"))
    found = []
    for precision in PRECISIONS:
        upscaler = fourfold.Upscaler(between, precision=precision)

        def restore(lr: Picture, upscaler: fourfold.Upscaler = upscaler) -> Picture:
            return upscaler(round_trip(lr, USUAL_QUALITY) if stored else lr)

        matrix, offset = colour_correction(restore, pictures, upscaler.scale)
        print(f"in {precision}: matrix", matrix.round(4).tolist(), "offset, 255ths", (offset * 255).round(2).tolist())
        found.append(np.column_stack([matrix, offset]))
    mean = np.mean(found, axis=0).round(6)
    return {"faithful": faithful.tensors_sha256, "matrix": mean[:, :3].tolist(), "offset": mean[:, 3].tolist()}


def store(weights: WeightsFile, dial: dict[str, object]) -> None:
    """Writes the file anew with another ``dial``; its numbers stay, and so does its model card but for the hash."""
    trained = {name: tensor for name, tensor in weights.tensors.items() if ".running_" not in name}
    half = all((tensor.astype(np.float16).astype(np.float32) == tensor).all() for tensor in trained.values())
    write_weights(weights.path, replace(weights.config, dial=dial), weights.tensors, half=half)
    card = weights.path.with_suffix(".md")
    if card.is_file():
        now = load_weights(weights.path).sha256
        write_atomically(card, card.read_text(encoding="utf-8").replace(weights.sha256, now).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the photo-realistic end, a shipped name or a weights file; it is written anew")
    parser.add_argument("--faithful", help="the faithful end, if it is not the shipped one that the model began from")
    parser.add_argument("--data", type=Path, required=True, help="the folder of training pictures")
    options = parser.parse_args()
    try:
        _, (weights, faithful) = resolve(options.model, fidelity=0.5, faithful=options.faithful)
        store(weights, measure(weights, faithful, middles(options.data)))
    except (FourfoldError, OSError) as error:
        sys.exit(f"error: {error}")
    print(weights.path)


if __name__ == "__main__":
    main()

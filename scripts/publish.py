"""Publishes the weights of a run: scores them, stores them as float16 in the package, writes the model card.

    python scripts/publish.py runs/srresnet-mse-001/best.safetensors srresnet-mse --data DIR --notes notes.toml

``notes.toml`` holds what no program can know: ``what``, ``limits``, ``data``, ``data_licence``, ``licence`` and,
if the header is not enough, ``device`` and ``init``. ``--data`` is the folder that holds ``bench/`` and ``valid/``.
With ``--niqe FILE``, the parameters of pristine pictures, NIQE is among the scores. With ``--centre FOLDER``, the
training pictures, the constant colour cast that the network has on them is taken out of its last bias. Then run
``scripts/dial.py`` for the networks between it and its other end.
"""

import argparse
import dataclasses
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np

import fourfold
from fourfold.durable import write_atomically
from fourfold.errors import FourfoldError
from fourfold.evaluation.benchmark import measure
from fourfold.evaluation.niqe import PristineModel, load_pristine
from fourfold.imaging import find_pictures, imresize, read_rgb
from fourfold.training.centring import centred, colour_cast, middles
from fourfold.training.jpeg import USUAL_QUALITY, round_trip
from fourfold.upscaling.engines import PRECISIONS
from fourfold.weights import WeightsFile, read_weights, render_card, write_weights
from fourfold.weights.cards import STORED
from fourfold.weights.catalogue import SHIPPED

SETS = {"valid": "valid", "Set5": "bench/Set5", "Set14": "bench/Set14", "BSD100": "bench/BSD100"}


def centre(trained: WeightsFile, folder: Path) -> WeightsFile:
    """Returns the weights without their colour cast, as measured in both precisions."""
    pictures, casts = middles(folder), []
    for precision in PRECISIONS:
        upscaler = fourfold.load(trained.path, precision=precision)
        casts.append(colour_cast(upscaler, pictures, upscaler.scale))
        print(f"colour cast in {precision}, 255ths:", (casts[-1] * 255).round(3))
    return dataclasses.replace(trained, tensors=centred(trained, np.mean(casts, axis=0)))


def score(weights: Path, folder: Path, pristine: PristineModel | None, quality: int | None = None) -> dict[str, float]:
    """Returns the means over a folder of originals, of the measures that every picture has.

    Args:
        weights: the weights file.
        folder: the originals.
        pristine: for NIQE.
        quality: LR is stored as JPEG at it before it is restored; "back to LR" is to what it was before.
    """
    upscaler = fourfold.load(weights, precision="fp32")
    rows = []
    for path in find_pictures(folder):
        hr = read_rgb(path)
        hr = hr[: hr.shape[0] // upscaler.scale * upscaler.scale, : hr.shape[1] // upscaler.scale * upscaler.scale]
        lr = imresize(hr, 1 / upscaler.scale)
        stored = lr if quality is None else round_trip(lr, quality)
        rows.append(measure(upscaler(stored), hr, lr, pristine=pristine))
    whole = {name: [value for row in rows if (value := row[name]) is not None] for name in rows[0]}
    return {name: round(float(np.mean(v)), 5) for name, v in whole.items() if len(v) == len(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--niqe", type=Path, help="NIQE's parameters (.npz)")
    parser.add_argument("--centre", type=Path, help="training pictures to take the colour cast out on")
    parser.add_argument("--notes", type=Path, required=True)
    options = parser.parse_args()
    notes = tomllib.loads(options.notes.read_text(encoding="utf-8"))
    what, limits = notes["what"], notes["limits"]
    trained = read_weights(options.weights)
    if options.centre:
        trained = centre(trained, options.centre)
    told = {key: notes[key] for key in ("data", "data_licence", "licence", "device") if key in notes}
    recipe = trained.config.recipe | ({"init": notes["init"]} if "init" in notes else {})
    config = dataclasses.replace(trained.config, name=options.name, recipe=recipe, **told)
    pristine = load_pristine(options.niqe) if options.niqe else None
    SHIPPED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # what is scored is what is shipped: the float16 file, not the float32 one that it came from
        half = write_weights(Path(scratch) / "half.safetensors", config, trained.tensors, half=True)
        scores = {name: score(half, options.data / folder, pristine) for name, folder in SETS.items()}
        if recipe.get("data", {}).get("jpeg_share"):
            for name, folder in SETS.items():
                scores[f"{name}, {STORED}"] = score(half, options.data / folder, pristine, USUAL_QUALITY)
    for name, values in scores.items():
        print(name, values)
    target = SHIPPED / f"{options.name}.safetensors"
    write_weights(target, dataclasses.replace(config, scores=scores), trained.tensors, half=True)
    card = render_card(read_weights(target), what=what, limits=limits)
    write_atomically(target.with_suffix(".md"), card.encode())
    print(f"{target} {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    try:
        main()
    except (FourfoldError, OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"error: {error}")

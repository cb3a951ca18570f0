"""How soon SRResNet-MSE learns from scratch with Adam and with SOAP, on the same crops.

    python benchmarks/optimisers.py --data DIR --valid DIR [--updates 1000] [--rates adam=1e-4,adam=5e-4,soap=1e-3]

Printed: PSNR on the validation pictures on the way, of the weights' average, and updates per second of the whole run,
validation included.
Each run falls to a learning rate of zero along a cosine; 8 crops of 96x96. Several cores at once, each with one run:
start it several times with ``taskset`` and different ``--rates``.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fourfold.errors import FourfoldError
from fourfold.training import DataSource, load_recipe, run_training

BETAS = {"adam": (0.9, 0.999), "soap": (0.95, 0.95)}


def rates(asked: str) -> list[tuple[str, float]]:
    """Returns optimisers and learning rates from words such as "adam=1e-4,soap=1e-3"."""
    found = []
    for one in asked.split(","):
        kind, _, rate = one.partition("=")
        try:
            found.append((kind, float(rate)))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{one!r} is not OPTIMISER=RATE") from None
        if kind not in BETAS:
            raise argparse.ArgumentTypeError(f"{kind!r} is not one of {', '.join(BETAS)}")
    return found


def settings(kind: str, rate: float, updates: int) -> list[str]:
    betas = BETAS[kind]
    return [
        f"optimiser.kind={kind}", f"optimiser.learning_rate={rate}",
        f"optimiser.beta1={betas[0]}", f"optimiser.beta2={betas[1]}",
        f"run.updates={updates}", f"run.validate_every={max(updates // 4, 1)}",
        "run.checkpoint_every=1000000", "run.gradients_every=0", "run.ema=0.99",
        "data.batch=8", "schedule.kind=cosine", "schedule.warmup_updates=50",
    ]  # fmt: skip


def scores(kind: str, rate: float, updates: int, data: Path, valid: Path) -> tuple[dict[int, float], float]:
    """Returns PSNR in dB by update, and updates per second."""
    found: dict[int, float] = {}

    def listen(event: str, values: dict[str, Any]) -> None:
        if event == "validation":
            found[values["update"]] = values["psnr_y"]

    recipe = load_recipe("srresnet-mse", settings=settings(kind, rate, updates))
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run_training(recipe, DataSource([data]), folder=Path(folder) / "run", valid=valid, listener=listen)
        return found, updates / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--rates", type=rates, default="adam=1e-4,adam=5e-4,soap=1e-3")
    asked = parser.parse_args()
    for kind, rate in asked.rates:
        try:
            found, speed = scores(kind, rate, asked.updates, asked.data, asked.valid)
        except FourfoldError as error:
            sys.exit(f"error: {error}")
        row = " | ".join(f"{psnr:.2f}" for psnr in found.values())
        print(f"{kind} {rate} | {row} | {speed:.2f} updates/s (at {', '.join(map(str, found))})", flush=True)


if __name__ == "__main__":
    main()

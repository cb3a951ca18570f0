"""Started by torchrun: a tiny run on every process, of which the second dies once in the middle."""

import os
import sys
from pathlib import Path

import torch

from fourfold.training import DataSource, run_training
from fourfold.training.stage import ContentStage
from tests.training.conftest import tiny_recipe


def main(pictures: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    settings = ["run.updates=6", "run.checkpoint_every=2", "run.log_every=1", "run.gradients_every=3", "data.workers=1"]
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and os.environ["RANK"] == "1":
        original, calls = ContentStage._generator_step, iter(range(1, 100))

        def dying(self: ContentStage, *args: object) -> dict[str, torch.Tensor]:
            if next(calls) == 4:
                os.abort()
            return original(self, *args)  # type: ignore[arg-type]

        ContentStage._generator_step = dying  # type: ignore[method-assign, assignment]
    run_training(tiny_recipe("srgan-mse", *settings), DataSource([pictures]), folder=folder, device="cpu")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

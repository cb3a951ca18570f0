"""Updates per second of Fourfold's training loop and of the plain loop that people write, in one run.

The plain loop: a DataLoader that opens, crops and shrinks a picture per sample with Pillow in worker processes;
torch's own layers, contiguous, float32, eager; a plain Adam. Ours: what ``fourfold train`` does on this device.
Both train the same networks on the same mini-batches' sizes, with the same terms of the loss. The plain loop has the
paper's terms alone (pixel MSE, VGG, adversary, total variation); a variant with others is refused, since its numbers
would not compare::

    python benchmarks/training.py --data DIR [--vgg FILE] [--variants srresnet-mse,srgan-vgg54] [--updates 12]

Printed: updates/s of both, the ratio, and the share of the device's peak that ours uses: floating-point operations
of one update, counted by torch, over those of a large matrix product, measured in the same run and precision.

On a processor that is busy with other work, ``--clock processor`` counts processor seconds, divided by the number of
threads, instead of the clock on the wall; the plain loop then loads its pictures in the same process.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from fourfold.errors import FourfoldError
from fourfold.imaging import find_pictures
from fourfold.networks import Discriminator, VGG19Features, load_vgg19
from fourfold.networks.vgg19_weights import stated_normalisation
from fourfold.training import DataSource, load_recipe, make_fabric, settled
from fourfold.training.batches import Batches
from fourfold.training.data import open_bank
from fourfold.training.degradation import Degradation
from fourfold.training.estimate import compute_dtype, wait
from fourfold.training.graph import GraphedStage
from fourfold.training.recipe import DataSettings, DiscriminatorSettings, LossSettings, NetworkSettings, Recipe
from fourfold.training.sampler import CropSampler
from fourfold.training.stage import can_capture, make_stage

Step = Callable[[], object]
Clock = Callable[[], float]

#: The factor on VGG's feature distance, about the paper's; it costs the same whatever it is.
CONTENT_SCALE = 0.006


class PlainCrops(Dataset[tuple[Tensor, Tensor]]):
    """A picture opened, cropped and shrunk per sample: the usual way."""

    def __init__(self, folder: Path, crop_px: int) -> None:
        self.crop_px = crop_px
        self.paths = [path for path in find_pictures(folder, recursive=True) if min(_size(path)) >= crop_px]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        side = self.crop_px
        picture = Image.open(self.paths[index]).convert("RGB")
        left, top = random.randint(0, picture.width - side), random.randint(0, picture.height - side)
        hr = picture.crop((left, top, left + side, top + side))
        lr = hr.resize((side // 4, side // 4), Image.Resampling.BICUBIC)
        return _to_tensor(lr), _to_tensor(hr)


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def _to_tensor(picture: Image.Image) -> Tensor:
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return flat.view(picture.height, picture.width, 3).permute(2, 0, 1).float() / 255.0


class PlainBlock(nn.Module):
    """A residual block from torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.PReLU(),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``x`` plus its residual."""
        return x + self.layers(x)


class PlainSRResNet(nn.Module):
    """The same network from torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 64, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *[PlainBlock() for _ in range(16)], nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64)
        )
        up = [nn.Conv2d(64, 256, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        again = [nn.Conv2d(64, 256, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        self.tail = nn.Sequential(*up, *again, nn.Conv2d(64, 3, 9, padding=4))

    def forward(self, lr: Tensor) -> Tensor:
        """Returns the picture four times as large."""
        shallow = self.head(lr)
        return self.tail(shallow + self.body(shallow))


#: Settings that the plain loop follows, or that cost nothing; what else a recipe sets cannot be mirrored.
_MIRRORED = {
    "network": (NetworkSettings(), ()),
    "data": (DataSettings(), ("crop_px", "batch", "flips", "quarter_turns", "bank", "broken_share", "workers")),
    "loss": (
        LossSettings(),
        ("pixel", "vgg", "vgg_layer", "vgg_normalisation", "vgg_ratio", "vgg_scale", "adversarial", "total_variation"),
    ),
    "discriminator": (DiscriminatorSettings(), ("width", "learning_rate_factor")),
}


def not_mirrored(recipe: Recipe) -> list[str]:
    """Returns the recipe's settings that the plain loop does not have."""
    return [
        f"{table}.{key} = {value}"
        for table, (usual, followed) in _MIRRORED.items()
        for key, value in getattr(recipe, table)
        if key not in followed and value != getattr(usual, key)
    ]


def plain_content(recipe: Recipe, features: VGG19Features | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the content loss of (SR in -1..1, HR in 0..1), in the terms that the recipe has."""
    weights = recipe.loss

    def content(sr: Tensor, hr: Tensor) -> Tensor:
        loss = torch.zeros((), device=sr.device)
        if weights.pixel:
            loss = loss + weights.pixel * functional.mse_loss(sr, hr * 2 - 1)
        if features is not None:
            distance = functional.mse_loss(features((sr + 1) / 2), features(hr))
            loss = loss + weights.vgg * CONTENT_SCALE * distance
        if weights.total_variation:
            down, right = sr.diff(dim=2).abs().sum(), sr.diff(dim=3).abs().sum()
            loss = loss + weights.total_variation * (down + right) / len(sr)
        return loss

    return content


def plain_step(
    recipe: Recipe, folder: Path, features: VGG19Features | None, device: torch.device, workers: int
) -> Step:
    loader = DataLoader(
        PlainCrops(folder, recipe.data.crop_px), recipe.data.batch, shuffle=True, drop_last=True,
        num_workers=workers, persistent_workers=workers > 0, pin_memory=device.type == "cuda",
    )  # fmt: skip
    generator = PlainSRResNet().to(device)
    optimiser = torch.optim.Adam(generator.parameters(), 1e-4)
    batches = _endless(loader)
    content = plain_content(recipe, features)
    if not recipe.loss.adversarial:

        def pretrain() -> None:
            lr, hr = (x.to(device) for x in next(batches))
            loss = content(generator(lr), hr)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        return pretrain

    discriminator = Discriminator(recipe.data.crop_px, recipe.discriminator.width).to(device)
    rival = torch.optim.Adam(discriminator.parameters(), 1e-4)
    ones = torch.ones(recipe.data.batch, device=device)

    def adversarial() -> None:
        lr, hr = (x.to(device) for x in next(batches))
        sr = generator(lr)
        bce = functional.binary_cross_entropy_with_logits
        seen = (sr + 1) / 2
        loss = bce(discriminator(hr), ones) + bce(discriminator(seen.detach()), torch.zeros_like(ones))
        rival.zero_grad()
        loss.backward()
        rival.step()
        loss = content(sr, hr) + recipe.loss.adversarial * bce(discriminator(seen), ones)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return adversarial


def _endless(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def our_step(recipe: Recipe, folder: Path, features: VGG19Features | None, device: str) -> tuple[Step, int]:
    fabric = make_fabric(device, recipe.run.precision)
    source = DataSource([folder])
    bank, _ = open_bank(source, recipe.data, recipe.scale, fabric.device, default_cache=Path("runs/decoded"))
    sampler = CropSampler(bank.heights, bank.widths, recipe.data, 0)
    batches = Batches(bank, sampler, Degradation(recipe.data, recipe.scale, fabric.device), fabric.device)
    if features is not None:
        features = compute_dtype(features, recipe).to(fabric.device)
    stage = make_stage(recipe, fabric, features=features, content_scale=CONTENT_SCALE)
    with FlopCounterMode(display=False) as counter:
        stage.step(*batches.next())
    runner = GraphedStage(stage) if can_capture(recipe, fabric) else stage
    return lambda: runner.step(*batches.next()), counter.get_total_flops()


def updates_per_s(step: Step, updates: int, device: torch.device, clock: Clock) -> float:
    for _ in range(8 if device.type == "cuda" else 1):
        step()
    wait(device)
    started = clock()
    for _ in range(updates):
        step()
    wait(device)
    return updates / (clock() - started)


def processor_clock() -> float:
    return time.process_time() / torch.get_num_threads()


def peak_flops(precision: str, device: torch.device, clock: Clock) -> float:
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    rounds = updates_per_s(lambda: a @ a, 10, device, clock)
    return rounds * 2 * side**3


def read_features(recipe: Recipe, file: Path | None) -> VGG19Features | None:
    if not recipe.loss.vgg:
        return None
    if file is None:
        return VGG19Features(recipe.loss.vgg_layer)
    return load_vgg19(file, recipe.loss.vgg_layer, stated_normalisation(file) or "oxford")


def compared(
    recipe: Recipe, variant: str, asked: argparse.Namespace, device: torch.device, clock: Clock, workers: int
) -> dict[str, Any]:
    """Times both loops on one variant, prints the line and returns its numbers."""
    recipe = settled(recipe, asked.device)
    mine, flops = our_step(recipe, asked.data, read_features(recipe, asked.vgg), asked.device)
    ours = updates_per_s(mine, asked.updates, device, clock)
    net = read_features(recipe, asked.vgg)
    plain = plain_step(recipe, asked.data, None if net is None else net.to(device), device, workers)
    theirs = updates_per_s(plain, asked.updates, device, clock)
    peak = peak_flops(recipe.run.precision, device, clock)
    share = ours * flops / peak
    print(
        f"{variant}, batch {recipe.data.batch}: plain {theirs:.3f}, ours {ours:.3f} updates/s, {ours / theirs:.2f} "
        f"times; {flops / 1e12:.2f} TFLOP per update, {100 * share:.0f} % of {peak / 1e12:.2f} TFLOP/s"
    )
    return {
        "variant": variant,
        "batch": recipe.data.batch,
        "plain_updates_per_s": theirs,
        "ours_updates_per_s": ours,
        "ratio": ours / theirs,
        "tflop_per_update": flops / 1e12,
        "peak_tflops": peak / 1e12,
        "share_of_peak": share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of training pictures")
    parser.add_argument("--vgg", type=Path, help="VGG19's weights; made-up ones cost the same")
    parser.add_argument("--variants", default="srresnet-mse,srgan-vgg54")
    parser.add_argument("--updates", type=int, default=12, help="updates timed per loop")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--json", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    try:
        recipes = {variant: load_recipe(variant) for variant in arguments.variants.split(",")}
    except FourfoldError as error:
        parser.error(str(error))
    for variant, recipe in recipes.items():
        if others := not_mirrored(recipe):
            parser.error(f"{variant} cannot be compared: the plain loop does not have its {', '.join(others)}")
    device = torch.device(arguments.device)
    rows: list[dict[str, Any]] = []
    clock = time.perf_counter if arguments.clock == "wall" else processor_clock
    workers = min(8, os.cpu_count() or 1) if arguments.clock == "wall" else 0
    print(f"torch {torch.__version__} on {_name(device)}, {torch.get_num_threads()} threads, {arguments.clock} clock")
    try:
        for variant, recipe in recipes.items():
            rows.append(compared(recipe, variant, arguments, device, clock, workers))
    except FourfoldError as error:
        sys.exit(f"error: {error}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


if __name__ == "__main__":
    main()

"""How fast upscaling is, beside what else could be done with the same weights on the same machine.

    python benchmarks/upscaling.py [--model NAME|FILE] [--size 320x240] [--rounds 5] [--json FILE]

All contenders run in this one process, in turn, round after round, and each one's best round counts. Speed is never
shown without what it costs: every row has its PSNR against plain PyTorch in fp32, and with --data (a folder with
Set5 inside) the decibels lost on Set5. Operations are those of the network as published (direct convolutions),
whatever a contender computes instead, so that GFLOP/s compare like seconds.

CPU seconds are printed beside wall seconds: on a machine that others use too, they are the fairer of the two.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fourfold.errors import FourfoldError
from fourfold.evaluation import psnr
from fourfold.evaluation.samples import find_sample
from fourfold.evaluation.sets import find_sets, read_pair
from fourfold.imaging import Picture, imresize, read_rgb, write_picture
from fourfold.upscaling import Upscaler, folded, resolve
from fourfold.upscaling.engines.torch import GraphModule
from fourfold.upscaling.export import export
from fourfold.weights import WeightsFile

Picture3 = np.ndarray[Any, Any]
Run = Callable[[Picture3], Picture3]


@dataclass
class Row:
    """One line of the table; seconds are those of the best round."""

    name: str
    wall_s: float = float("inf")
    cpu_s: float = float("inf")
    gflops: float = 0.0
    gflops_per_cpu: float = 0.0
    times_plain: float = 0.0
    psnr_to_fp32_db: float | None = None
    lost_on_set5_db: float | None = None


class PlainBlock(nn.Module):
    """A residual block as everybody writes it."""

    def __init__(self, width: int, slopes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.activation = nn.PReLU(slopes)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x plus its residual."""
        return x + self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))


class PlainSRResNet(nn.Module):
    """SRResNet as other programs write it: torch's own layers, nothing folded, nothing reordered."""

    def __init__(self, blocks: int, width: int, prelu: str, scale: int, batch_norm: bool) -> None:
        super().__init__()
        assert batch_norm, "the comparison is with the paper's network"
        slopes = 1 if prelu == "shared" else width
        self.head, self.activation = nn.Conv2d(3, width, 9, padding=4), nn.PReLU(slopes)
        self.body = nn.Sequential(*[PlainBlock(width, slopes) for _ in range(blocks)])
        self.fusion, self.fusion_bn = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.upsampling = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(width, 4 * width, 3, padding=1), "activation": nn.PReLU(slopes)})
            for _ in range(scale.bit_length() - 1)
        )
        self.tail = nn.Conv2d(width, 3, 9, padding=4)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """Returns the picture enlarged, (N, 3, s*H, s*W) in about 0..1."""
        shallow = self.activation(self.head(lr))
        x = shallow + self.fusion_bn(self.fusion(self.body(shallow)))
        for stage in self.upsampling:
            x = stage["activation"](nn.functional.pixel_shuffle(stage["conv"](x), 2))
        return (self.tail(x) + 1) / 2


def plain_torch(weights: WeightsFile) -> PlainSRResNet:
    network = PlainSRResNet(**weights.config.parameters)
    network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.tensors.items()}, strict=False)
    return network.eval()


def direct_multiply_adds(weights: WeightsFile, height: int, width: int) -> int:
    """Returns the multiply-adds of the network as published, by direct convolution."""
    counted = 0
    network = plain_torch(weights)

    def count(module: nn.Conv2d, _: Any, output: torch.Tensor) -> None:
        nonlocal counted
        counted += module.weight.numel() * output.shape[2] * output.shape[3]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 8, 8))
    return counted * height * width // 64


def by_torch(network: nn.Module, dtype: torch.dtype = torch.float32, channels_last: bool = False) -> Run:
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def run(lr: Picture3) -> Picture3:
        with torch.inference_mode():
            x = torch.from_numpy(lr.astype(np.float32) / 255).permute(2, 0, 1)[None].to(dtype)
            sr = network(x.contiguous(memory_format=layout)).float().clamp(0, 1)
            return (sr[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()

    return run


def compiled_torch(weights: WeightsFile) -> Run:
    """PyTorch at its best: folded, channels last, bf16, compiled. Its input is rounded to bf16, as is usual."""
    module = GraphModule(folded(weights), torch.bfloat16).to(memory_format=torch.channels_last).eval()
    return by_torch(torch.compile(module), torch.bfloat16, channels_last=True)


def by_onnxruntime(weights: WeightsFile) -> Run:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = export(weights, Path(folder) / "network.onnx").paths[0]
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(lr: Picture3) -> Picture3:
        x = np.ascontiguousarray((lr.astype(np.float32) / 255).transpose(2, 0, 1)[None])
        sr = session.run(None, {"lr": x})[0][0].transpose(1, 2, 0)
        return np.asarray(np.floor(np.clip(sr, 0, 1) * 255 + 0.5), np.uint8)

    return run


def contenders(weights: WeightsFile) -> dict[str, Callable[[], Run]]:
    """Name -> what prepares it. The first is what the others are compared with."""
    return {
        "PyTorch, eager, fp32, unfolded": lambda: by_torch(plain_torch(weights)),
        "PyTorch, folded, channels last, bf16, compiled": lambda: compiled_torch(weights),
        "ONNX Runtime, folded, fp32": lambda: by_onnxruntime(weights),
        "Fourfold, torch engine, bf16": lambda: Upscaler(weights, engine="torch", precision="bf16"),
        "Fourfold, OpenVINO engine, fp32": lambda: Upscaler(weights, engine="openvino", precision="fp32"),
        "Fourfold, default": lambda: Upscaler(weights),
    }


def best_of(action: Callable[[], Any], row: Row) -> Any:
    cpu, wall = time.process_time(), time.perf_counter()
    result = action()
    row.wall_s = min(row.wall_s, time.perf_counter() - wall)
    row.cpu_s = min(row.cpu_s, time.process_time() - cpu)
    return result


def ceiling(dtype: torch.dtype, rounds: int, side: int = 2048) -> Row:
    """The machine's own limit: a large matrix product."""
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    row = Row(f"matrix product of {side}x{side}, {str(dtype).removeprefix('torch.')}")
    for _ in range(rounds):
        best_of(lambda: a @ b, row)
    return finished(row, 2 * side**3)


def finished(row: Row, operations: int) -> Row:
    row.gflops = operations / row.wall_s / 1e9
    row.gflops_per_cpu = operations / row.cpu_s / 1e9
    return row


def set5(folder: Path | None) -> list[tuple[Picture3, Picture3]]:
    """Returns Set5 as pairs of small pictures and originals; nothing without a folder."""
    if folder is None:
        return []
    pairs = [read_pair(entry) for entry in find_sets(folder, ["Set5"])[0].entries]
    return [(pair.lr, pair.hr) for pair in pairs]


def test_picture(width: int, height: int) -> Picture3:
    picture = read_rgb(find_sample("astronaut")[1])
    return imresize(picture, size=(height, width))


def whole_command(model: str) -> dict[str, float]:
    """Seconds of `fourfold upscale` on a 128x128 picture, start-up included; best of five, the first left out."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.png"
        write_picture(Picture(test_picture(128, 128)), source)
        command = [sys.executable, "-c", "from fourfold.cli import main; main()", "upscale", str(source), "-q"]
        command += ["-n", model, "-o", str(Path(folder) / "out.png"), "--overwrite"]
        seconds = []
        for _ in range(6):
            start = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - start)
    return {"first_s": seconds[0], "best_s": min(seconds[1:])}


def measure(weights: WeightsFile, size: tuple[int, int], rounds: int, data: Path | None, only: str) -> list[Row]:
    width, height = size
    lr = test_picture(width, height)
    operations = 2 * direct_multiply_adds(weights, height, width)
    rows, runs, exact, pairs = [], {}, None, set5(data)
    plain_db: float | None = None
    for name, prepare in contenders(weights).items():
        if only in name or not rows:
            try:
                runs[name] = prepare()
                sr = runs[name](lr)
            except Exception as error:
                print(f"left out: {name} ({type(error).__name__}: {str(error).splitlines()[0][:100]})", file=sys.stderr)
                continue
            row = Row(name)
            exact = sr if exact is None else exact
            row.psnr_to_fp32_db = psnr(sr, exact, channel="rgb", border_px=0)
            if pairs:
                mean_db = float(np.mean([psnr(runs[name](small), hr) for small, hr in pairs]))
                plain_db = mean_db if plain_db is None else plain_db
                row.lost_on_set5_db = plain_db - mean_db
            rows.append(row)
    for _ in range(rounds):
        for row in rows:
            best_of(lambda run=runs[row.name]: run(lr), row)
    for row in rows:
        finished(row, operations)
        row.times_plain = rows[0].cpu_s / row.cpu_s
    return [*rows, ceiling(torch.float32, rounds), ceiling(torch.bfloat16, rounds)]


def table(rows: list[Row]) -> str:
    head = f"{'':<50}{'wall s':>8}{'CPU s':>8}{'GFLOP/s':>9}{'per core':>9}{'x plain':>9}{'PSNR':>8}{'dB lost':>9}"
    lines = [head]
    for row in rows:
        line = f"{row.name:<50}{row.wall_s:>8.3f}{row.cpu_s:>8.3f}{row.gflops:>9.0f}{row.gflops_per_cpu:>9.0f}"
        line += f"{row.times_plain:>9.2f}" if row.times_plain else " " * 9
        line += f"{row.psnr_to_fp32_db:>8.1f}" if row.psnr_to_fp32_db is not None else " " * 8
        line += f"{row.lost_on_set5_db:>9.4f}" if row.lost_on_set5_db is not None else ""
        lines.append(line.rstrip())
    best, limit = rows[-3], rows[-1]
    share = best.gflops_per_cpu / limit.gflops_per_cpu
    lines.append(f"{best.name}: {share:.0%} of the bf16 matrix product, by CPU seconds")
    return "\n".join(lines)


def processor() -> str:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="an SRResNet: a shipped name or a weights file; the default model otherwise")
    parser.add_argument("--size", default="320x240", help="width x height of the picture to upscale")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="contenders whose name holds this, and plain PyTorch")
    parser.add_argument("--data", type=Path, help="a folder with Set5 inside: adds the decibels lost on it")
    parser.add_argument("--command", action="store_true", help="also time the whole command on 128x128")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    try:
        weights = resolve(options.model)[0]
    except FourfoldError as error:
        sys.exit(f"error: {error}")
    if weights.config.architecture != "srresnet":
        sys.exit(f"error: {weights.config.name} is no SRResNet, which plain PyTorch is here")
    load = os.getloadavg()[0]
    print(f"{processor()}, {torch.get_num_threads()} threads, load {load:.1f}; {weights.config.name}, {width}x{height}")
    rows = measure(weights, (width, height), options.rounds, options.data, options.only)
    print(table(rows))
    command = whole_command(str(weights.path)) if options.command else None
    if command is not None:
        print(f"`fourfold upscale` on 128x128: {command['best_s']:.2f} s (first run {command['first_s']:.2f} s)")
    if options.json is not None:
        report = {"processor": processor(), "load": load, "rows": [asdict(row) for row in rows], "command": command}
        options.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

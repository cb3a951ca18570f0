"""Whether 8-bit products would make upscaling faster, and what they would cost; see docs/speed.md for the answer.

    python benchmarks/int8.py --calibration PHOTOS --data DATA [--model NAME|FILE]

The residual blocks and the last upsampling convolution get 8-bit inputs and weights: weights with one scale per output
channel, inputs with one per channel (folded into the weights), their ranges measured on 32 crops of --calibration. The
rest stays in bfloat16, because it needs more than 8 bits. DATA is a folder with Set5 inside.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops
from PIL import Image, ImageDraw

from fourfold.evaluation import psnr
from fourfold.imaging import find_pictures, imresize, read_rgb
from fourfold.upscaling import folded
from fourfold.upscaling.bfloat16 import accurate, split
from fourfold.upscaling.engines.openvino import operation
from fourfold.upscaling.graph import Convolution, Graph, Shuffle
from fourfold.weights import load_weights

Array = NDArray[np.float32]
Ranges = dict[int, tuple[Array, Array]]

CROP_PX = 64
CROPS = 32


@dataclass
class Row:
    """A contender: seconds of its best round, and what it costs."""

    name: str
    model: "ov.Model"
    cpu_s: float = float("inf")
    lost_on_set5_db: float = 0.0
    worst_on_photos: float = 0.0
    worst_on_graphics: float = 0.0


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="8-bit products: speed and cost.")
    parser.add_argument("--model", default="srresnet-mse")
    parser.add_argument("--calibration", type=Path, required=True, help="a folder of photographs, not Set5")
    parser.add_argument("--data", type=Path, required=True, help="a folder with Set5 inside")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    graph = accurate(folded(load_weights(options.model)))
    chosen = eight_bit_convolutions(graph)
    photos, drawings = crops(options.calibration), graphics()
    natural = measure(graph, photos)
    every = measure(graph, [*photos, *drawings])
    rows = [
        Row("bf16", model(graph, {}, ())),
        Row("int8, ranges of photographs", model(graph, natural, chosen)),
        Row("int8, ranges of photographs and graphics", model(graph, every, chosen)),
    ]
    set5 = [read_rgb(path) for path in sorted((options.data / "Set5").iterdir())]
    exact = run(compiled(model(graph, {}, ()), "f32"))
    runs = [run(compiled(row.model, "bf16")) for row in rows]
    low = [low_resolution(hr) for hr in set5]
    for row, upscale in zip(rows, runs, strict=True):
        losses = [psnr(exact(lr), hr) - psnr(upscale(lr), hr) for lr, hr in zip(low, set5, strict=True)]
        row.lost_on_set5_db = float(np.mean(losses))
        row.worst_on_photos = max(worst(exact(lr), upscale(lr)) for lr in low)
        row.worst_on_graphics = max(worst(exact(lr), upscale(lr)) for lr in drawings)
    for _ in range(options.rounds):
        for row, upscale in zip(rows, runs, strict=True):
            start = time.process_time()
            upscale(low[0])
            row.cpu_s = min(row.cpu_s, time.process_time() - start)
    print(f"{len(chosen)} convolutions of {sum(isinstance(n, Convolution) for n in graph.nodes)} in 8 bits")
    print(f"{'':42} {'CPU s':>7} {'x bf16':>7} {'dB lost':>8} {'worst of 255, photos':>21} {'graphics':>9}")
    for row in rows:
        print(
            f"{row.name:42} {row.cpu_s:7.3f} {rows[0].cpu_s / row.cpu_s:7.2f} {row.lost_on_set5_db:8.4f} "
            f"{255 * row.worst_on_photos:21.0f} {255 * row.worst_on_graphics:9.0f}"
        )


def eight_bit_convolutions(graph: Graph) -> tuple[int, ...]:
    """Returns the nodes that stand 8 bits: the body's convolutions and the one between the two shuffles."""
    shuffles = [index for index, node in enumerate(graph.nodes) if isinstance(node, Shuffle)]
    found = []
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Convolution):
            out, channels, side, _ = node.weight.shape
            body = index < shuffles[0] and side == 3 and out == channels
            if body or (shuffles[0] < index and side == 3):
                found.append(index)
    return tuple(found)


def measure(graph: Graph, pictures: Sequence[Array]) -> Ranges:
    """Returns the smallest and largest value of every channel of every convolution's input."""
    sources = sorted({n.source for n in graph.nodes if isinstance(n, Convolution)} - {0})
    built: list[Any] = []
    for node in graph.nodes:
        built.append(operation(node, built))
    tapped = compiled(ov.Model([ops.result(built[s]) for s in sources], [built[0]], "tapped"), "f32")
    found: Ranges = {}
    for lr in pictures:
        tapped.infer([split(planes(lr))])
        for index, source in enumerate(sources):
            values = tapped.get_output_tensor(index).data[0]
            low, high = np.minimum(values.min((1, 2)), 0), np.maximum(values.max((1, 2)), 0)
            before = found.get(source, (low, high))
            found[source] = np.minimum(before[0], low), np.maximum(before[1], high)
    return found


def model(graph: Graph, ranges: Ranges, chosen: Sequence[int]) -> "ov.Model":
    """Returns the graph with 8-bit inputs and weights in the chosen convolutions."""
    built: list[Any] = []
    for index, node in enumerate(graph.nodes):
        if index in chosen and isinstance(node, Convolution):
            built.append(_eight_bit(node, built[node.source], *ranges[node.source]))
        else:
            built.append(operation(node, built))
    return ov.Model([ops.result(built[-1])], [built[0]], "fourfold")


def _eight_bit(node: Convolution, source: Any, low: Array, high: Array) -> Any:
    """Returns the convolution of inputs that are brought to one common range, channel by channel, and rounded."""
    scale = np.maximum(high - low, 1e-6)
    bottom, top = float((low / scale).min()), float((high / scale).max())
    step = (top - bottom) / 255
    bottom = step * round(bottom / step)  # so that zero is one of the 256 values
    top = bottom + 255 * step
    per_channel = scale.reshape(1, -1, 1, 1)
    x = ops.fake_quantize(
        source,
        ops.constant((bottom * per_channel).astype(np.float32)),
        ops.constant((top * per_channel).astype(np.float32)),
        ops.constant(np.full((1, 1, 1, 1), bottom, np.float32)),
        ops.constant(np.full((1, 1, 1, 1), top, np.float32)),
        256,
    )
    weight = (node.weight * per_channel).astype(np.float32)
    most = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    limits = [ops.constant(limit) for limit in (-most, most, -most, most)]
    pad = [weight.shape[2] // 2] * 2
    sums = ops.convolution(x, ops.fake_quantize(ops.constant(weight), *limits, 255), [1, 1], pad, pad, [1, 1])
    return ops.add(sums, ops.constant(node.bias.reshape(1, -1, 1, 1)))


def compiled(network: "ov.Model", precision: str) -> Any:
    """Returns a request on one thread, so that CPU seconds hold no waiting."""
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    return ov.Core().compile_model(network, "CPU", settings).create_infer_request()


def run(request: Any) -> Any:
    """Returns a function from (h, w, 3) in 0..1 to (4 h, 4 w, 3) as 8 bits would hold it, in 0..1."""

    def upscale(lr: Array) -> Array:
        request.infer([split(planes(lr))])
        sr = np.array(request.get_output_tensor(0).data[0]).transpose(1, 2, 0)
        return np.rint(255 * sr.clip(0, 1)).astype(np.float32) / np.float32(255)

    return upscale


def planes(lr: Array) -> Array:
    """Returns (1, 3, h, w) from (h, w, 3)."""
    return np.ascontiguousarray(lr.transpose(2, 0, 1)[None])


def worst(one: Array, other: Array) -> float:
    """Returns the largest difference."""
    return float(np.abs(one - other).max())


def low_resolution(hr: NDArray[Any]) -> Array:
    """Returns a picture at a quarter of its size, in 0..1."""
    return imresize(hr, 0.25).astype(np.float32) / np.float32(255)


def crops(folder: Path) -> list[Array]:
    """Returns small pictures from the middles of photographs, the same ones every time."""
    found = []
    for path in find_pictures(folder, recursive=True):
        hr = read_rgb(path)
        top, left = (hr.shape[0] - 4 * CROP_PX) // 2, (hr.shape[1] - 4 * CROP_PX) // 2
        if min(top, left) >= 0:
            found.append(low_resolution(hr[top : top + 4 * CROP_PX, left : left + 4 * CROP_PX]))
        if len(found) == CROPS:
            break
    return found


def graphics() -> list[Array]:
    """Returns small pictures that no photograph prepares for: text, a chessboard, noise."""
    rows, columns = np.mgrid[:CROP_PX, :CROP_PX]
    board = np.repeat(((rows // 2 + columns // 2) % 2)[..., None], 3, 2)
    noise = np.random.default_rng(0).random((CROP_PX, CROP_PX, 3))
    pictures = [_text("black", "white"), _text("yellow", "navy"), board, noise]
    return [np.asarray(picture, np.float32) for picture in pictures]


def _text(ink: str, paper: str) -> NDArray[Any]:
    picture = Image.new("RGB", (CROP_PX, CROP_PX), paper)
    for top in range(0, CROP_PX, 11):
        ImageDraw.Draw(picture).text((1, top), "Fourfold 4x", fill=ink)
    return np.asarray(picture) / 255


if __name__ == "__main__":
    main()

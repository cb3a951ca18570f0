"""Whether Winograd's convolution would make the network's body faster; see docs/speed.md for the answer.

    python benchmarks/winograd.py [--size 64 128 256] [--rounds 20]

One 3x3 convolution from 64 to 64 maps in bf16 on one thread: torch's own (direct), and F(2x2, 3x3) (Lavin and Gray
2016), which does 16 multiplications where the direct one does 36. Its matrix products alone are timed, too: no
implementation can be faster than those.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

MAPS = 64


def transformed_weight(weight: Tensor) -> Tensor:
    """Returns the kernels in Winograd's form, (16, in, out), from (out, in, 3, 3)."""
    g = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
    return (g @ weight @ g.T).permute(2, 3, 1, 0).reshape(16, *weight.shape[1::-1])


def inputs(x: Tensor) -> Tensor:
    """Returns the 16 transformed inputs of every 2x2 block, (16, blocks, maps), from (H, W, maps)."""
    height, width, maps = x.shape
    padded = functional.pad(x, (0, 0, 1, 1, 1, 1))
    d = [[padded[i : i + height : 2, j : j + width : 2] for j in range(4)] for i in range(4)]
    rows = [
        [d[0][j] - d[2][j] for j in range(4)],
        [d[1][j] + d[2][j] for j in range(4)],
        [d[2][j] - d[1][j] for j in range(4)],
        [d[1][j] - d[3][j] for j in range(4)],
    ]
    planes = [v for r in rows for v in (r[0] - r[2], r[1] + r[2], r[2] - r[1], r[1] - r[3])]
    return torch.stack(planes).reshape(16, -1, maps)


def outputs(m: Tensor, height: int, width: int) -> Tensor:
    """Returns (H, W, maps) from the 16 products of every block."""
    p = m.reshape(4, 4, height // 2, width // 2, -1)
    top, bottom = p[0] + p[1] + p[2], p[1] - p[2] - p[3]
    y = torch.empty(height, width, p.shape[-1], dtype=m.dtype)
    for row, half in enumerate((top, bottom)):
        y[row::2, 0::2] = half[0] + half[1] + half[2]
        y[row::2, 1::2] = half[1] - half[2] - half[3]
    return y


def best(function: Callable[[], object], rounds: int) -> float:
    """Returns the CPU seconds of the fastest round."""
    seconds = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        function()
        seconds = min(seconds, time.process_time() - start)
    return seconds


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weight = torch.randn(MAPS, MAPS, 3, 3) / 24
    kernels = transformed_weight(weight).bfloat16()
    print("     size  direct, ms  Winograd, ms  times direct  products alone  PSNR, dB")
    with torch.inference_mode():
        for side in options.size:
            exact = torch.randn(1, MAPS, side, side)
            nchw = exact.bfloat16().to(memory_format=torch.channels_last)
            hwc = nchw[0].permute(1, 2, 0).contiguous()
            plain = weight.bfloat16().to(memory_format=torch.channels_last)
            wanted = functional.conv2d(exact, weight, padding=1)[0].permute(1, 2, 0)
            ready = inputs(hwc)
            found = outputs(torch.bmm(ready, kernels), side, side).float()
            error = (found - wanted).square().mean() / (wanted.max() - wanted.min()).square()
            direct_s = best(lambda x=nchw, w=plain: functional.conv2d(x, w, padding=1), options.rounds)
            whole_s = best(lambda x=hwc, n=side: outputs(torch.bmm(inputs(x), kernels), n, n), options.rounds)
            products_s = best(lambda v=ready: torch.bmm(v, kernels), options.rounds)
            print(
                f"{side:>4}x{side:<4} {1e3 * direct_s:11.2f} {1e3 * whole_s:13.2f} {direct_s / whole_s:13.2f} "
                f"{direct_s / products_s:15.2f} {float(-10 * error.log10()):9.1f}"
            )


if __name__ == "__main__":
    main()

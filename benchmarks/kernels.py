"""One update on processor cores, by torch and with the kernels of ``scripts/winograd``, side by side.

    python -m benchmarks.kernels

Forward and backward of SRResNet on 8 crops of 96x96, and of VGG54 on 4, on one core, in float32 and, where the
processor has it, in bfloat16; the best of several rounds, in which both take turns.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from fourfold.networks import VGG19Features
from fourfold.networks.srresnet import SRResNet
from fourfold.training.stage import freeze_statistics
from scripts.winograd.kernels import KINDS, is_supported
from scripts.winograd.layers import FrozenConv2d, restore

ROUNDS = 8


def generator(dtype: torch.dtype) -> tuple[Callable[[], object], Callable[[], object]]:
    network = SRResNet().to(memory_format=torch.channels_last).train()
    freeze_statistics(network)
    lr, hr = torch.rand(8, 3, 24, 24), torch.rand(8, 3, 96, 96)

    def update(forward: Callable[[Tensor], Tensor]) -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            sr = forward(lr)
        (sr.float() - hr).square().mean().backward()

    return lambda: update(network), lambda: update(lambda x: restore(network, x))


def features(dtype: torch.dtype) -> tuple[Callable[[], object], Callable[[], object]]:
    plain, ours = (VGG19Features("54").to(dtype=dtype, memory_format=torch.channels_last) for _ in range(2))
    for convolution in ours.features:
        convolution.__class__ = FrozenConv2d
    sr, hr = torch.rand(4, 3, 80, 80, requires_grad=True), torch.rand(4, 3, 80, 80)

    def update(network: VGG19Features) -> None:
        with torch.no_grad():
            wanted = network(hr).float()
        (network(sr).float() - wanted).square().mean().backward()

    return lambda: update(plain), lambda: update(ours)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    torch.set_num_threads(1)
    for dtype in filter(is_supported, KINDS):
        for name, both in (("SRResNet, 8 crops", generator(dtype)), ("VGG54, 4 crops", features(dtype))):
            for work in both:
                work()
            best = [
                min(times) for times in zip(*[[seconds(work) for work in both] for _ in range(ROUNDS)], strict=True)
            ]
            print(
                f"{name}, {str(dtype).removeprefix('torch.')}: torch {best[0]:.3f} s, kernels {best[1]:.3f} s, "
                f"{best[0] / best[1]:.2f} times as fast"
            )


if __name__ == "__main__":
    main()

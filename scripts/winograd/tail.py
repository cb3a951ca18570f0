"""SRResNet's last PReLU and 9x9 convolution on the kernels, with its gradient; how each kind lays its products out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from scripts.winograd.kernels import PANEL, library

#: Lanes of the sums of a pixel, and how many of them are used: 27 kinds of products, see the sources.
_SUMS, _USED = 32, 27
#: G of F(2, 3) and of F(3, 3): from three taps to products.
_G2 = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
_G3 = torch.tensor([[3.0, 0.0, 0.0], [-3.0, -3.0, -3.0], [-1.0, 1.0, -1.0], [1.0, 2.0, 4.0], [0.0, 0.0, 6.0]]) / 6.0


@dataclass(frozen=True)
class _Layout:
    """How the transformed kernels lie.

    Attributes:
        forward: from (3, 64, 9, 9) to what ``tail_forward`` takes.
        backward: to what ``tail_backward`` takes.
        gradient: the shape of what that gives of them.
        taps: from there back to (3, 64, 9, 9).
    """

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor], Tensor]
    gradient: tuple[int, ...]
    taps: Callable[[Tensor], Tensor]


class Tail(Function):
    """The last PReLU and the 9x9 convolution to three colours, without its bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, slope: Tensor) -> Tensor:
        """Returns (N, 3, H, W) in float32.

        Args:
            ctx: autograd's.
            x: (N, 64, H, W), as from ``channels_last``, before the PReLU; W a multiple of 4 in bfloat16.
            kernels: (3, 64, 9, 9).
            slope: (1).
        """
        ctx.slope = slope.item()
        ctx.save_for_backward(x, kernels)
        pictures, _, height, width = x.shape
        packed = _LAYOUTS[x.dtype].forward(kernels.detach())
        y = torch.empty(pictures, height, width, 3)
        library(x.dtype).tail_forward(x.data_ptr(), pictures, height, width, ctx.slope, packed.data_ptr(), y.data_ptr())
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Returns the gradients of all three."""
        x, kernels = ctx.saved_tensors
        pictures, _, height, width = x.shape
        layout = _LAYOUTS[x.dtype]
        gradient = gradients[0].float().permute(0, 2, 3, 1).contiguous()
        packed = layout.backward(kernels.detach())
        of_x, of_packed = torch.empty_like(x), torch.zeros(layout.gradient)
        of_slope = torch.zeros(1, dtype=torch.float64)
        library(x.dtype).tail_backward(
            x.data_ptr(), gradient.data_ptr(), pictures, height, width, ctx.slope, packed.data_ptr(),
            of_x.data_ptr(), of_packed.data_ptr(), of_slope.data_ptr(),
        )  # fmt: skip
        return of_x, layout.taps(of_packed).contiguous(), of_slope.float()


def _rows(kernels: Tensor) -> Tensor:
    """Returns (sums, maps, groups, positions) of F(2, 3): sums are (kernel row, colour)."""
    taps = kernels.permute(2, 0, 1, 3).reshape(_USED, PANEL, 3, 3)
    products = torch.zeros(_SUMS, PANEL, 3, 4)
    products[:_USED] = taps @ _G2.T
    return products


def _squares(kernels: Tensor) -> Tensor:
    """Returns (positions, sums, maps) of F(3x3, 3x3): sums are (group down, group across, colour), 27 of them."""
    taps = kernels.unflatten(3, (3, 3)).unflatten(2, (3, 3))
    return torch.einsum("cmiajb,pa,qb->pqijcm", taps, _G3, _G3).reshape(25, _USED, PANEL)


def _forward_rows(kernels: Tensor) -> Tensor:
    # (position, group, pairs of maps, sums, 2)
    packed = _rows(kernels).view(_SUMS, PANEL // 2, 2, 3, 4).permute(4, 3, 1, 0, 2)
    return packed.to(torch.bfloat16).contiguous()


def _backward_rows(kernels: Tensor) -> Tensor:
    # (position, group, pairs of sums, maps, 2)
    packed = _rows(kernels.flip(3)).view(_SUMS // 2, 2, PANEL, 3, 4).permute(4, 3, 0, 2, 1)
    return packed.to(torch.bfloat16).contiguous()


def _taps_of_rows(of_packed: Tensor) -> Tensor:
    of_taps = torch.einsum("pgms,pt->smgt", of_packed, _G2)[:_USED]
    return of_taps.reshape(9, 3, PANEL, 9).permute(1, 2, 0, 3)


def _forward_squares(kernels: Tensor) -> Tensor:
    # (strips of sums, position, maps, 16)
    padded = functional.pad(_squares(kernels).transpose(1, 2), (0, _SUMS - _USED))
    return padded.unflatten(2, (2, 16)).permute(2, 0, 1, 3).contiguous()


def _backward_squares(kernels: Tensor) -> Tensor:
    # (strips of maps, position, sums, 16)
    return _squares(kernels.flip(2, 3)).unflatten(2, (4, 16)).permute(2, 0, 1, 3).contiguous()


def _taps_of_squares(of_packed: Tensor) -> Tensor:
    sums = of_packed[..., :_USED].reshape(5, 5, PANEL, 3, 3, 3)
    return torch.einsum("pqmijc,pa,qb->cmiajb", sums, _G3, _G3).reshape(3, PANEL, 9, 9)


_LAYOUTS = {
    torch.bfloat16: _Layout(_forward_rows, _backward_rows, (4, 3, PANEL, _SUMS), _taps_of_rows),
    torch.float32: _Layout(_forward_squares, _backward_squares, (25, PANEL, _SUMS), _taps_of_squares),
}

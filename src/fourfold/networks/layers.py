"""The layers of the generator whose plain forms waste time, computed the fast way with the same parameters.

Each holds exactly the parameters of the torch layer it stands for, under the same names, and gives the same
numbers (a test holds them to it); only the order of the work differs.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class PReLU(nn.PReLU):
    """Parametric ReLU (He et al. 2015) with one shared slope or one per channel.

    Torch's backward on the CPU writes the slope's gradient for every element before it adds them up, which costs
    as much as three 3x3 convolutions; there it is computed in streaming passes instead.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns ``input`` where positive, ``weight * input`` where not; any shape with channels second."""
        if input.device.type == "cpu" and input.requires_grad and torch.is_grad_enabled():
            return cast(Tensor, _StreamingPReLU.apply(input, self.weight))
        return functional.prelu(input, self.weight.to(input.dtype))


class _StreamingPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return functional.prelu(x, slope.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        x, slope = ctx.saved_tensors
        negative = x.clamp(max=0.0).mul_(gradient)
        if slope.numel() == 1:
            to_input = torch.ops.aten.leaky_relu_backward(gradient, x, slope.item(), False)
            return to_input, negative.sum(dtype=torch.float32).reshape(1).to(slope.dtype)
        broadcast = slope.to(gradient.dtype).reshape(1, -1, *[1] * (x.ndim - 2))
        to_slope = negative.sum(dim=[0, *range(2, x.ndim)], dtype=torch.float32)
        return torch.where(x > 0, gradient, gradient * broadcast), to_slope.to(slope.dtype)


class ShuffleConv2d(nn.Conv2d):
    """A convolution to ``4 * out`` channels followed by PixelShuffle x2 (Shi et al. 2016).

    In channels-last memory the shuffle of torch's channel order moves single values; computing the four
    sub-pixel positions as four blocks of channels moves whole pixels.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns (N, out, 2H, 2W) from (N, C, H, W)."""
        out = self.out_channels // 4
        # torch's PixelShuffle reads channel c * 4 + i * 2 + j; here the order is (i, j, c)
        weight = self.weight.unflatten(0, (out, 4)).transpose(0, 1).flatten(0, 1)
        bias = None if self.bias is None else self.bias.view(out, 4).t().reshape(-1)
        y = self._conv_forward(input, weight, bias)
        batch, _, height, width = y.shape
        blocks = y.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, out)
        pixels = blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, out)
        return pixels.permute(0, 3, 1, 2)


class FewOutputsConv2d(nn.Conv2d):
    """A large-kernel convolution to few channels, such as the generator's last one: 9x9, 64 to 3.

    Three output channels leave most of a matrix unit idle. A row of kernels at a time (1 x k to ``k * out``
    channels) fills it, and the k results are added with a vertical shift.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns (N, out, H, W) from (N, C, H, W), zero-padded as the plain convolution."""
        out, channels, rows, columns = self.weight.shape
        weight = self.weight.permute(0, 2, 1, 3).reshape(out * rows, channels, 1, columns)
        partial = functional.conv2d(input, weight, None, padding=(0, columns // 2))
        summed = cast(Tensor, _ShiftedSum.apply(partial.unflatten(1, (out, rows))))
        return summed if self.bias is None else summed + self.bias.view(1, -1, 1, 1)


class _ShiftedSum(torch.autograd.Function):
    """Adds row r of (N, out, rows, H, W) shifted up by ``r - rows // 2``, in float32."""

    @staticmethod
    def forward(ctx: Any, partial: Tensor) -> Tensor:
        batch, out, rows, height, width = partial.shape
        ctx.rows, ctx.dtype = rows, partial.dtype
        half = rows // 2
        total = partial[:, :, half].to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        for row in range(rows):
            shift = row - half
            if shift == 0 or abs(shift) >= height:
                continue
            if shift > 0:
                total[:, :, : height - shift] += partial[:, :, row, shift:]
            else:
                total[:, :, -shift:] += partial[:, :, row, : height + shift]
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        height, half = gradient.shape[2], ctx.rows // 2
        padded = functional.pad(gradient.to(ctx.dtype), (0, 0, half, half))
        shifted = [padded[:, :, 2 * half - row : 2 * half - row + height] for row in range(ctx.rows)]
        # channels-last, as the convolution that made the partial sums wants its gradient
        stacked = torch.stack([s.permute(0, 2, 3, 1) for s in shifted], dim=-1)
        return stacked.permute(0, 3, 4, 1, 2)

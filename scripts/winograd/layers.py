"""The parts of SRResNet and VGG19 on the kernels, each with its gradient."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from fourfold.networks.srresnet import ResidualBlock, SRResNet, Upsampling
from scripts.winograd.kernels import (
    KINDS,
    PANEL,
    channels_last,
    convolve,
    is_supported,
    pack,
    weight_gradient,
    working_type,
)
from scripts.winograd.tail import Tail


class Body(Function):
    """All residual blocks and the fusion, with the skip around them; batch norm folded into the convolutions."""

    @staticmethod
    def forward(ctx: Any, shallow: Tensor, kernels: Tensor, biases: Tensor, slopes: Tensor) -> Tensor:
        """Returns the features.

        Args:
            ctx: autograd's.
            shallow: (N, 64, H, W), as from :func:`channels_last`.
            kernels: (2 blocks + 1, 64, 64, 3, 3).
            biases: (2 blocks + 1, 64).
            slopes: (blocks), of the PReLU inside each block.
        """
        x, packed, biases = shallow, pack(kernels, shallow.dtype), biases.detach().contiguous()
        streams, inner, slope = [x], [], slopes.tolist()
        for block in range(len(slope)):
            first, second = 2 * block, 2 * block + 1
            hidden = convolve(streams[-1], packed[first], PANEL, bias=biases[first])
            after = convolve(hidden, packed[second], PANEL, slope=slope[block], bias=biases[second], added=streams[-1])
            inner.append(hidden)
            streams.append(after)
        ctx.save_for_backward(kernels, *streams, *inner)
        ctx.slope = slope
        return convolve(streams[-1], packed[-1], PANEL, bias=biases[-1], added=x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Returns the gradients of all four."""
        kernels, *saved = ctx.saved_tensors
        count = len(ctx.slope)
        streams, inner = saved[: count + 1], saved[count + 1 :]
        dtype = streams[0].dtype
        packed, of_slopes = pack(kernels, dtype, backwards=True), torch.zeros(count, dtype=torch.float64)
        of_layers = [(torch.empty(0), torch.empty(0))] * len(kernels)
        of_features = channels_last(gradients[0], dtype)
        of_layers[-1] = weight_gradient(streams[-1], of_features)
        of_stream = convolve(of_features, packed[-1], PANEL)
        for block in reversed(range(count)):
            first, second, slope = 2 * block, 2 * block + 1, ctx.slope[block]
            of_layers[second] = weight_gradient(inner[block], of_stream, slope=slope)
            of_inner = convolve(
                of_stream, packed[second], PANEL, gate=inner[block], gate_slope=slope, slope_gradient=of_slopes[block]
            )
            of_layers[first] = weight_gradient(streams[block], of_inner)
            of_stream = convolve(of_inner, packed[first], PANEL, added=of_stream)
        of_kernels, of_biases = (torch.stack(part) for part in zip(*of_layers, strict=True))
        return of_stream + of_features, of_kernels, of_biases, of_slopes.float()


class Doubling(Function):
    """A convolution to 256 maps and PixelShuffle x2, after the PReLU of the doubling before it if there was one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, bias: Tensor, slope: Tensor | None) -> Tensor:
        """Returns (N, 64, 2H, 2W), before its own PReLU.

        Args:
            ctx: autograd's.
            x: (N, 64, H, W).
            kernels: (256, 64, 3, 3), the maps of each sub-pixel together.
            bias: (256).
            slope: (1) or None.
        """
        ctx.slope = None if slope is None else slope.item()
        ctx.save_for_backward(x, kernels)
        bias = bias.detach().contiguous()
        return convolve(x, pack(kernels, x.dtype)[0], 4 * PANEL, to_shuffled=True, slope=ctx.slope, bias=bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of all four."""
        x, kernels = ctx.saved_tensors
        gradient, packed = channels_last(gradients[0], x.dtype), pack(kernels, x.dtype, backwards=True)[0]
        of_kernels, of_bias = weight_gradient(x, gradient, shuffled=True, slope=ctx.slope)
        if ctx.slope is None:
            return convolve(gradient, packed, PANEL, from_shuffled=True), of_kernels, of_bias, None
        of_slope = torch.zeros(1, dtype=torch.float64)
        of_x = convolve(
            gradient, packed, PANEL, from_shuffled=True, gate=x, gate_slope=ctx.slope, slope_gradient=of_slope
        )
        return of_x, of_kernels, of_bias, of_slope.float()


class Convolution(Function):
    """One 3x3 convolution, for bodies whose batch norm is trained and cannot be folded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
        """Returns (N, outputs, H, W).

        Args:
            ctx: autograd's.
            x: (N, inputs, H, W), as from :func:`channels_last`.
            kernels: (outputs, inputs, 3, 3).
            bias: (outputs).
        """
        ctx.save_for_backward(x, kernels)
        return convolve(x, pack(kernels, x.dtype)[0], len(kernels), bias=bias.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Returns the gradients of all three."""
        x, kernels = ctx.saved_tensors
        gradient, packed = channels_last(gradients[0], x.dtype), pack(kernels, x.dtype, backwards=True)[0]
        return convolve(gradient, packed, kernels.shape[1]), *weight_gradient(x, gradient)


class FrozenConv2d(nn.Conv2d):
    """A 3x3 convolution whose parameters do not train, such as VGG19's."""

    def forward(self, input: Tensor) -> Tensor:
        """Returns what the plain convolution does."""
        fits = self.in_channels % PANEL == 0 and self.out_channels % PANEL == 0
        dtype = self.weight.dtype
        ready = input.device.type == "cpu" and dtype in KINDS and is_supported(dtype) and not self.weight.requires_grad
        if not (fits and ready and _sides_fit(input, dtype)):
            return super().forward(input)
        return _Frozen.apply(input, self)

    def packed(self, *, backwards: bool) -> Tensor:
        """Returns the transformed kernels, made once for as long as the weights stay as they are."""
        known: dict[bool, tuple[tuple[int, torch.dtype], Tensor]] = self.__dict__.setdefault("_packed", {})
        version = self.weight._version, self.weight.dtype  # a module that is cast keeps the version of its weights
        if backwards not in known or known[backwards][0] != version:
            known[backwards] = version, pack(self.weight, self.weight.dtype, backwards=backwards)[0]
        return known[backwards][1]


class _Frozen(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, convolution: FrozenConv2d) -> Tensor:
        ctx.convolution = convolution
        assert convolution.bias is not None
        bias = convolution.bias.detach().float()
        x = channels_last(x, convolution.weight.dtype)
        return convolve(x, convolution.packed(backwards=False), convolution.out_channels, bias=bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        convolution = ctx.convolution
        gradient = channels_last(gradients[0], convolution.weight.dtype)
        return convolve(gradient, convolution.packed(backwards=True), convolution.in_channels), None


def can_restore(network: SRResNet, lr: Tensor) -> bool:
    """Says whether the kernels fit a network and its input; else torch computes."""
    return (
        torch.is_grad_enabled()
        and lr.device.type == "cpu"
        and is_supported(working_type())
        and network.head.out_channels == PANEL
        and network.activation.weight.numel() == 1
        and _sides_fit(lr, working_type())
    )


def _sides_fit(x: Tensor, dtype: torch.dtype) -> bool:
    multiple = KINDS[dtype].multiple
    return x.shape[-1] % multiple == 0 and x.shape[-2] % multiple == 0


def restore(network: SRResNet, lr: Tensor) -> Tensor:
    """Returns what the network's forward does; see :func:`can_restore`."""
    dtype = working_type()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        shallow = channels_last(network.activation(network.head(lr)), dtype)
    with torch.autocast("cpu", enabled=False):
        norm = network.fusion_bn
        if isinstance(norm, nn.BatchNorm2d) and not norm.training:
            y = Body.apply(shallow, *_folded_body(network))
        else:
            y = _plain_body(network, shallow)
        slope = None
        for doubling in network.upsampling:
            assert isinstance(doubling, Upsampling)
            weight = doubling.conv.weight.unflatten(0, (PANEL, 4)).transpose(0, 1).flatten(0, 1).contiguous()
            bias = doubling.conv.bias.view(PANEL, 4).t().reshape(-1)
            y = Doubling.apply(y, weight, bias, slope)
            slope = doubling.activation.weight
        assert network.tail.bias is not None
        y = Tail.apply(y, network.tail.weight, slope) + network.tail.bias.view(1, -1, 1, 1)
    return (y + 1.0) * 0.5


def _plain_body(network: SRResNet, shallow: Tensor) -> Tensor:
    """Returns the features, with batch norm's statistics of this batch, or without batch norm."""

    def convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
        return Convolution.apply(channels_last(x, shallow.dtype), layer.weight, layer.bias)

    x = shallow
    for block in network.body:
        assert isinstance(block, ResidualBlock)
        residual = block.bn1(convolved(block.conv1, x))
        x = x + block.bn2(convolved(block.conv2, block.activation(residual)))
    return channels_last(shallow + network.fusion_bn(convolved(network.fusion, x)), shallow.dtype)


def _folded_body(network: SRResNet) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the body's kernels and biases with batch norm's fixed statistics in them, and its slopes."""
    blocks = [block for block in network.body if isinstance(block, ResidualBlock)]
    layers = [pair for b in blocks for pair in ((b.conv1, b.bn1), (b.conv2, b.bn2))]
    layers.append((network.fusion, network.fusion_bn))
    kernels = torch.stack([c.weight.contiguous() for c, _ in layers])
    biases, mean, variance, gain, shift = (
        torch.stack(values)
        for values in zip(*[(c.bias, n.running_mean, n.running_var, n.weight, n.bias) for c, n in layers], strict=True)
    )
    assert isinstance(network.fusion_bn, nn.BatchNorm2d)
    scale = gain * (variance + network.fusion_bn.eps).rsqrt()
    slopes = torch.cat([b.activation.weight for b in blocks])
    return kernels * scale[:, :, None, None, None], (biases - mean) * scale + shift, slopes

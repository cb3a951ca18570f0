"""A network as a short list of plain operations: what every engine and every export format is built from.

An architecture is written down once, as a :class:`Graph` (see :mod:`fourfold.upscaling.folding`); each engine
knows these few operations and nothing about architectures. All operations keep the picture's size, except
:class:`Shuffle`, which enlarges it; convolutions are zero-padded to "same" and have stride 1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Input:
    """The picture, (N, channels, H, W), float32 in 0..1."""

    channels: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of node ``source``; weight (out, in, k, k) with odd k, bias (out,)."""

    source: int
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class PReLU:
    """``x`` where positive, ``slope * x`` where not; slope (1,) or (channels,). Slope 0 is a plain ReLU."""

    source: int
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Offset:
    """Node ``source`` plus one value per channel, (channels,), added in float32 whatever the precision is."""

    source: int
    values: Tensor


@dataclass(frozen=True, eq=False)
class Tanh:
    """The hyperbolic tangent of node ``source``."""

    source: int


@dataclass(frozen=True, eq=False)
class Sum:
    """The element-wise sum of two nodes of one shape."""

    source: int
    other: int


@dataclass(frozen=True, eq=False)
class Shuffle:
    """Channels to pixels: (N, f*f*C, H, W) to (N, C, f*H, f*W).

    Input channel ``(i * f + j) * C + c`` becomes channel ``c`` at row ``i``, column ``j`` of each f x f cell, so
    that in channels-last memory whole pixels move (ONNX calls this order DCR, OpenVINO ``blocks_first``). Torch's
    PixelShuffle orders channels ``c * f * f + i * f + j``; :func:`fourfold.upscaling.folding.regroup` converts.
    """

    source: int
    factor: int


Node = Input | Convolution | PReLU | Offset | Tanh | Sum | Shuffle


@dataclass(frozen=True, eq=False)
class Graph:
    """A folded network.

    Attributes:
        nodes: operations in order; a node reads nodes before it, by index. Node 0 is the only :class:`Input`,
            the last one is the output.
        scale: how many times as large the upscaled picture is, for the whole method.
        reads: "rgb": three channels in and out. "luma": one channel, BT.601 luma in 0..1 (studio range's
            ``(Y - 16) / 219``); the colours are enlarged by bicubic around the network.
        enlarged: the network reads the picture already enlarged by bicubic, as SRCNN and DRCN do.
    """

    nodes: tuple[Node, ...]
    scale: int
    reads: Literal["rgb", "luma"] = "rgb"
    enlarged: bool = False

    @property
    def halo_px(self) -> int:
        """Input pixels on each side that can touch an output pixel: the exact receptive field, rounded up.

        Counted in pixels of the picture before upscaling, also where the network reads an enlarged one.
        """
        reach: list[float] = []
        for node, step in zip(self.nodes, self._steps(), strict=True):
            match node:
                case Input():
                    reach.append(0.0)
                case Convolution():
                    reach.append(reach[node.source] + (node.weight.shape[2] // 2) / step)
                case Sum():
                    reach.append(max(reach[node.source], reach[node.other]))
                case _:
                    reach.append(reach[node.source])
        # bicubic reads two input pixels to each side
        return int(np.ceil(reach[-1] / (self.scale if self.enlarged else 1))) + (2 if self._uses_bicubic else 0)

    @property
    def _uses_bicubic(self) -> bool:
        return self.enlarged or self.reads == "luma"

    def _steps(self) -> list[int]:
        """Returns how many pixels of each node one input pixel has become, along one axis."""
        steps: list[int] = []
        for node in self.nodes:
            if isinstance(node, Input):
                steps.append(1)
            else:
                steps.append(steps[node.source] * (node.factor if isinstance(node, Shuffle) else 1))
        return steps

    def multiply_adds(self, height: int, width: int) -> int:
        """Returns the multiply-adds of all convolutions for a picture of that size before upscaling."""
        enlarge = self.scale if self.enlarged else 1
        pixels = height * width * enlarge * enlarge
        convolutions = zip(self.nodes, self._steps(), strict=True)
        return sum(n.weight.size * s * s * pixels for n, s in convolutions if isinstance(n, Convolution))

    def peak_values(self, in_place: bool) -> float:
        """Returns the most values alive at once, per input pixel, if each tensor is freed after its last reader.

        Args:
            in_place: whether what follows a convolution value by value takes no memory of its own.
        """
        channels, steps = self._channels(), self._steps()
        last_reader = dict(enumerate(range(len(self.nodes))))
        for index, node in enumerate(self.nodes):
            for source in sources(node):
                last_reader[source] = index
        peak = 0
        for index in range(len(self.nodes)):
            alive = {k for k in range(index + 1) if last_reader[k] >= index}
            if in_place and isinstance(self.nodes[index], PReLU | Tanh | Sum):
                alive.discard(index)
            peak = max(peak, sum(channels[k] * steps[k] ** 2 for k in alive))
        return float(peak * (self.scale**2 if self.enlarged else 1))

    def _channels(self) -> list[int]:
        channels: list[int] = []
        for node in self.nodes:
            match node:
                case Input():
                    channels.append(node.channels)
                case Convolution():
                    channels.append(node.weight.shape[0])
                case Shuffle():
                    channels.append(channels[node.source] // node.factor**2)
                case _:
                    channels.append(channels[node.source])
        return channels


def sources(node: Node) -> tuple[int, ...]:
    """Returns the indices of the nodes that a node reads."""
    match node:
        case Input():
            return ()
        case Sum():
            return (node.source, node.other)
        case _:
            return (node.source,)

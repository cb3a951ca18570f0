"""What keeps bfloat16 accurate: it has 8 significant bits, as many as the pictures themselves.

Inside the network that is enough: errors of rounding average out over hundreds of sums, and cost less than
0.001 dB. At the two ends it is not: k/255 rounded to bfloat16 shifts whole areas by up to half a grey level, and so
does an output near 1. Both cost nothing to avoid:

- The input is 255 times as large, in two parts: whole numbers, which bfloat16 holds exactly, and what is left of
  16-bit and floating-point pictures. The first convolution reads both, with the same weights.
- The output's bias, its largest part, is added after the last product, in float32.

Two of the networks on luma need more than that: SRCNN carries the brightness itself through all of its layers, where
rounded weights shift it, and DRCN ends in a sum, not in a bias. In bfloat16 their results shift by a third and by two
thirds of a grey level. They stay in float32 unless bfloat16 is asked for by name.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourfold.upscaling.graph import Convolution, Graph, Input, Node, Offset, Shuffle

Array = NDArray[np.float32]


def split(lr: Array) -> Array:
    """Returns (N, 2 * C, h, w): ``255 * lr`` as whole numbers and the rest, from (N, C, h, w) in 0..1."""
    scaled = lr * np.float32(255.0)
    whole = np.rint(scaled)
    return np.concatenate([whole, scaled - whole], axis=1)


def accurate(graph: Graph) -> Graph:
    """Returns the same network for an input as :func:`split` gives it, with its output's bias apart if it has one."""
    nodes = [_reading_split(node) for node in graph.nodes]
    match nodes[-2:]:
        case [Convolution() as last, Shuffle() as shuffle]:
            channels = last.bias.size // shuffle.factor**2
            bias = last.bias.reshape(-1, channels).mean(axis=0)
            rest = (last.bias.reshape(-1, channels) - bias).reshape(-1)
            nodes[-2] = replace(last, bias=rest)
            nodes.append(Offset(len(nodes) - 1, bias))
        case [_, Convolution() as last]:
            nodes[-1] = replace(last, bias=np.zeros_like(last.bias))
            nodes.append(Offset(len(nodes) - 1, last.bias))
    return replace(graph, nodes=tuple(nodes))


def _reading_split(node: Node) -> Node:
    match node:
        case Input():
            return Input(2 * node.channels)
        case Convolution(source=0):
            weight = node.weight / np.float32(255.0)
            return replace(node, weight=np.concatenate([weight, weight], axis=1))
        case _:
            return node

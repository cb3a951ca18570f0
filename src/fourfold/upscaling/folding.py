"""From a weights file to plain operations: batch norm folded into the convolutions, once, for every engine.

At test time batch norm is a multiplication and an addition per channel, so it disappears into the convolution
before it; the result is the same function. The other rewriting is for speed and just as exact: the
generator's last convolution reads the last pixel shuffle, and 64 channels at full size are four times 64 at half
size, see :func:`convolve_before_shuffle`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import WeightsError
from fourfold.upscaling.graph import Convolution, Graph, Input, Node, PReLU, Shuffle, Sum, Tanh
from fourfold.weights import WeightsFile

#: batch norm's epsilon in torch, where the weights were trained
BATCH_NORM_EPSILON = 1e-5

Array = NDArray[np.float32]


class Builder:
    """Collects nodes in order; every method returns the index of the node that it added."""

    def __init__(self, weights: WeightsFile, channels: int) -> None:
        self.tensors = weights.tensors
        self.nodes: list[Node] = [Input(channels)]

    def add(self, node: Node) -> int:
        """Adds any node."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def convolution(self, source: int, name: str, batch_norm: str | None = None) -> int:
        """Adds the convolution ``name`` with the batch norm that follows it, if there is one, folded in."""
        return self.add(Convolution(source, *fold(self.tensors, name, batch_norm)))

    def relu(self, source: int) -> int:
        """Adds a plain ReLU."""
        return self.add(PReLU(source, np.zeros(1, np.float32)))

    def prelu(self, source: int, name: str) -> int:
        """Adds the PReLU whose slope is ``name.weight``."""
        return self.add(PReLU(source, self.tensors[f"{name}.weight"]))


def fold(tensors: dict[str, Array], name: str, batch_norm: str | None) -> tuple[Array, Array]:
    """Returns weight and bias of a convolution with the following batch norm folded in.

    Computed in float64, so that folding adds no error of its own.
    """
    weight = tensors[f"{name}.weight"].astype(np.float64)
    bias = tensors[f"{name}.bias"].astype(np.float64)
    if batch_norm is not None and f"{batch_norm}.weight" in tensors:
        gamma, beta, mean, variance = (
            tensors[f"{batch_norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        weight = weight * factor[:, None, None, None]
        bias = (bias - mean) * factor + beta
    with np.errstate(over="ignore"):  # what becomes infinite is told of where the network gives it
        return weight.astype(np.float32), bias.astype(np.float32)


def regroup(values: Array, factor: int) -> Array:
    """Returns what is listed per channel (weights, biases, slopes) in :class:`Shuffle`'s order of channels.

    Args:
        values: (channels, ...) in the order of torch's PixelShuffle.
        factor: of the shuffle.
    """
    grouped = values.reshape(-1, factor * factor, *values.shape[1:])
    return np.ascontiguousarray(np.swapaxes(grouped, 0, 1).reshape(values.shape))


def convolve_before_shuffle(weight: Array, factor: int) -> Array:
    """Returns the weight that convolves *before* a shuffle as ``weight`` would after it.

    A convolution to a few channels at full size leaves most of a vector unit idle (three outputs where 16 fit),
    and the shuffle before it moves the largest tensor of the network. The same sums, read from the unshuffled
    channels, give ``factor**2`` times as many outputs on a grid ``factor`` times as coarse, which are shuffled
    afterwards. Zero padding stays zero padding, so the result is exact up to the order of additions.

    Args:
        weight: (out, in, k, k) with odd k.
        factor: of the shuffle.

    Returns:
        (factor**2 * out, factor**2 * in, k', k'), with channels in :class:`Shuffle`'s order on both sides.
    """
    out, channels, size, _ = weight.shape
    half = size // 2
    reach = -(-half // factor)  # coarse pixels that an offset of ``half`` can cross
    coarse = np.zeros((factor, factor, out, factor, factor, channels, 2 * reach + 1, 2 * reach + 1), np.float32)
    for row_out in range(factor):
        for column_out in range(factor):
            for dy in range(-half, half + 1):
                row, row_in = divmod(row_out + dy, factor)
                for dx in range(-half, half + 1):
                    column, column_in = divmod(column_out + dx, factor)
                    coarse[row_out, column_out, :, row_in, column_in, :, row + reach, column + reach] = weight[
                        :, :, dy + half, dx + half
                    ]
    return coarse.reshape(factor**2 * out, factor**2 * channels, 2 * reach + 1, 2 * reach + 1)


def _srresnet(weights: WeightsFile) -> Graph:
    """SRResNet, SRGAN's generator (Ledig et al. 2017, figure 4); see ``fourfold.networks.SRResNet``."""
    parameters = weights.config.parameters
    net = Builder(weights, channels=3)
    shallow = net.prelu(net.convolution(0, "head"), "activation")
    x = shallow
    for k in range(parameters["blocks"]):
        block = f"body.{k}"
        residual = net.convolution(x, f"{block}.conv1", f"{block}.bn1")
        residual = net.convolution(net.prelu(residual, f"{block}.activation"), f"{block}.conv2", f"{block}.bn2")
        x = net.add(Sum(residual, x))
    x = net.add(Sum(net.convolution(x, "fusion", "fusion_bn"), shallow))
    doublings = parameters["scale"].bit_length() - 1
    for k in range(doublings):
        x = _upsampling(net, x, f"upsampling.{k}", parameters["width"])
        if k < doublings - 1:
            x = net.add(Shuffle(x, 2))
    weight, bias = fold(net.tensors, "tail", None)
    # the network's own -1..1 to 0..1
    weight, bias = weight * np.float32(0.5), bias * np.float32(0.5) + np.float32(0.5)
    x = net.add(Convolution(x, convolve_before_shuffle(weight, 2), np.tile(bias, 4)))
    net.add(Shuffle(x, 2))
    return Graph(tuple(net.nodes), parameters["scale"])


def _upsampling(net: Builder, x: int, name: str, width: int) -> int:
    """Adds a doubling without its shuffle: the PReLU is per value, so it may come first."""
    weight, bias = fold(net.tensors, f"{name}.conv", None)
    x = net.add(Convolution(x, regroup(weight, 2), regroup(bias, 2)))
    slope = net.tensors[f"{name}.activation.weight"]
    return net.add(PReLU(x, slope if slope.size == 1 else np.tile(slope, 4)))


def _srcnn(weights: WeightsFile) -> Graph:
    """SRCNN (Dong et al. 2014): three convolutions on the enlarged luma; see ``fourfold.networks.SRCNN``."""
    net = Builder(weights, channels=1)
    x = net.relu(net.convolution(0, "conv1"))
    x = net.relu(net.convolution(x, "conv2"))
    net.convolution(x, "conv3")
    return Graph(tuple(net.nodes), weights.config.parameters["scale"], reads="luma", enlarged=True)


def _espcn(weights: WeightsFile) -> Graph:
    """ESPCN (Shi et al. 2016): three convolutions on the luma and a shuffle; see ``fourfold.networks.ESPCN``."""
    parameters = weights.config.parameters
    net = Builder(weights, channels=1)
    x = 0
    for name in ("conv1", "conv2"):
        x = net.convolution(x, name)
        x = net.add(Tanh(x)) if parameters["activation"] == "tanh" else net.relu(x)
    # with one channel both orders of a shuffle are the same
    net.add(Shuffle(net.convolution(x, "conv3"), parameters["scale"]))
    return Graph(tuple(net.nodes), parameters["scale"], reads="luma")


def _drcn(weights: WeightsFile) -> Graph:
    """DRCN (Kim et al. 2016): one convolution over and over, all results mixed; see ``fourfold.networks.DRCN``."""
    parameters = weights.config.parameters
    net = Builder(weights, channels=1)
    mix = net.tensors["mix"]
    hidden = net.relu(net.convolution(net.relu(net.convolution(0, "embed1")), "embed2"))
    weight, bias = fold(net.tensors, "reconstruct2", None)
    again = {name: fold(net.tensors, name, None) for name in ("recursion", "reconstruct1")}  # one array for all uses
    # every prediction adds the enlarged luma, and the predictions are weighed: one multiple of it in the end
    total = net.add(Convolution(0, mix.sum().reshape(1, 1, 1, 1), np.zeros(1, np.float32)))
    for share in mix:
        hidden = net.relu(net.add(Convolution(hidden, *again["recursion"])))
        detail = net.relu(net.add(Convolution(hidden, *again["reconstruct1"])))
        total = net.add(Sum(net.add(Convolution(detail, weight * share, bias * share)), total))
    return Graph(tuple(net.nodes), parameters["scale"], reads="luma", enlarged=True)


#: architecture -> its graph. A new architecture needs a row here and nothing else in this room: write its
#: operations with :class:`Builder`; a network on luma alone says ``reads="luma"``, one that wants its input
#: enlarged first says ``enlarged=True``, and :mod:`fourfold.upscaling.luma` does the rest for every engine.
ARCHITECTURES: dict[str, Callable[[WeightsFile], Graph]] = {
    "srresnet": _srresnet,
    "srcnn": _srcnn,
    "espcn": _espcn,
    "drcn": _drcn,
}


def folded(weights: WeightsFile) -> Graph:
    """Returns a weights file's network as plain operations.

    Raises:
        WeightsError: if no graph is known for its architecture.
    """
    architecture = weights.config.architecture
    if architecture not in ARCHITECTURES:
        raise WeightsError(
            f"{weights.path}: no engine runs the architecture {architecture!r}; they run {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[architecture](weights)

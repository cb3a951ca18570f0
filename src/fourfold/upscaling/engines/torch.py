"""The engine for GPUs, and for CPUs where torch is installed anyway: the graph in torch, channels last."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fourfold.errors import EngineError
from fourfold.upscaling.bfloat16 import accurate, split
from fourfold.upscaling.engines import OutOfMemoryError
from fourfold.upscaling.graph import Convolution, Graph, Input, Node, Offset, PReLU, Shuffle, Sum, Tanh, sources

_DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16}


def best_device() -> str:
    """Returns "cuda", "mps" or "cpu": the fastest device that torch can use here."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def has_fast_bf16(device: str | None = None) -> bool:
    """Says whether the device multiplies bfloat16 in hardware."""
    device = device or best_device()
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


#: cuDNN's setting is of the whole process.
_one_at_a_time = threading.Lock()


@contextmanager
def whole_float32() -> Iterator[None]:
    """Lets convolutions multiply float32 as it is, in its context.

    Unless told otherwise, cuDNN rounds their factors to TensorFloat-32, which has 11 significant bits: 16-bit pictures
    would lose their last five.
    """
    cudnn = torch.backends.cudnn
    setting: tuple[object, str] = (cudnn.conv, "fp32_precision") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32")
    with _one_at_a_time:
        before = getattr(*setting)
        setattr(*setting, "ieee" if isinstance(before, str) else False)  # torch before 2.9 has but a switch
        try:
            yield
        finally:
            setattr(*setting, before)


class TorchEngine:
    """Runs a graph with torch on a CUDA device, Apple's MPS or the CPU.

    Args:
        graph: the folded network.
        precision: "fp32", TensorFloat-32 excluded, or "bf16": products in bfloat16, sums in float32.
        device: such as "cuda:1" or "cpu"; None for the fastest.

    Raises:
        EngineError: if the device is not there.
    """

    def __init__(self, graph: Graph, precision: str = "fp32", device: str | None = None) -> None:
        self.name = "torch"
        self.precision = precision
        self.device = device or best_device()
        self.scale = 1 if graph.enlarged else graph.scale
        try:
            network = GraphModule(accurate(graph) if precision == "bf16" else graph, _DTYPE[precision])
            self._network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            raise EngineError(f"torch cannot use the device {self.device!r}: {error}") from error

    @torch.inference_mode()
    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns (N, C, scale * h, scale * w) from (N, C, h, w) in 0..1; see :class:`.Engine`."""
        try:
            parts = np.ascontiguousarray(split(lr) if self.precision == "bf16" else lr, np.float32)
            x = torch.from_numpy(parts).to(self.device, _DTYPE[self.precision])
            with whole_float32() if self.precision == "fp32" else nullcontext():
                sr = self._network(x.contiguous(memory_format=torch.channels_last))
            return sr.float().contiguous().cpu().numpy()
        except (torch.cuda.OutOfMemoryError, MemoryError) as error:
            torch.cuda.empty_cache() if self.device.startswith("cuda") else None
            raise OutOfMemoryError(f"no memory for a tile of {lr.shape[3]}x{lr.shape[2]}") from error
        except RuntimeError as error:
            if "alloc" in str(error).lower() or "out of memory" in str(error).lower():
                raise OutOfMemoryError(f"no memory for a tile of {lr.shape[3]}x{lr.shape[2]}") from error
            raise EngineError(f"torch failed: {error}") from error


class GraphModule(torch.nn.Module):
    """A graph as a torch module: (N, C, h, w) to (N, C, s * h, s * w).

    The tensors of node ``k`` are buffers, ``weight_<k>`` and ``bias_<k>``, ``slope_<k>`` or ``offset_<k>``.

    Args:
        graph: the folded network.
        dtype: of weights and activations; offsets stay float32.
    """

    def __init__(self, graph: Graph, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.nodes = graph.nodes
        for index, node in enumerate(graph.nodes):
            if isinstance(node, Convolution):
                self.register_buffer(f"weight_{index}", torch.from_numpy(node.weight.copy()).to(dtype))
                self.register_buffer(f"bias_{index}", torch.from_numpy(node.bias.copy()).to(dtype))
            elif isinstance(node, PReLU):
                self.register_buffer(f"slope_{index}", torch.from_numpy(node.slope.copy()).to(dtype))
            elif isinstance(node, Offset):
                self.register_buffer(f"offset_{index}", torch.from_numpy(node.values.copy()).view(1, -1, 1, 1))

    def forward(self, lr: Tensor) -> Tensor:
        """Returns the output of the last node."""
        last_reader = _last_readers(self.nodes)
        values: dict[int, Tensor] = {}
        for index, node in enumerate(self.nodes):
            values[index] = self._operation(index, node, values, lr)
            for used in [k for k in values if last_reader.get(k) == index]:
                del values[used]  # its memory is free for the next operation
        return values[len(self.nodes) - 1]

    def _operation(self, index: int, node: Node, values: dict[int, Tensor], lr: Tensor) -> Tensor:
        match node:
            case Input():
                return lr
            case Convolution():
                weight, bias = self.get_buffer(f"weight_{index}"), self.get_buffer(f"bias_{index}")
                return functional.conv2d(values[node.source], weight, bias, padding=weight.shape[2] // 2)
            case PReLU():
                return functional.prelu(values[node.source], self.get_buffer(f"slope_{index}"))
            case Offset():
                return values[node.source].float() + self.get_buffer(f"offset_{index}")
            case Tanh():
                return values[node.source].tanh()
            case Sum():
                return values[node.source] + values[node.other]
            case Shuffle():
                return shuffle(values[node.source], node.factor)


def shuffle(x: Tensor, factor: int) -> Tensor:
    """Returns (N, C, f*H, f*W) from (N, f*f*C, H, W) in the order of :class:`.Shuffle`, moving whole pixels."""
    batch, channels, height, width = x.shape
    out = channels // factor**2
    cells = x.permute(0, 2, 3, 1).reshape(batch, height, width, factor, factor, out)
    pixels = cells.permute(0, 1, 3, 2, 4, 5).reshape(batch, factor * height, factor * width, out)
    return pixels.permute(0, 3, 1, 2)


def _last_readers(nodes: tuple[Node, ...]) -> dict[int, int]:
    readers: dict[int, int] = {}
    for index, node in enumerate(nodes):
        readers.update(dict.fromkeys(sources(node), index))
    return readers

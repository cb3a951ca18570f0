"""The engine for CPUs: the graph in OpenVINO's own operators, any picture size, bf16 where the processor has it."""

import threading
from functools import lru_cache
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from fourfold.errors import EngineError
from fourfold.upscaling.bfloat16 import accurate, split
from fourfold.upscaling.engines import OutOfMemoryError
from fourfold.upscaling.graph import Convolution, Graph, Input, Node, Offset, PReLU, Shuffle, Sum, Tanh

_PRECISION = {"fp32": "f32", "bf16": "bf16"}

#: OpenVINO keeps what it has prepared for every size of input, 2 MB each for SRResNet, and forgets nothing. After so
#: many sizes it begins anew, in a tenth of a second.
MOST_SIZES = 16


class OpenvinoEngine:
    """Runs a graph with OpenVINO on the CPU; one picture size after the other, without recompiling.

    Args:
        graph: the folded network.
        precision: "fp32", or "bf16": products in bfloat16, sums in float32.
        threads: CPU threads, 0 for all.

    Raises:
        EngineError: if OpenVINO cannot compile the network here.
    """

    def __init__(self, graph: Graph, precision: str = "fp32", threads: int = 0) -> None:
        self.name = "openvino"
        self.precision = precision
        self.device = "cpu"
        self.scale = 1 if graph.enlarged else graph.scale
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _PRECISION[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._graph = accurate(graph) if precision == "bf16" else graph
        self._one_at_a_time = threading.Lock()  # the request holds one run's input and output
        self._request: ov.InferRequest | None = self._compiled()
        self._sizes: set[tuple[int, ...]] = set()

    def _compiled(self) -> "ov.InferRequest":
        try:
            return _core().compile_model(build(self._graph), "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile the network: {_first_line(error)}") from error

    def _request_for(self, size: tuple[int, ...]) -> "ov.InferRequest":
        """Returns the request, a new one where one more size would be one too many."""
        if size not in self._sizes and len(self._sizes) >= MOST_SIZES:
            self._request, self._sizes = None, set()  # first, or both were there at once
        if self._request is None:  # also where there was no memory for it the last time
            self._request = self._compiled()
        self._sizes.add(size)
        return self._request

    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns (N, C, scale * h, scale * w) from (N, C, h, w) in 0..1; see :class:`.Engine`."""
        x = np.ascontiguousarray(split(lr) if self.precision == "bf16" else lr, np.float32)
        try:
            # shared memory in: no copy; the result is copied, because the next run overwrites it
            with self._one_at_a_time:
                request = self._request_for(x.shape)
                request.infer([x], share_inputs=True)
                return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        except MemoryError as error:
            raise OutOfMemoryError(f"no memory for a tile of {lr.shape[3]}x{lr.shape[2]}") from error
        except RuntimeError as error:
            if "alloc" in str(error).lower() or "memory" in str(error).lower():
                raise OutOfMemoryError(f"no memory for a tile of {lr.shape[3]}x{lr.shape[2]}") from error
            raise EngineError(f"OpenVINO failed: {_first_line(error)}") from error


def build(graph: Graph) -> "ov.Model":
    """Returns the graph as an OpenVINO model: input (?, C, ?, ?), named "lr", output named "sr"."""
    built: list[Any] = []
    for node in graph.nodes:
        built.append(operation(node, built))
    built[-1].output(0).set_names({"sr"})
    return ov.Model([ops.result(built[-1])], [built[0]], "fourfold")


def operation(node: Node, built: list[Any]) -> Any:
    """Returns a node as OpenVINO's operation, reading the operations of the nodes before it."""
    match node:
        case Input():
            parameter = ops.parameter([-1, node.channels, -1, -1], np.float32, name="lr")
            parameter.output(0).set_names({"lr"})
            return parameter
        case Convolution():
            pad = [node.weight.shape[2] // 2] * 2
            sums = ops.convolution(built[node.source], ops.constant(node.weight), [1, 1], pad, pad, [1, 1])
            return ops.add(sums, ops.constant(node.bias.reshape(1, -1, 1, 1)))
        case PReLU():
            return ops.prelu(built[node.source], ops.constant(node.slope))
        case Offset():
            return ops.add(built[node.source], ops.constant(node.values.reshape(1, -1, 1, 1)))
        case Tanh():
            return ops.tanh(built[node.source])
        case Sum():
            return ops.add(built[node.source], built[node.other])
        case Shuffle():
            return ops.depth_to_space(built[node.source], "blocks_first", node.factor)


@lru_cache(maxsize=1)
def _core() -> "ov.Core":
    return ov.Core()


def has_fast_bf16() -> bool:
    """Says whether this processor multiplies bfloat16 in hardware.

    Raises:
        EngineError: if OpenVINO cannot compute on this processor, as without its plugin for it.
    """
    try:
        return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot use this processor: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Returns the last telling line of OpenVINO's multi-line messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

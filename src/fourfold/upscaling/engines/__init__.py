"""The engines that run a network on tiles, and the choice between them."""

import importlib.util
import sys
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EngineError, UsageError
from fourfold.upscaling.graph import Graph

# Importing OpenVINO reports that to an analytics service, unasked and from a forked process, unless its telemetry
# package is missing; for this process it is. Pictures and habits stay on the machine.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

EngineName = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "fp32", "bf16"]

ENGINES = ("openvino", "torch")
PRECISIONS = ("fp32", "bf16")


class OutOfMemoryError(EngineError):
    """The engine has no memory for an input of this size; a smaller one may fit."""


class Engine(Protocol):
    """Runs one folded network. Several threads may call it; their runs may have to wait for each other.

    Attributes:
        name: "openvino" or "torch".
        precision: "fp32" or "bf16": what the large products are computed in.
        device: where, in words, such as "cpu" or "cuda:0".
        scale: enlargement by the network itself: 1 where it reads an enlarged picture.
    """

    name: str
    precision: str
    device: str
    scale: int

    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns (N, C, scale * h, scale * w), not clamped, from (N, C, h, w) in 0..1; both float32, C-contiguous.

        Raises:
            OutOfMemoryError: if the input is too large for the memory there is.
            EngineError: if the engine fails otherwise.
        """
        ...


def check_names(engine: str, precision: str) -> None:
    """Refuses an engine or a precision that there is not, without loading any.

    Raises:
        UsageError: naming those that there are.
    """
    for kind, name, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if name not in ("auto", *known):
            raise UsageError(f"no {kind} {name!r}; there are auto, {', '.join(known)}")


def choose(engine: str, precision: str, graph: Graph) -> tuple[str, str]:
    """Returns the engine and the precision that "auto" stands for here.

    The torch engine is chosen where torch is installed and has a GPU, or is all there is; elsewhere OpenVINO, which is
    the faster one on a CPU. The precision is that of 8-bit pictures, see :func:`auto_precision`; the small networks on
    luma are there to be measured, and stay in fp32. On a processor without bfloat16, OpenVINO's precision is fp32 even
    where bf16 is asked for; torch does as it is told, slowly.

    Raises:
        UsageError: for a name that does not exist.
        EngineError: if the engine is not installed.
    """
    check_names(engine, precision)
    if engine == "auto":
        engine = "torch" if _torch_has_gpu() or available() == ["torch"] else "openvino"
    check_installed(engine)  # what its processor can do, it tells itself
    if precision == "auto":
        precision = auto_precision(engine) if graph.reads == "rgb" else "fp32"
    if precision == "bf16" and engine == "openvino" and not _fast_bf16(engine):
        precision = "fp32"  # what OpenVINO computes in there, whatever it is asked for
    return engine, precision


def auto_precision(engine: str, dtype: Any = np.uint8) -> str:
    """Returns the precision that "auto" stands for, for pictures of a dtype and networks on RGB.

    bf16 where the engine's processor multiplies it in hardware, for 8-bit pictures only: its results have no finer
    steps than they, and would leave 16 bits and floating point with 8.
    """
    return "bf16" if np.dtype(dtype) == np.uint8 and _fast_bf16(engine) else "fp32"


def create(graph: Graph, engine: str = "auto", precision: str = "auto") -> Engine:
    """Returns an engine that runs ``graph``.

    Args:
        graph: the folded network.
        engine: "auto", "openvino" or "torch".
        precision: "auto", "fp32" or "bf16".

    Raises:
        UsageError: for an engine or precision that does not exist.
        EngineError: if the engine is not installed or cannot run here.
    """
    try:
        return _created(graph, *choose(engine, precision, graph))
    except (ImportError, OSError) as error:
        raise EngineError(
            f"an engine is installed, but cannot be loaded: {error}; `fourfold doctor` tells which engines work here"
        ) from error


def _created(graph: Graph, engine: str, precision: str) -> Engine:
    if engine == "torch":
        from fourfold.upscaling.engines.torch import TorchEngine

        return TorchEngine(graph, precision)
    from fourfold.upscaling.engines.openvino import OpenvinoEngine

    return OpenvinoEngine(graph, precision)


def available() -> list[str]:
    """Returns the engines whose library is installed."""
    return [name for name in ENGINES if importlib.util.find_spec(name) is not None]


def check_installed(engine: str) -> None:
    """Refuses an engine whose library is not installed, without loading it; "auto" finds one itself.

    Raises:
        EngineError: saying how to install it.
    """
    if engine != "auto" and engine not in available():
        package = "fourfold[torch]" if engine == "torch" else engine
        raise EngineError(f"the {engine} engine needs {engine}, which is not installed; pip install '{package}'")


def _torch_has_gpu() -> bool:
    """Looks for a GPU that torch can use; torch takes seconds to import, so only where a GPU is likely."""
    if importlib.util.find_spec("torch") is None or not _gpu_is_likely():
        return False
    from fourfold.upscaling.engines.torch import best_device

    return best_device() != "cpu"


def _gpu_is_likely() -> bool:
    import ctypes.util
    import sys

    # NVIDIA's driver has one name on Linux and another on Windows
    return sys.platform == "darwin" or any(map(ctypes.util.find_library, ("cuda", "nvcuda", "amdhip64")))


def _fast_bf16(engine: str) -> bool:
    if engine == "openvino":
        from fourfold.upscaling.engines.openvino import has_fast_bf16
    else:
        from fourfold.upscaling.engines.torch import has_fast_bf16
    return has_fast_bf16()

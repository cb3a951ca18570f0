"""The compiled kernels: built for this processor when they are first used, kept in the user's cache folder."""

import ctypes
import hashlib
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from fourfold.errors import EngineError
from fourfold.networks.vgg19_weights import cache_folder

#: Maps that the kernels compute together.
PANEL = 64

_FOLDER = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC", "-w")

_I, _F, _P = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
_ARGUMENTS = {
    "winograd_convolve": [_P, _I, _I, _I, _I, _I, _P, _P, _I, _I, _P, _P, _P, _F, _P, _P],
    "winograd_weight_gradient": [_P, _I, _I, _I, _I, _I, _P, _P, _I, _I, _P, _P],
    "winograd_pack": [_P, _I, _I, _I, _I, _P],
    "winograd_unpack": [_P, _I, _I, _P],
    "tail_forward": [_P, _I, _I, _I, _F, _P, _P],
    "tail_backward": [_P, _P, _I, _I, _I, _F, _P, _P, _P, _P],
}


@dataclass(frozen=True)
class Kind:
    """One of the two sets of kernels.

    Attributes:
        sources: what is compiled; headers, too.
        needs: what the processor must have, as /proc/cpuinfo writes it.
        needs_words: the same for people.
        positions: places in a window, (m + 2)^2 of F(m x m, 3x3).
        multiple: what the sides of a picture must be multiples of.
    """

    sources: tuple[str, ...]
    needs: frozenset[str]
    needs_words: str
    positions: int
    multiple: int


KINDS = {
    torch.bfloat16: Kind(
        ("pictures.h", "vectors.h", "convolution.cpp", "tail.cpp"), frozenset({"avx512_bf16"}), "AVX-512 BF16", 16, 2
    ),
    torch.float32: Kind(
        ("pictures.h", "vectors_fp32.h", "convolution_fp32.cpp", "tail_fp32.cpp"),
        frozenset({"avx2", "fma"}),
        "AVX2 and FMA",
        36,
        1,
    ),
}


def is_supported(dtype: torch.dtype) -> bool:
    """Says whether this processor has what the kernels of a type, bfloat16 or float32, are written for."""
    return platform.machine() == "x86_64" and KINDS[dtype].needs <= set(_processor().split())


def working_type() -> torch.dtype:
    """Returns the type to compute in: bfloat16 where autocast asks for it and the processor has it, else float32."""
    wanted = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return torch.bfloat16 if wanted and is_supported(torch.bfloat16) else torch.float32


@lru_cache(maxsize=1)
def _processor() -> str:
    """Returns what the processor has, as Linux tells it; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("flags")), "")


@lru_cache(maxsize=2)
def library(dtype: torch.dtype) -> ctypes.CDLL:
    """Returns the kernels of a type, compiled if they are not yet.

    Raises:
        EngineError: if this processor or its compiler cannot.
    """
    kind = KINDS[dtype]
    if not is_supported(dtype):
        raise EngineError(f"the kernels need a processor with {kind.needs_words}, and Linux")
    compiled = cache_folder() / f"winograd-{_digest(kind)[:16]}.so"
    try:
        if not compiled.exists():
            compiled.parent.mkdir(parents=True, exist_ok=True)
            _compile(kind, compiled)
        loaded = ctypes.CDLL(str(compiled))
    except OSError as error:
        place = f"{compiled.parent} ({error}); FOURFOLD_CACHE names another folder"
        raise EngineError(f"the kernels cannot be kept in {place}") from error
    for name, arguments in _ARGUMENTS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded


def _digest(kind: Kind) -> str:
    """Returns what a build depends on, in short: sources, flags and processor; a cache may serve several machines."""
    parts = [
        *((_FOLDER / name).read_bytes() for name in kind.sources),
        " ".join(_FLAGS).encode(),
        _processor().encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _compile(kind: Kind, target: Path) -> None:
    """Builds beside its place and renames: several processes may do so at once."""
    sources = [str(_FOLDER / name) for name in kind.sources if name.endswith(".cpp")]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        draft = Path(folder) / target.name
        try:
            subprocess.run(["g++", *_FLAGS, "-o", str(draft), *sources], check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise EngineError("the kernels are compiled with g++, which is not installed") from error
        except subprocess.CalledProcessError as error:
            raise EngineError(f"g++ cannot compile the kernels: {error.stderr[:500]}") from error
        draft.replace(target)


def channels_last(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns a picture as the kernels want it: (N, C, H, W) of their type, with the maps of a pixel together."""
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def address(x: Tensor | None) -> int | None:
    """Returns where a tensor's values begin."""
    return None if x is None else x.data_ptr()


def pack(kernels: Tensor, dtype: torch.dtype, *, backwards: bool = False) -> Tensor:
    """Returns the transformed kernels of layers of one shape, a row for each layer.

    Args:
        kernels: (layers, outputs, inputs, 3, 3) or (outputs, inputs, 3, 3); multiples of 64.
        dtype: of the pictures.
        backwards: for the gradient of the inputs: maps exchanged, kernels turned by half a turn.
    """
    kernels = kernels.detach().float().contiguous()
    outputs, inputs = kernels.shape[-4:-2]
    layers = kernels.numel() // (outputs * inputs * 9)
    packed = torch.empty(layers, KINDS[dtype].positions * outputs * inputs, dtype=dtype)
    library(dtype).winograd_pack(kernels.data_ptr(), layers, outputs, inputs, int(backwards), packed.data_ptr())
    return packed


def convolve(
    x: Tensor,
    packed: Tensor,
    outputs: int,
    *,
    from_shuffled: bool = False,
    to_shuffled: bool = False,
    slope: float | None = None,
    bias: Tensor | None = None,
    gate: Tensor | None = None,
    gate_slope: float = 0.0,
    slope_gradient: Tensor | None = None,
    added: Tensor | None = None,
) -> Tensor:
    """Returns a 3x3 convolution, zero-padded.

    Args:
        x: (N, C, H, W) as from :func:`channels_last`; even sides in bfloat16.
        packed: the layer's row of :func:`pack`.
        outputs: maps of the result.
        from_shuffled: ``x`` is (N, 64, 2H, 2W) and holds 256 maps, as after PixelShuffle x2 of ShuffleConv2d's order.
        to_shuffled: the same of the result.
        slope: of a PReLU before the convolution.
        bias: (outputs), float32.
        gate: the input of a PReLU, of which the result is the gradient; what comes back is that of its input.
        gate_slope: of that PReLU.
        slope_gradient: one float64, takes up the gradient of that slope.
        added: added to the result; like the result.
    """
    pictures, maps, height, width = x.shape
    if from_shuffled:
        maps, height, width = 4 * maps, height // 2, width // 2
    shape = (pictures, outputs // 4, 2 * height, 2 * width) if to_shuffled else (pictures, outputs, height, width)
    y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    before = None if slope is None else ctypes.byref(ctypes.c_float(slope))
    library(x.dtype).winograd_convolve(
        x.data_ptr(), pictures, height, width, maps, int(from_shuffled), before, packed.data_ptr(), outputs,
        int(to_shuffled), y.data_ptr(), address(bias), address(gate), gate_slope, address(slope_gradient),
        address(added),
    )  # fmt: skip
    return y


def weight_gradient(
    x: Tensor, gradient: Tensor, *, shuffled: bool = False, slope: float | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of kernels, (outputs, inputs, 3, 3), and bias, (outputs), in float32.

    Args:
        x: the convolution's input, before a PReLU if there was a slope.
        gradient: of its result.
        shuffled: the result was shuffled.
        slope: of the PReLU before the convolution.
    """
    pictures, inputs, height, width = x.shape
    outputs = gradient.shape[1] * (4 if shuffled else 1)
    packed, bias = torch.zeros(KINDS[x.dtype].positions * inputs * outputs), torch.zeros(outputs)
    before = None if slope is None else ctypes.byref(ctypes.c_float(slope))
    library(x.dtype).winograd_weight_gradient(
        x.data_ptr(), pictures, height, width, inputs, 0, before, gradient.data_ptr(), outputs, int(shuffled),
        packed.data_ptr(), bias.data_ptr(),
    )  # fmt: skip
    kernels = torch.empty(outputs, inputs, 3, 3)
    library(x.dtype).winograd_unpack(packed.data_ptr(), outputs, inputs, kernels.data_ptr())
    return kernels, bias

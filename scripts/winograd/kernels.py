"""The compiled kernels: built for this processor when they are first used, kept in the user's cache folder."""

import ctypes
import hashlib
import platform
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from fourfold.errors import EngineError
from fourfold.networks.vgg19_weights import cache_folder

#: Maps that the kernels compute together.
PANEL = 64
#: Places in a 4x4 tile.
POSITIONS = 16

_FOLDER = Path(__file__).parent
_SOURCES = ("vectors.h", "convolution.cpp", "tail.cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-w")

_I, _F, _P = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
_ARGUMENTS = {
    "winograd_convolve": [_P, _I, _I, _I, _I, _I, _P, _P, _I, _I, _P, _P, _P, _F, _P, _P],
    "winograd_weight_gradient": [_P, _I, _I, _I, _I, _I, _P, _P, _I, _I, _P, _P],
    "winograd_pack": [_P, _I, _I, _I, _I, _P],
    "winograd_unpack": [_P, _I, _I, _P],
    "tail_forward": [_P, _I, _I, _I, _F, _P, _P],
    "tail_backward": [_P, _P, _I, _I, _I, _F, _P, _P, _P, _P],
}


def is_supported() -> bool:
    """Says whether this processor multiplies bfloat16 in AVX-512 registers, as the kernels do."""
    try:
        return platform.machine() == "x86_64" and "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Returns the kernels, compiled if they are not yet.

    Raises:
        EngineError: if this processor or its compiler cannot.
    """
    if not is_supported():
        raise EngineError("the kernels need a processor with AVX-512 BF16 and Linux")
    compiled = cache_folder() / f"winograd-{_digest()[:16]}.so"
    try:
        if not compiled.exists():
            compiled.parent.mkdir(parents=True, exist_ok=True)
            _compile(compiled)
        loaded = ctypes.CDLL(str(compiled))
    except OSError as error:
        place = f"{compiled.parent} ({error}); FOURFOLD_CACHE names another folder"
        raise EngineError(f"the kernels cannot be kept in {place}") from error
    for name, arguments in _ARGUMENTS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded


def _digest() -> str:
    """Returns what a build depends on, in short: sources, flags and processor; a cache may serve several machines."""
    processor = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("flags")), "")
    parts = [*((_FOLDER / name).read_bytes() for name in _SOURCES), " ".join(_FLAGS).encode(), processor.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _compile(target: Path) -> None:
    """Builds beside its place and renames: several processes may do so at once."""
    sources = [str(_FOLDER / name) for name in _SOURCES if name.endswith(".cpp")]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        draft = Path(folder) / target.name
        try:
            subprocess.run(["g++", *_FLAGS, "-o", str(draft), *sources], check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise EngineError("the kernels are compiled with g++, which is not installed") from error
        except subprocess.CalledProcessError as error:
            raise EngineError(f"g++ cannot compile the kernels: {error.stderr[:500]}") from error
        draft.replace(target)


def channels_last(x: Tensor) -> Tensor:
    """Returns a picture as the kernels want it: bfloat16, (N, C, H, W) with the maps of a pixel together."""
    return x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)


def address(x: Tensor | None) -> int | None:
    """Returns where a tensor's values begin."""
    return None if x is None else x.data_ptr()


def pack(kernels: Tensor, *, backwards: bool = False) -> Tensor:
    """Returns the transformed kernels of layers of one shape, a row for each layer.

    Args:
        kernels: (layers, outputs, inputs, 3, 3) or (outputs, inputs, 3, 3); multiples of 64.
        backwards: for the gradient of the inputs: maps exchanged, kernels turned by half a turn.
    """
    kernels = kernels.detach().float().contiguous()
    outputs, inputs = kernels.shape[-4:-2]
    layers = kernels.numel() // (outputs * inputs * 9)
    packed = torch.empty(layers, POSITIONS * outputs * inputs, dtype=torch.bfloat16)
    library().winograd_pack(kernels.data_ptr(), layers, outputs, inputs, int(backwards), packed.data_ptr())
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
        x: (N, C, H, W) as from :func:`channels_last`, even sides.
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
    y = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)
    before = None if slope is None else ctypes.byref(ctypes.c_float(slope))
    library().winograd_convolve(
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
    packed, bias = torch.zeros(POSITIONS * inputs * outputs), torch.zeros(outputs)
    before = None if slope is None else ctypes.byref(ctypes.c_float(slope))
    library().winograd_weight_gradient(
        x.data_ptr(), pictures, height, width, inputs, 0, before, gradient.data_ptr(), outputs, int(shuffled),
        packed.data_ptr(), bias.data_ptr(),
    )  # fmt: skip
    kernels = torch.empty(outputs, inputs, 3, 3)
    library().winograd_unpack(packed.data_ptr(), outputs, inputs, kernels.data_ptr())
    return kernels, bias

"""A network for other programs: ONNX, OpenVINO IR, and safetensors with the plain keys of its torch module.

Each file is read back after it was written and run beside Fourfold's own engine on a test picture; one that does not
give the same is deleted.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import EngineError, OutputExistsError, UsageError, WeightsError
from fourfold.places import is_folder, is_stream, why_unseen
from fourfold.upscaling.engines import create
from fourfold.upscaling.folding import folded
from fourfold.upscaling.graph import Convolution, Graph, Input, Node, Offset, PReLU, Shuffle, Sum, Tanh
from fourfold.version import __version__
from fourfold.weights import WeightsFile

#: Largest difference from Fourfold's fp32 engine, for values in about 0..1: what fp32 leaves of 1e-7 a sum.
TOLERANCE = 1e-4

#: Understood by every ONNX program of the last years; nothing newer is needed.
_ONNX_OPSET, _ONNX_IR = 13, 8

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        format: "onnx", "openvino" or "safetensors".
        paths: the files; OpenVINO's format is a pair.
        size: bytes in all.
        difference: largest absolute difference from Fourfold's fp32 engine on the test picture.
        checked_with: what read and ran the files.
    """

    format: str
    paths: tuple[Path, ...]
    size: int
    difference: float
    checked_with: str


def export(weights: WeightsFile, path: str | Path, *, overwrite: bool = False) -> Exported:
    """Writes a network in the format that the file name's ending asks for, and checks it.

    The input is "lr", (N, 3, H, W), float32 RGB in 0..1 of any size; the output "sr", (N, 3, s*H, s*W), about 0..1
    and not clamped. Networks on luma have one channel in and out, and those on enlarged pictures keep the size.

    Args:
        weights: the network.
        path: ends in .onnx, .xml (OpenVINO, with the .bin beside it) or .safetensors.
        overwrite: replace files that are there.

    Raises:
        UsageError: for another ending.
        OutputExistsError: if a file is there.
        WeightsError: if a file cannot be written, or a folder has its name.
        EngineError: if what was written does not give what Fourfold's engine gives.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path}: cannot export to {path.suffix or 'a name without an ending'}; {_ENDINGS}")
    format, write, run = FORMATS[suffix]
    targets = (path, path.with_suffix(".bin")) if format == "openvino" else (path,)
    for target in targets:
        reason = why_unseen(target)
        if reason is not None:
            raise WeightsError(f"{target}: cannot write it ({reason})")
        if is_folder(target):  # a move would put the file into it
            raise WeightsError(f"{target} is a folder; name a file in it")
        if is_stream(target):  # a move would put the file in its place
            raise WeightsError(f"{target} is no file; what is exported is read back, so name a file")
        if target.exists() and not overwrite:
            raise OutputExistsError(f"{target} exists; give --overwrite to replace it, or another name")
    if not is_folder(path.parent):
        raise WeightsError(f"{path}: there is no folder {path.parent}")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            # a name that every library takes, whatever the file's own; OpenVINO knows its endings in lower case only
            draft = (Path(folder) / "network").with_suffix(suffix)
            write(weights, draft)
            difference, checked_with = _check(weights, draft, run)
            for target in reversed(targets):  # what is opened comes last: a new one must not meet old numbers
                shutil.move(draft.with_suffix(target.suffix.lower()), target)
    except OSError as error:
        raise WeightsError(f"{path}: cannot write it ({error.strerror or error})") from error
    return Exported(format, targets, sum(t.stat().st_size for t in targets), difference, checked_with)


def _check(
    weights: WeightsFile, draft: Path, run: Callable[[Path, WeightsFile, Array], tuple[Array, str]]
) -> tuple[float, str]:
    graph = folded(weights)
    source = graph.nodes[0]
    assert isinstance(source, Input)
    lr = np.random.default_rng(0).random((1, source.channels, 29, 37), dtype=np.float32)
    expected = create(graph, "openvino", "fp32").run(lr)
    found, checked_with = run(draft, weights, lr)
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise EngineError(
            f"the exported network differs by {difference:.3g} from Fourfold's own (read back with {checked_with}); "
            "nothing was written"
        )
    return difference, checked_with


def facts(weights: WeightsFile) -> dict[str, str]:
    """Returns what every exported file says about itself, as plain text."""
    config, graph = weights.config, folded(weights)
    channels = "RGB" if graph.reads == "rgb" else "BT.601 luma"
    enlarged = f", enlarged {graph.scale} times by bicubic" if graph.enlarged else ""
    return {
        "name": config.name,
        "architecture": config.architecture,
        "scale": str(graph.scale),
        "input": f"lr: NCHW float32, {channels} in 0..1{enlarged}",
        "output": f"sr: NCHW float32, {channels} in about 0..1, not clamped",
        "data": config.data,
        "data_licence": config.data_licence,
        "licence": config.licence,
        "weights_sha256": weights.sha256,
        "fourfold_version": __version__,
    }


def _write_onnx(weights: WeightsFile, path: Path) -> None:
    import onnx

    graph = folded(weights)
    model = onnx.helper.make_model(
        _onnx_graph(graph, weights.config.name or "fourfold"),
        opset_imports=[onnx.helper.make_opsetid("", _ONNX_OPSET)],
        ir_version=_ONNX_IR,
        producer_name="fourfold",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(model, facts(weights))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _onnx_graph(graph: Graph, name: str) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    names = ["lr", *(f"node{index}" for index in range(1, len(graph.nodes) - 1)), "sr"]
    operations, constants = [], []
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Input):
            continue
        operation, attributes, tensors = _onnx_operation(node)
        inputs = [names[node.source], *([names[node.other]] if isinstance(node, Sum) else [])]
        for part, tensor in tensors.items():
            constants.append(numpy_helper.from_array(np.ascontiguousarray(tensor), f"{names[index]}.{part}"))
            inputs.append(constants[-1].name)
        operations.append(helper.make_node(operation, inputs, [names[index]], **attributes))
    source = graph.nodes[0]
    assert isinstance(source, Input)
    factor = 1 if graph.enlarged else graph.scale
    sizes = ["height", "width"] if factor == 1 else [f"{factor}*height", f"{factor}*width"]
    lr = helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["batch", source.channels, "height", "width"])
    sr = helper.make_tensor_value_info("sr", TensorProto.FLOAT, ["batch", source.channels, *sizes])
    return helper.make_graph(operations, name, [lr], [sr], constants)


def _onnx_operation(node: Node) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Returns a node as ONNX operator, attributes and constant inputs."""
    match node:
        case Convolution():
            size = node.weight.shape[2]
            return (
                "Conv",
                {"kernel_shape": [size, size], "pads": [size // 2] * 4},
                {
                    "weight": node.weight,
                    "bias": node.bias,
                },
            )
        case PReLU():
            # a slope of one value per channel stands before two spatial axes
            return "PRelu", {}, {"slope": node.slope.reshape(-1, 1, 1)}
        case Offset():
            return "Add", {}, {"offset": node.values.reshape(1, -1, 1, 1)}
        case Shuffle():
            return "DepthToSpace", {"blocksize": node.factor, "mode": "DCR"}, {}
        case Tanh():
            return "Tanh", {}, {}
        case Sum():
            return "Add", {}, {}
        case Input():
            raise AssertionError("the input is no operation")


def _write_openvino(weights: WeightsFile, path: Path) -> None:
    import openvino

    from fourfold.upscaling.engines.openvino import build

    model = build(folded(weights))
    for key, value in facts(weights).items():
        model.set_rt_info(value, ["fourfold", key])
    try:
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError("OpenVINO cannot, most likely since the disk is full") from error


def _write_safetensors(weights: WeightsFile, path: Path) -> None:
    from fourfold.weights import write_weights

    try:
        write_weights(path, weights.config, weights.tensors)
    except WeightsError as error:
        if isinstance(error.__cause__, OSError):  # the draft's name says nothing to anybody
            raise error.__cause__ from None
        raise


def _run_with_openvino(path: Path, weights: WeightsFile, lr: Array) -> tuple[Array, str]:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([lr])[0], np.float32), f"OpenVINO {openvino.__version__.split('-')[0]}"


def _run_onnx(path: Path, weights: WeightsFile, lr: Array) -> tuple[Array, str]:
    """Runs an ONNX file with ONNX Runtime where it is installed, else with OpenVINO, which reads ONNX too."""
    try:
        import onnxruntime
    except ImportError:
        return _run_with_openvino(path, weights, lr)
    # its bytes: a path that is no Unicode is none to it
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(["sr"], {"lr": lr})[0], f"ONNX Runtime {onnxruntime.__version__}"


def _run_safetensors(path: Path, weights: WeightsFile, lr: Array) -> tuple[Array, str]:
    from fourfold.weights import read_weights

    graph = folded(read_weights(path))
    return create(graph, "openvino", "fp32").run(lr), "Fourfold's loader"


#: ending -> (format, writer, what runs it for the check)
FORMATS: dict[
    str,
    tuple[
        str,
        Callable[[WeightsFile, Path], None],
        Callable[[Path, WeightsFile, Array], tuple[Array, str]],
    ],
] = {
    ".onnx": ("onnx", _write_onnx, _run_onnx),
    ".xml": ("openvino", _write_openvino, _run_with_openvino),
    ".safetensors": ("safetensors", _write_safetensors, _run_safetensors),
}
_ENDINGS = "the name must end in .onnx, .xml (OpenVINO) or .safetensors"

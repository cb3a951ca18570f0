"""The weights file: safetensors, with one JSON object in the header that says everything about it.

The safetensors metadata holds one key, ``fourfold``, whose value is the JSON of :class:`WeightsConfig`. A file
loads with no other flag, never runs code, and is checked tensor by tensor against its architecture.
"""

import hashlib
import json
import math
import re
import struct
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fourfold.durable import write_atomically
from fourfold.errors import WeightsError
from fourfold.version import __version__
from fourfold.weights.schema import expected_shapes, resolve_parameters

METADATA_KEY = "fourfold"
FORMAT_VERSION = 1
#: A real header is a few tens of kilobytes; more is damage or malice.
MAX_HEADER_BYTES = 1_000_000
MAX_FILE_BYTES = 2_000_000_000
#: Kinds of numbers that are read, by their names in the file, smallest first.
_DTYPES = ("F16", "BF16", "F32", "F64")
#: Objects and lists lie within each other no deeper than this.
_DEEPEST = 20
#: No count in a header is larger; an integer without bounds cannot be printed as a float.
_LARGEST_INTEGER = 2**63 - 1
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightsConfig:
    """What the header of a weights file says.

    Attributes:
        architecture: key of :data:`fourfold.weights.schema.DEFAULTS`.
        parameters: the architecture's parameters, all of them after loading.
        name: short name such as ``srresnet-mse``.
        recipe: the resolved recipe that trained it, or an empty dict.
        data: what it was trained on, in words.
        data_licence: licences of those pictures, in words.
        licence: licence of the weights themselves.
        updates: number of optimiser updates of this network.
        device: where it was trained, in words.
        content_scale: the calibrated factor of the content loss, or None where there is none.
        scores: measured scores, such as ``{"Set5": {"psnr_y": 31.9}}``.
        dial: what keeps colours half way to a faithful network, or an empty dict: ``faithful``, that network's
            :attr:`WeightsFile.tensors_sha256`, ``matrix``, 3x3, and ``offset``, 3 numbers; see
            :func:`fourfold.upscaling.interpolate`.
        fourfold_version: the version that wrote the file.
        format: version of this header.
    """

    architecture: str
    parameters: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    data_licence: str = ""
    licence: str = ""
    updates: int = 0
    device: str = ""
    content_scale: float | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    dial: dict[str, Any] = field(default_factory=dict)
    fourfold_version: str = __version__
    format: int = FORMAT_VERSION


@dataclass(frozen=True)
class WeightsFile:
    """A loaded, checked weights file.

    Attributes:
        config: the header.
        tensors: every tensor as float32, by its plain name.
        sha256: hash of the file's bytes.
        path: where it was read.
    """

    config: WeightsConfig
    tensors: dict[str, NDArray[np.float32]]
    sha256: str
    path: Path

    @property
    def parameter_count(self) -> int:
        """Number of trained values; batch norm's running statistics do not count."""
        return sum(t.size for name, t in self.tensors.items() if ".running_" not in name)

    @property
    def tensors_sha256(self) -> str:
        """Hash of the numbers alone, by name, as float32: whatever the header says, and however they are stored."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            found.update(name.encode())
            found.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
        return found.hexdigest()


def read_config(path: str | Path) -> WeightsConfig:
    """Returns the header of a weights file without reading its tensors.

    Raises:
        WeightsError: if the file is missing, damaged, or no Fourfold weights file.
    """
    path = Path(path)
    return _parse_config(path, _read_header(path)[0].get("__metadata__", {}))


def read_weights(path: str | Path) -> WeightsFile:
    """Returns a weights file, checked against its architecture.

    Raises:
        WeightsError: naming the file and, where it applies, the tensor: missing, extra, of a wrong shape, of a kind of
            numbers that is not read, not finite, a negative variance; a field of the header that is not what it must
            be; a truncated file; an oversized header; an unknown architecture.
    """
    path = Path(path)
    header, start = _read_header(path)
    config = _parse_config(path, header.get("__metadata__", {}))
    tensors: dict[str, NDArray[np.float32]] = {}
    try:
        with safe_open(path, framework="numpy") as file:  # checks the header against itself and the file's length
            names = list(file.keys())
            _check_shapes(path, config, {name: tuple(file.get_slice(name).get_shape()) for name in names})
            _check_dtypes(path, {name: file.get_slice(name).get_dtype() for name in names})
            for name in expected_shapes(config.architecture, config.parameters):
                bfloat16 = header[name]["dtype"] == "BF16"
                tensor = _read_bfloat16(path, start, header[name]) if bfloat16 else file.get_tensor(name)
                with np.errstate(over="ignore"):  # what becomes infinite is refused, by name
                    tensors[name] = np.ascontiguousarray(tensor, dtype=np.float32)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged weights file ({error})") from error
    for name, tensor in tensors.items():
        _check_values(path, name, tensor, "float32" if header[name]["dtype"] == "F64" else "")
    return WeightsFile(config, tensors, hash_file(path), path)


def _read_bfloat16(path: Path, start: int, entry: Mapping[str, Any]) -> NDArray[np.float32]:
    """Returns a tensor of bfloat16, which numpy does not know: the upper half of a float32."""
    first, last = entry["data_offsets"]
    with path.open("rb") as file:
        file.seek(start + first)
        upper = np.frombuffer(file.read(last - first), "<u2")
    return (upper.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def write_weights(
    path: str | Path, config: WeightsConfig, tensors: Mapping[str, NDArray[Any]], *, half: bool = False
) -> Path:
    """Writes a weights file, whole or not at all (temporary file, fsync, rename).

    Args:
        path: where to; the folder must exist.
        config: the header; parameters are written resolved.
        tensors: float arrays by plain name; must be exactly those of the architecture.
        half: store as float16, half the size. Batch norm's statistics stay float32 (a variance can lie outside
            float16's range).

    Raises:
        WeightsError: if the tensors do not fit the architecture or are not finite, in float16 where that is asked for;
            if a field of the header could not be read back; if the file cannot be written.
    """
    path = Path(path)
    parameters = resolve_parameters(config.architecture, config.parameters)
    values = {**asdict(config), "parameters": parameters}
    _check_fields(path, values)
    try:
        header = json.dumps(values, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: Fourfold's header cannot be written as JSON ({error})") from error
    _check_shapes(path, config, {name: tuple(t.shape) for name, t in tensors.items()})
    stored = {name: _stored(name, tensor, half) for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        _check_values(path, name, tensor, "float16" if tensor.dtype == np.float16 else "")
    data = save(stored, metadata={METADATA_KEY: header})
    _check_header_length(path, struct.unpack("<Q", data[:8])[0])
    try:
        write_atomically(path, data)
    except OSError as error:
        raise WeightsError(f"{path}: cannot write the weights file ({error.strerror or error})") from error
    return path


def _stored(name: str, tensor: NDArray[Any], half: bool) -> NDArray[Any]:
    keep = not half or ".running_" in name
    with np.errstate(over="ignore"):  # what becomes infinite is refused, by name
        return np.ascontiguousarray(tensor, dtype=np.float32 if keep else np.float16)


def hash_file(path: str | Path) -> str:
    """Returns the sha256 of a file, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Returns the header of a safetensors file, and where the tensors begin behind it."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise WeightsError(f"{path}: not a file")
        if size > MAX_FILE_BYTES:
            raise WeightsError(f"{path}: {size} bytes; a weights file has at most {MAX_FILE_BYTES}")
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise WeightsError(f"{path}: truncated, {size} bytes; not a weights file")
            (length,) = struct.unpack("<Q", start)
            _check_header_length(path, length)
            raw = file.read(length)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights file ({error.strerror or error})") from error
    if len(raw) < length:
        raise WeightsError(f"{path}: truncated inside the header")
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the header is not JSON; not a safetensors file") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: the header is not a JSON object")
    return header, 8 + length


def _check_header_length(path: Path, length: int) -> None:
    if length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{path}: not a safetensors file, or its header is oversized ({length} bytes; at most {MAX_HEADER_BYTES})"
        )


def _parse_config(path: Path, metadata: Any) -> WeightsConfig:
    if not isinstance(metadata, dict) or METADATA_KEY not in metadata:
        raise WeightsError(
            f"{path}: a safetensors file without Fourfold's header; it does not say which network it belongs to"
        )
    try:
        values = json.loads(metadata[METADATA_KEY])
    except (TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: Fourfold's header is not JSON") from error
    if not isinstance(values, dict) or not isinstance(values.get("architecture"), str):
        raise WeightsError(f"{path}: Fourfold's header names no architecture")
    version = values.get("format", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:  # first: a newer format may have other fields
        raise WeightsError(
            f"{path}: written in header format {version!r}; this Fourfold ({__version__}) reads up to "
            f"{FORMAT_VERSION}. Install a newer Fourfold"
        )
    _check_fields(path, values)
    known = {f.name for f in fields(WeightsConfig)}
    try:
        parameters = resolve_parameters(values["architecture"], values.get("parameters", {}))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return WeightsConfig(**{**{k: v for k, v in values.items() if k in known}, "parameters": parameters})


def is_unfit(character: str) -> bool:
    """Says whether a header's texts may not hold a character; a few may hold line breaks and tabs all the same."""
    # control characters would command the terminal that shows them; half a surrogate pair cannot be shown at all
    return unicodedata.category(character) in ("Cc", "Cs")


def _text_problem(value: Any, allowed: str = "") -> str | None:
    if not isinstance(value, str):
        return "is not text"
    if any(is_unfit(c) and c not in allowed for c in value):
        return "holds control characters"
    return None


def _paragraph_problem(value: Any) -> str | None:
    return _text_problem(value, allowed="\n\t")


def _object_problem(value: Any) -> str | None:
    if not isinstance(value, dict):
        return "is not an object"
    within: list[Any] = [value]
    for _ in range(_DEEPEST):
        inner = [list(one.values()) if isinstance(one, dict) else one for one in within if isinstance(one, dict | list)]
        within = [part for parts in inner for part in parts]
    return "is nested too deeply" if within else None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_INTEGER


def _count_problem(value: Any) -> str | None:
    return None if _is_integer(value) and value >= 0 else "is not a whole number of 0 or more"


def _scale_problem(value: Any) -> str | None:
    if value is None or _is_integer(value) or (isinstance(value, float) and math.isfinite(value)):
        return None
    return "is neither a finite number nor null"


def _scores_problem(value: Any) -> str | None:
    if not isinstance(value, dict):
        return "is not an object"
    for data, scores in value.items():
        if (problem := _text_problem(data)) is not None:
            return f"names a set that {problem}"
        # an infinite PSNR is a score, too
        if not isinstance(scores, dict) or not all(map(_is_number, scores.values())):
            return f"is not an object of numbers for {data!r}"
    return None


def _dial_problem(value: Any) -> str | None:
    if not isinstance(value, dict):
        return "is not an object"
    if not value:
        return None
    if not isinstance(value.get("faithful"), str) or not _HASH.fullmatch(value["faithful"]):
        return "does not name its faithful network by a sha256"
    rows, offset = value.get("matrix"), value.get("offset")
    if not isinstance(rows, list) or len(rows) != 3 or not all(map(_is_small_triple, [*rows, offset])):
        return "has no 3x3 matrix and 3 offsets between -1 and 1"
    return None


def _is_small_triple(value: Any) -> bool:
    # a correction of a whole range is none: such a header is damaged
    return isinstance(value, list) and len(value) == 3 and all(_is_number(v) and -1 <= v <= 1 for v in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_integer(value)


#: field of the header -> what is wrong with a value, None if nothing is; "architecture" is checked before these
_FIELDS: dict[str, Callable[[Any], str | None]] = {
    "parameters": _object_problem,
    "name": _text_problem,
    "recipe": _object_problem,
    "data": _paragraph_problem,
    "data_licence": _paragraph_problem,
    "licence": _paragraph_problem,
    "updates": _count_problem,
    "device": _paragraph_problem,
    "content_scale": _scale_problem,
    "scores": _scores_problem,
    "dial": _dial_problem,
    "fourfold_version": _text_problem,
    "format": _count_problem,
}


def _check_fields(path: Path, values: Mapping[str, Any]) -> None:
    """Refuses a field of a wrong kind here, where the file is known, and not where it is used."""
    for name, find_problem in _FIELDS.items():
        problem = find_problem(values[name]) if name in values else None
        if problem is not None:
            raise WeightsError(f"{path}: {name!r} in Fourfold's header {problem}")


def _check_shapes(path: Path, config: WeightsConfig, found: Mapping[str, tuple[int, ...]]) -> None:
    expected = expected_shapes(config.architecture, config.parameters)
    missing = [name for name in expected if name not in found]
    if missing:
        raise WeightsError(f"{path}: tensor {missing[0]!r} is missing ({len(missing)} of {len(expected)} are)")
    extra = sorted(set(found) - set(expected))
    if extra:
        raise WeightsError(f"{path}: tensor {extra[0]!r} does not belong to {config.architecture} ({len(extra)} such)")
    for name, shape in expected.items():
        if tuple(found[name]) != shape:
            raise WeightsError(f"{path}: tensor {name!r} has shape {tuple(found[name])}; it must be {shape}")


def _check_dtypes(path: Path, found: Mapping[str, str]) -> None:
    for name, dtype in found.items():
        if dtype not in _DTYPES:
            raise WeightsError(f"{path}: tensor {name!r} holds {dtype}; {', '.join(_DTYPES)} are read")


def _check_values(path: Path, name: str, tensor: NDArray[Any], narrowed_to: str) -> None:
    if not np.isfinite(tensor).all():
        kind = f", or values beyond {narrowed_to}'s range" if narrowed_to else ""
        raise WeightsError(f"{path}: tensor {name!r} holds NaN or infinity{kind}")
    if name.endswith(".running_var") and (tensor < 0).any():
        raise WeightsError(f"{path}: tensor {name!r} holds a negative variance")

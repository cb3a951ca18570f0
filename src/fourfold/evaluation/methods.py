"""Methods: anything that turns an LR picture into one four times as large, or has done so elsewhere.

============================  =====================================================================
``bicubic``, ``nearest`` ...  the house's resampler; also ``bilinear`` and ``lanczos``
``srresnet-mse``, ...         a shipped model, run by the same ``Upscaler`` as everywhere
``path/to/file.safetensors``  any weights file
``srresnet-plus+``            a model or file with the mean over eight turned and mirrored versions
``NAME=DIR``                  result pictures of another program; their naming is found out
``NAME=DIR/{name}_x4.png``    the same with the naming given, exactly; ``{set}`` is the set's name
``hr``                        the originals themselves: what every other method is up against
============================  =====================================================================
"""

import contextlib
import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import DataError, EngineError, EvaluationError, FourfoldError, UnknownModelError, UsageError
from fourfold.evaluation.cost import Cost, network_cost
from fourfold.evaluation.naming import Naming, Pattern, find_naming, result_folder
from fourfold.evaluation.sets import SCALE, BenchmarkSet, Entry, Pair, read_pixels
from fourfold.imaging import imresize
from fourfold.imaging.resampling import Kernel
from fourfold.places import is_file, is_folder, why_unseen
from fourfold.upscaling import TURNS, check_names
from fourfold.weights import WeightsFile, load_weights, shipped_names

Pixels = NDArray[Any]

KERNELS: dict[str, Kernel] = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos",
}


class Method(Protocol):
    """What the benchmark asks of a method.

    Attributes:
        name: what the results call it.
        timed: whether :meth:`restore` does the work, so that its seconds mean something.
    """

    name: str
    timed: bool

    def restore(self, pair: Pair, entry: Entry, of: BenchmarkSet) -> Pixels:
        """Returns the picture four times as large, (H, W, 3), integers."""
        ...

    def about(self) -> dict[str, Any]:
        """Returns what must stand beside its numbers: kind, hashes, cost, engine."""
        ...


@dataclass
class Resampler:
    """An interpolation kernel; the LR picture enlarged and rounded to its own depth."""

    name: str
    kernel: Kernel
    timed: bool = True

    def restore(self, pair: Pair, entry: Entry, of: BenchmarkSet) -> Pixels:
        """Returns the enlarged LR picture."""
        return imresize(pair.lr, SCALE, kernel=self.kernel)

    def about(self) -> dict[str, Any]:
        """Returns its kernel."""
        return {"kind": "resampler", "kernel": self.kernel}


@dataclass
class Original:
    """The original itself: PSNR inf, SSIM 1, and the NIQE that a perfect method would reach."""

    name: str = "hr"
    timed: bool = False

    def restore(self, pair: Pair, entry: Entry, of: BenchmarkSet) -> Pixels:
        """Returns the original."""
        return pair.hr

    def about(self) -> dict[str, Any]:
        """Returns its kind."""
        return {"kind": "original"}


class Network:
    """A shipped model or a weights file, run by the house's Upscaler.

    Args:
        name: what the results call it.
        model: shipped name or path.
        engine: "auto", "openvino" or "torch".
        precision: "auto", "fp32" or "bf16".
        ensemble: with the mean over eight turned and mirrored versions of each picture.

    Raises:
        UsageError: for a name that cannot be that of a folder, too.
        FourfoldError: if the weights or the engine cannot be used.
    """

    timed = True

    def __init__(
        self, name: str, model: str | Path, engine: str = "auto", precision: str = "auto", *, ensemble: bool = False
    ) -> None:
        from fourfold.upscaling import load  # an engine is heavy; the resamplers need none

        self.weights: WeightsFile = load_weights(model)
        self.name = _checked_name(name)
        self._upscaler = load(model, engine=engine, precision=precision, ensemble=ensemble)
        self._precisions: set[str] = set()
        if self._upscaler.scale != SCALE:
            raise UsageError(f"{name} enlarges {self._upscaler.scale}x; the benchmark is {SCALE}x")
        # Making an engine, one for each depth, belongs to no picture's time. Preparing it for a size is left in: set
        # apart, it would take restoring the first picture of each size twice.
        for depth in (np.uint8, np.uint16):
            with contextlib.suppress(EngineError):  # what fails here fails on a picture, and is named there
                self._upscaler(np.zeros((16, 16, 3), depth))

    def restore(self, pair: Pair, entry: Entry, of: BenchmarkSet) -> Pixels:
        """Returns the network's picture.

        Raises:
            EngineError: if the engine fails or gives values that are not finite.
        """
        self._precisions.add(str(self._upscaler.precision_for(pair.lr.dtype)))
        return np.asarray(self._upscaler(pair.lr))

    def about(self) -> dict[str, Any]:
        """Returns architecture, hash, training, cost, engine, and in which precisions it was used so far."""
        config = self.weights.config
        cost: Cost = network_cost(config.architecture, config.parameters)
        return {
            "kind": "network",
            "architecture": config.architecture,
            "weights_sha256": self.weights.sha256,
            "updates": config.updates,
            "engine": str(self._upscaler.engine),
            "precision": ", ".join(sorted(self._precisions)) or str(self._upscaler.precision),
            "ensemble": self._upscaler.ensemble,
            "parameters": cost.parameters,
            "multiply_adds_per_pixel": cost.multiply_adds_per_pixel * (TURNS if self._upscaler.ensemble else 1),
        }


class ResultFolder:
    """Result pictures of another program, found by name.

    Args:
        name: what the results call it; also tells its pictures from others in the same folder.
        location: a folder, or a path with ``{name}`` (the picture's name without ending) and perhaps ``{set}``.

    Raises:
        UsageError: for a name that cannot be that of a folder, too.
    """

    timed = False

    def __init__(self, name: str, location: str) -> None:
        self.name, self.location = _checked_name(name), location
        self._naming: dict[str, Naming | Pattern] = {}
        self._failed: dict[str, str] = {}

    def restore(self, pair: Pair, entry: Entry, of: BenchmarkSet) -> Pixels:
        """Returns the picture from the folder.

        Raises:
            DataError: if it is missing or there twice, or the naming cannot be found out.
            PictureError: if it cannot be read.
        """
        return read_pixels(self.source(entry, of))[0]

    def source(self, entry: Entry, of: BenchmarkSet) -> Path:
        """Returns the file that holds the picture.

        Raises:
            DataError: if it is missing or there twice, or the naming cannot be found out.
        """
        naming = self._naming_of(of)
        path = naming.path(entry)
        if path is None:
            raise DataError(f"{self.name} has no picture for {entry.image}; expected {naming.wanted(entry)}")
        return path

    def about(self) -> dict[str, Any]:
        """Returns the folder and, per set, the naming that was found."""
        return {"kind": "results", "folder": self.location, "naming": {s: n.text for s, n in self._naming.items()}}

    def notes(self) -> list[str]:
        """Returns, per set, which naming was found out, so that whoever reads the numbers can object."""
        found = {s: n for s, n in self._naming.items() if isinstance(n, Naming)}
        return [f"{s}: {self.name} is what is named {n.text} in {n.folder}" for s, n in found.items()]

    def _naming_of(self, of: BenchmarkSet) -> Naming | Pattern:
        """Returns a set's naming, found out once; a failure to find it, too, is of all its pictures."""
        if of.name in self._failed:
            raise DataError(self._failed[of.name])
        if of.name not in self._naming:
            try:
                self._naming[of.name] = self._find_naming(of)
            except DataError as error:
                self._failed[of.name] = str(error)
                raise
        return self._naming[of.name]

    def _find_naming(self, of: BenchmarkSet) -> Naming | Pattern:
        if "{name}" in self.location:
            return Pattern(self.location, of.name)
        return find_naming(result_folder(Path(self.location), of), [e.key for e in of.entries], self.name)


def make_methods(specs: Sequence[str], *, engine: str = "auto", precision: str = "auto") -> list[Method]:
    """Returns methods from what the command line was given.

    Args:
        specs: names, paths and ``NAME=DIR`` as in the table above.
        engine: for the networks.
        precision: for the networks.

    Raises:
        UsageError: for a name given twice, one that means nothing, or one that cannot be that of a folder, too;
            an engine or a precision that there is not.
        FourfoldError: if a network cannot be loaded.
    """
    check_names(engine, precision)  # here, too, where no method has a use for them
    methods = [_make(spec, engine, precision) for spec in specs]
    twice = [name for name, count in Counter(m.name for m in methods).items() if count > 1]
    if twice:
        raise UsageError(f"two methods are called {twice[0]!r}; give one another name, as in NAME=FILE")
    if not methods:
        raise UsageError("no methods; give some, as in --methods bicubic,srresnet-mse")
    return methods


def name_of(spec: str) -> str:
    """Returns the name that a method goes by: a weights file's own, what stands before an equals sign, or all of it."""
    file = _weights_file(spec)
    return file[0].stem + "+" * file[1] if file else spec.partition("=")[0]


def _make(spec: str, engine: str, precision: str) -> Method:
    if spec in KERNELS:
        return Resampler(spec, KERNELS[spec])
    if spec == "hr":
        return Original()
    name, equals, location = spec.partition("=")
    file = _weights_file(spec)
    if file:  # a path may hold an equals sign itself: runs/lr=1e-4/w.safetensors
        name, equals = name_of(spec), ""
    if name.lower() == "hr":
        raise UsageError(f"{spec}: hr is the originals; choose another name, as in NAME=DIR")
    if equals and name and location:
        path = Path(location)
        if is_folder(path) or "{name}" in location:
            return ResultFolder(name, location)
        if found := _weights_file(location):
            return Network(name, found[0], engine, precision, ensemble=found[1])
        reason = why_unseen(path)
        raise EvaluationError(
            f"{spec}: {location} cannot be read ({reason})"
            if reason
            else f"{spec}: {location} is no folder and no weights file"
        )
    try:
        model, ensemble = file or (spec.removesuffix("+"), spec.endswith("+"))
        return Network(name if file else spec, model, engine, precision, ensemble=ensemble)
    except UnknownModelError as error:
        others = [*KERNELS, "hr", *shipped_names()]
        near = difflib.get_close_matches(spec, others, n=1)
        hint = f"did you mean {near[0]!r}? " if near else f"{error}. "
        known = f"{', '.join(others)}, a weights file (a + behind a model or a file: its self-ensemble), NAME=DIR"
        raise UsageError(f"no method {spec!r}; {hint}Methods: {known}") from error
    except FourfoldError as error:
        raise type(error)(f"method {spec}: {error}") from error


def _checked_name(name: str) -> str:
    """Returns a method's name if it can be that of a folder, too: the one that its pictures are saved in.

    Raises:
        UsageError: for a name that leads elsewhere.
    """
    if name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise UsageError(
            f"no method can be called {name!r}, since its pictures are saved in a folder of that name; choose another, "
            "as in NAME=FILE"
        )
    return name


def _weights_file(location: str) -> tuple[Path, bool] | None:
    """Returns the file that a location names, and whether a plus behind it asks for the mean over turned versions."""
    for path, ensemble in ((location, False), (location.removesuffix("+"), True)):
        if is_file(Path(path)):
            return Path(path), ensemble
    return None


def default_methods() -> list[str]:
    """Returns what is measured when nothing is named: nearest, bicubic and every shipped model."""
    return ["nearest", "bicubic", *shipped_names()]

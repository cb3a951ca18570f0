"""A discriminator that has learned already: the shipped ones, files, and those in runs' checkpoints.

A file is safetensors; its metadata holds one key, ``fourfold-discriminator``, whose value is JSON. It is no weights
file: a discriminator upscales nothing, and a command that is given one says so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fourfold.durable import write_atomically
from fourfold.errors import TrainingError
from fourfold.places import is_file, is_folder, why_unseen
from fourfold.training.checkpoint import load_checkpoint
from fourfold.training.recipe import DiscriminatorSettings, Recipe
from fourfold.training.run_folder import RunFolder
from fourfold.weights.catalogue import ALIASES, SHIPPED

METADATA_KEY = "fourfold-discriminator"
FORMAT_VERSION = 1
SHIPPED_DISCRIMINATORS = SHIPPED / "discriminators"
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class DiscriminatorWeights:
    """A discriminator's weights, and what it must be built with to take them.

    Attributes:
        kind: "crop" or "patch"; see :class:`fourfold.training.recipe.DiscriminatorSettings`.
        width: maps of its first convolution.
        crop_px: side of the crops it sees; 0 for "patch", which sees any.
        tensors: its ``state_dict``, float32.
    """

    kind: str
    width: int
    crop_px: int
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, recipe: Recipe, tensors: Mapping[str, Tensor]) -> "DiscriminatorWeights":
        """Returns the weights of the discriminator that a recipe trains."""
        kind, width = recipe.discriminator.kind, recipe.discriminator.width
        crop_px = recipe.data.crop_px if kind == "crop" else 0
        return cls(kind, width, crop_px, {name: tensor.float() for name, tensor in tensors.items()})

    @property
    def settings(self) -> str:
        """The settings that build it, as ``--set`` takes them."""
        crop = f" --set data.crop_px={self.crop_px}" if self.crop_px else ""
        return f"--set discriminator.kind={self.kind} --set discriminator.width={self.width}{crop}"


def shipped_discriminators() -> list[str]:
    """Returns the names of the shipped discriminators, sorted: those of the models that they were trained against."""
    return sorted(path.stem for path in SHIPPED_DISCRIMINATORS.glob("*.safetensors"))


def load_discriminator(source: str) -> DiscriminatorWeights:
    """Returns the discriminator of a shipped name, of a run's newest checkpoint, or of a file.

    Args:
        source: such as "srgan-plus"; a run folder; a file that :func:`write_discriminator` wrote.

    Raises:
        TrainingError: naming what is wrong with it.
    """
    name = ALIASES.get(source, source)
    if name in shipped_discriminators():
        return _read(SHIPPED_DISCRIMINATORS / f"{name}.safetensors")
    path = Path(source)
    if (reason := why_unseen(path)) is not None:
        raise TrainingError(f"discriminator.init: {path} cannot be read ({reason})")
    if is_folder(path):
        return _of_run(RunFolder(path))
    if is_file(path):
        return _read(path)
    shipped = ", ".join(shipped_discriminators()) or "none"
    raise TrainingError(
        f"discriminator.init: there is no {source}; it is a run's folder, a file, or a shipped one's name ({shipped})"
    )


def write_discriminator(path: Path, weights: DiscriminatorWeights, about: Mapping[str, Any] | None = None) -> Path:
    """Writes a discriminator as float16, whole or not at all.

    Args:
        path: where to; the folder must exist.
        weights: its weights.
        about: more for the metadata, as JSON has it: what it was trained against, the licence.

    Raises:
        TrainingError: if a value does not fit float16, or the file cannot be written.
    """
    tensors = {name: tensor.to(torch.float16).contiguous().cpu() for name, tensor in weights.tensors.items()}
    _check_finite(path, tensors)
    built = {"kind": weights.kind, "width": weights.width, "crop_px": weights.crop_px}
    header = json.dumps({**(about or {}), **built, "format": FORMAT_VERSION}, sort_keys=True)
    try:
        write_atomically(path, save(tensors, metadata={METADATA_KEY: header}))
    except OSError as error:
        raise TrainingError(f"{path}: cannot write the discriminator ({error.strerror or error})") from error
    return path


def _of_run(folder: RunFolder) -> DiscriminatorWeights:
    try:
        recipe, state = folder.recipe(), load_checkpoint(folder.checkpoints)
    except TrainingError as error:
        raise TrainingError(f"discriminator.init: {error}") from error
    networks = state.get("networks", {}) if state is not None else {}
    if "discriminator" not in networks:
        why = "trained without an adversary" if networks else "has no checkpoint yet"
        raise TrainingError(f"discriminator.init: the run in {folder.path} {why}; there is no discriminator in it")
    _check_finite(folder.path, networks["discriminator"])
    return DiscriminatorWeights.of(recipe, networks["discriminator"])


def _read(path: Path) -> DiscriminatorWeights:
    try:
        with safe_open(path, framework="pt") as file:  # checks the header against itself and the file's length
            header, names = (file.metadata() or {}).get(METADATA_KEY), list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names} if header else {}
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"discriminator.init: {path} is no safetensors file, or damaged ({error})") from error
    if header is None:
        raise TrainingError(f"discriminator.init: {path} is no discriminator's file (--init takes a network's)")
    kind, width, crop_px = _built_with(path, header)
    if others := {str(tensor.dtype) for tensor in tensors.values() if tensor.dtype not in _DTYPES}:
        raise TrainingError(f"discriminator.init: {path} holds {others.pop()}; floating-point numbers are read")
    _check_finite(path, tensors)
    return DiscriminatorWeights(kind, width, crop_px, {name: tensor.float() for name, tensor in tensors.items()})


def _built_with(path: Path, header: str) -> tuple[str, int, int]:
    try:
        values = json.loads(header)
        version = _whole(values["format"])
        if version > FORMAT_VERSION:  # first: a newer one may have other fields
            raise TrainingError(
                f"discriminator.init: {path} is in format {version}; this Fourfold reads up to {FORMAT_VERSION}"
            )
        settings = DiscriminatorSettings(kind=values["kind"], width=values["width"])
        return settings.kind, settings.width, _whole(values["crop_px"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TrainingError(f"discriminator.init: {path}: its header is damaged") from error


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number of 0 or more")
    return value


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise TrainingError(f"{path}: tensor {name!r} holds NaN, infinity, or values beyond float16's range")

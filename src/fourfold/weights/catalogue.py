"""The shipped models: their names, files and model cards."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from fourfold.errors import UnknownModelError
from fourfold.places import is_file, is_folder, why_unseen
from fourfold.weights.format import WeightsConfig, WeightsFile, read_config, read_weights

SHIPPED = Path(__file__).parent / "shipped"

#: Other names of shipped models. The paper calls its VGG54 variant simply SRGAN.
ALIASES = {"srgan": "srgan-vgg54", "srresnet": "srresnet-mse"}

#: The network that is nearest to the originals: what careful users take.
FAITHFUL = "srresnet-plus"

#: Tried in this order when no model is named: the photo-realistic network that looks best, else the faithful one.
DEFAULT_ORDER = ("srgan-plus", "srgan-vgg54", FAITHFUL)


#: Taken instead for pictures that lossy compression has been through, whose traces the others would enlarge.
FOR_COMPRESSED = "srgan-jpeg"

#: The most faithful network for them.
FAITHFUL_FOR_COMPRESSED = "srresnet-jpeg"


@dataclass(frozen=True)
class Model:
    """A shipped model: its name, weights file, model card and header."""

    name: str
    path: Path
    card: Path
    config: WeightsConfig


def shipped_names() -> list[str]:
    """Returns the names of the shipped models, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def default_name(compressed: bool = False) -> str:
    """Returns the model that is used when none is named.

    Args:
        compressed: the one for pictures that losses have been through; see :func:`fourfold.imaging.was_compressed`.
    """
    names = shipped_names()
    if compressed and FOR_COMPRESSED in names:
        return FOR_COMPRESSED
    for name in DEFAULT_ORDER:
        if name in names:
            return name
    raise UnknownModelError("this installation holds no weights; give a weights file")


def faithful_end(path: Path) -> str:
    """Returns the shipped network that a weights file began from: the far end of its fidelity dial if none is named.

    Networks mix well with the one that they were trained from, and hardly with any other (see docs/fidelity.md). The
    header says what that was; where that is a shipped network that began from another, the first of them counts, but
    nothing before one of the two most faithful networks. A shipped network that began from none is its own far end. Of
    anything else nothing is known, and it is the most faithful network.

    Raises:
        WeightsError: if the file's header cannot be read.
    """
    names, config, file = shipped_names(), read_config(path), path.resolve()
    end = file.stem if file.parent == SHIPPED.resolve() else None
    seen = {end}
    while end not in (FAITHFUL, FAITHFUL_FOR_COMPRESSED):
        begun_from = _name_in(config.recipe.get("init"))
        if begun_from not in names or begun_from in seen:
            break
        seen.add(end := begun_from)
        config = read_config(locate(begun_from))
    return end if end is not None and config.architecture == "srresnet" else FAITHFUL


def _name_in(init: object) -> str:
    """Returns the shipped name in a header's "init", which anybody may have written."""
    return ALIASES.get(init, init) if isinstance(init, str) else ""


def locate(model: str | Path) -> Path:
    """Returns the weights file of a shipped name, an alias, or a path.

    Raises:
        UnknownModelError: naming the nearest shipped name, or why the file cannot be seen.
    """
    text = str(model)
    name = ALIASES.get(text, text)
    if name in shipped_names():
        return SHIPPED / f"{name}.safetensors"
    path = Path(model)
    if is_file(path):
        return path
    reason = why_unseen(path)
    if reason is not None:
        raise UnknownModelError(f"{path}: cannot be read ({reason})")
    if text and is_folder(path):  # no name at all would be this folder
        inside = sorted(found.name for found in path.glob("*.safetensors"))
        hint = f"; name one of its weights files: {', '.join(inside)}" if inside else " without weights files"
        raise UnknownModelError(f"{path} is a folder{hint}")
    if path.suffix == ".safetensors" or len(path.parts) > 1:
        raise UnknownModelError(f"no weights file at {path}")
    names = sorted({*shipped_names(), *(a for a, n in ALIASES.items() if n in shipped_names())})
    near = difflib.get_close_matches(text, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownModelError(
        f"no model {text!r}; {hint}shipped: {', '.join(names) or 'none'}; a path to a .safetensors file works too"
    )


def load_weights(model: str | Path) -> WeightsFile:
    """Returns the checked weights of a shipped name, an alias, or a path.

    Raises:
        UnknownModelError: if there is no such model.
        WeightsError: if the file is damaged.
    """
    return read_weights(locate(model))


def models() -> list[Model]:
    """Returns all shipped models with their headers, sorted by name."""
    return [
        Model(
            name,
            SHIPPED / f"{name}.safetensors",
            SHIPPED / f"{name}.md",
            read_config(SHIPPED / f"{name}.safetensors"),
        )
        for name in shipped_names()
    ]

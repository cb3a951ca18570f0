"""The models that a server offers, described for people."""

from functools import lru_cache

from fourfold.errors import UsageError
from fourfold.serving.schemas import ModelView
from fourfold.serving.settings import SCALE, Settings
from fourfold.weights import ALIASES, WeightsConfig, default_name, locate, read_config, shipped_names

#: shipped name -> (title, what it does), in the words and in the order of the page
WORDS = {
    "srgan-plus": ("Photo-realistic", "Sharp, natural texture. Fine detail is invented where the picture has none."),
    "srresnet-plus": ("Faithful", "Closest to the original pixel by pixel. Smooth where it cannot know."),
    "srgan-jpeg": ("Photo-realistic, for JPEG", "Takes away JPEG's blocks and echoes, and invents fine detail."),
    "srresnet-jpeg": ("Faithful, for JPEG", "Takes away JPEG's blocks and echoes, and invents little."),
    "srresnet-mse": ("SRResNet", "The paper's faithful network, with the paper's loss."),
    "srgan-vgg54": ("SRGAN", "The paper's own, from a short training. Fine detail is invented."),
    "srgan-vgg22": ("SRGAN-VGG22", "The paper's, by an early layer of VGG19: sharp edges, little texture."),
    "srgan-mse": ("SRGAN-MSE", "The paper's, on pixels alone: crisp, with little texture."),
    "srresnet-vgg22": ("SRResNet-VGG22", "The paper's, without an adversary: crisper than faithful, no texture."),
    "espcn": ("ESPCN", "A small, quick network of 2016, for comparison. Soft."),
    "srcnn": ("SRCNN", "The first such network, of 2014, for comparison. Soft."),
}


def served_models(names: list[str]) -> dict[str, str]:
    """Returns name -> what to load, for names of shipped models and paths of weights files; all shipped if empty.

    Raises:
        UnknownModelError: for a name that is not there.
        WeightsError: for a file that is no weights file.
        UsageError: if two have the same name, one does not enlarge four times, or nothing is left to serve.
    """
    if not names:
        known = list(WORDS)
        place = {name: known.index(name) if name in known else len(known) for name in shipped_names()}
        return {name: name for name in sorted(place, key=lambda name: (name != default_name(), place[name], name))}
    found: dict[str, str] = {}
    for text in names:
        path = locate(text)
        config = read_config(path)
        _refuse_other_scale(text, int(config.parameters.get("scale", SCALE)))
        shipped = ALIASES.get(text, text) in shipped_names()
        name = ALIASES.get(text, text) if shipped else config.name or path.stem
        if name in found:
            raise UsageError(f"two models are called {name!r}; serve one of them, or rename a weights file")
        found[name] = name if shipped else str(path)
    return found


def _refuse_other_scale(text: str, scale: int) -> None:
    if scale != SCALE:
        raise UsageError(
            f"{text} enlarges {scale} times; the server serves models that enlarge {SCALE} times "
            f"(fourfold upscale -n {text} takes any)"
        )


def has_fidelity(name: str, settings: Settings) -> bool:
    """Returns whether a model can be led towards the faithful network that it began from: a shipped SRGAN."""
    return settings.models[name] == name and name.startswith("srgan")


def model_view(name: str, settings: Settings) -> ModelView:
    """Returns what clients are told about a model."""
    config = _config(settings.models[name])
    title, about = WORDS.get(name, (name, f"A {config.architecture} network of this server's own."))
    return ModelView(
        name=name,
        title=title,
        about=about,
        default=name == settings.default,
        for_compressed=name == settings.for_compressed,
        fidelity=has_fidelity(name, settings),
        architecture=config.architecture,
        updates=config.updates,
        data=config.data,
        data_licence=config.data_licence,
        licence=config.licence,
        scores=config.scores,
    )


@lru_cache(maxsize=64)
def _config(target: str) -> WeightsConfig:
    return read_config(locate(target))

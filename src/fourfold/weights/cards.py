"""Model cards: what a person should know of a weights file, written from its own header."""

from typing import Any

from fourfold.weights.format import WeightsFile

_CARD = """# {name}

{what}

| | |
|---|---|
| architecture | {architecture} ({parameters}) |
| trained values | {count:,} |
| recipe | `{recipe}`, profile `{profile}`: `{command}` |
| settings | at the end of the training: `fourfold models {name} --json`; on the way: docs/training-log.md |
| updates | {updates:,}, batches of {batch} crops of {crop}x{crop} HR pixels |
| where | {device} |
| starts from | {init} |
| content loss scale | {content_scale} |
| written by | Fourfold {version} |
| sha256 | `{sha256}` |

## Scores

Y channel (BT.601), 4 px border cut, 4x, LR by MATLAB-exact bicubic. `SSIM (daala)` is the SSIM of the paper's
tables, `SSIM (Wang)` the one of most later papers; the two differ and may not be mixed.{meanings}{stored}

{scores}

Made in fp32; the benchmark sets as by `fourfold evaluate --data DIR --niqe FILE --precision fp32 --methods
bicubic,{name}`. In bf16, which is the default where the processor has it, the last digits differ. Settings and weights
were chosen on validation pictures or not at all, never on the benchmark sets; where one of their pictures had another
part in the training, the section Data says so.

## Data

{data}

Licences of the pictures: {data_licence}.

## Licence

{licence}. {caution}

## Limits

{limits}
"""

_MEANINGS = """ NIQE is lower where a
picture is more like a photograph. `back to LR` is the PSNR of the result, shrunk again, against the picture it was made
from; `colour drift` the distance between their mean colours."""

#: What is added to a set's name where its LR was stored as JPEG.
STORED = "JPEG 75"

_STORED = f"""
Where a row says `{STORED}`, LR was stored as JPEG at that quality, with colour at 4:2:0, before it was restored (and
`back to LR` is to LR before that): `benchmarks/compressed.py` does the same."""

_CAUTION = (
    "Some of the training pictures are licensed for non-commercial research; whether that binds weights trained on "
    "them is unsettled law. Whoever must be certain trains the recipe on pictures of their own."
)


def render_card(weights: WeightsFile, *, what: str, limits: str) -> str:
    """Returns the model card of a weights file, in Markdown.

    Args:
        weights: the file as it is shipped; all figures come from its header.
        what: what the network is for, a sentence or two.
        limits: what it does badly, in words.
    """
    config = weights.config
    recipe: dict[str, Any] = config.recipe
    data = recipe.get("data", {})
    return _CARD.format(
        name=config.name,
        what=what,
        limits=limits,
        architecture=config.architecture,
        parameters=", ".join(f"{key} {value}" for key, value in config.parameters.items()),
        count=weights.parameter_count,
        recipe=recipe.get("name", "unknown"),
        profile=recipe.get("profile", "paper"),
        command=_command(recipe),
        updates=config.updates,
        batch=data.get("batch", "?"),
        crop=data.get("crop_px", "?"),
        device=config.device,
        init=_begun_from(str(recipe.get("init") or "")),
        content_scale="none" if config.content_scale is None else f"{config.content_scale:.6g}",
        version=config.fourfold_version,
        sha256=weights.sha256,
        scores=_score_table(config.scores),
        meanings=_MEANINGS if any("lr_psnr" in values for values in config.scores.values()) else "",
        stored=_STORED if any(name.endswith(STORED) for name in config.scores) else "",
        data=config.data,
        data_licence=config.data_licence,
        licence=config.licence,
        caution=_CAUTION,
    )


def _begun_from(init: str) -> str:
    """Returns a name as such, a sentence as it is."""
    return f"`{init}`" if init and " " not in init else init or "scratch"


def _command(recipe: dict[str, Any]) -> str:
    """Returns what trains such a network anew, as far as one command can: settings changed on the way are not in it."""
    options = [f"--profile {recipe.get('profile', 'paper')}", "--data DIR"]
    loss = recipe.get("loss", {})
    if loss.get("vgg") and loss.get("vgg_normalisation", "torchvision") != "torchvision":
        options.append(f"--vgg FILE --set loss.vgg_normalisation={loss['vgg_normalisation']}")
    return " ".join(["fourfold train", str(recipe.get("name", "unknown")), *options])


#: score -> (heading, digits), in the order of the table.
_SCORES = {
    "psnr_y": ("PSNR (dB)", 2),
    "ssim_daala": ("SSIM (daala)", 4),
    "ssim_wang": ("SSIM (Wang)", 4),
    "niqe": ("NIQE", 2),
    "lr_psnr": ("back to LR (dB)", 1),
    "colour_drift": ("colour drift (255ths)", 2),
}


def _score_table(scores: dict[str, dict[str, float]]) -> str:
    shown = [name for name in _SCORES if any(name in values for values in scores.values())]
    rows = [f"| set | {' | '.join(_SCORES[name][0] for name in shown)} |", "|---" * (len(shown) + 1) + "|"]
    order = ("Set5", "Set14", "BSD100")
    places = {name: order.index(base) if (base := name.partition(",")[0]) in order else len(order) for name in scores}
    for name in sorted(scores, key=lambda name: (places[name], name)):
        values = scores[name]
        cells = [f"{values[key]:.{_SCORES[key][1]}f}" if key in values else "" for key in shown]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)

"""``fourfold models``: what is shipped, and what a weights file says about itself."""

import json
import re
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold.cli.printing import say
from fourfold.errors import UnknownModelError
from fourfold.places import is_file

if TYPE_CHECKING:
    from fourfold.weights import WeightsConfig

app = typer.Typer(add_completion=False)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="A shipped name, or a weights file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the shipped models, or tell everything about one of them or about a weights file."""
    if name is not None:
        _show_one(name, as_json)
    else:
        _show_all(as_json)


def _show_all(as_json: bool) -> None:
    from fourfold.weights import ALIASES, FOR_COMPRESSED
    from fourfold.weights import models as shipped

    found = shipped()
    default = _default()
    marks = {FOR_COMPRESSED: "  (default for compressed pictures)", default: "  (default)"}
    if as_json:
        typer.echo(_json([_row(m.name, m.path, m.config, m.name == default) for m in found]))
        return
    if not found:
        typer.echo("no weights are shipped with this installation; every command takes a weights file, too", err=True)
        return
    other_names = {name: [a for a, n in ALIASES.items() if n == name] for name in (m.name for m in found)}
    for model in found:
        names = ", ".join([model.name, *other_names[model.name]])
        say(f"{names}{marks.get(model.name, '')}")
        say(f"    {'; '.join(_scores(model.config, _BRIEFLY)) or 'not scored'}")
        data = re.split(r"[:.](?=\s)", model.config.data or "unknown pictures")[0]
        licence = model.config.licence or "no licence"
        say(f"    {_network(model.config)}, {_megabytes(model.path)}; trained on {data}; {licence}")
    say("fourfold models NAME tells all of one: every measure, its data and their licences, its model card")


def _default() -> str | None:
    """Returns the model that is used when none is named, None where none can be."""
    from fourfold.weights import default_name

    try:
        return default_name()
    except UnknownModelError:
        return None


def _is_default(path: Path) -> bool:
    """Says whether this is the very file that is used when no model is named, and not another one of its name."""
    from fourfold.weights import locate

    default = _default()
    return default is not None and path.samefile(locate(default))


def _show_one(name: str, as_json: bool) -> None:
    from fourfold.weights import load_weights, locate

    weights = load_weights(name)  # reads and checks all of it: "it loads" is the first thing to know
    path, config = locate(name), weights.config
    row = _row(config.name or path.stem, path, config, _is_default(path))
    row |= {"sha256": weights.sha256, "parameter_count": weights.parameter_count, "recipe": config.recipe}
    if as_json:
        typer.echo(_json(row))
        return
    for label, value in _lines(row, config):
        for k, line in enumerate(str(value).split("\n")):
            say(f"{'' if k else label:<14}{line}")
    card = path.with_suffix(".md")
    if is_file(card):
        say(f"{'card':<14}{card}")


def _json(value: Any) -> str:
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """Returns values as JSON can hold them, as ``fourfold evaluate`` writes them: an infinite score as "inf"."""
    from fourfold.evaluation.record import plain

    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return plain(value) if isinstance(value, float) else value


def _lines(row: dict[str, Any], config: "WeightsConfig") -> list[tuple[str, Any]]:
    lines = [
        ("name", row["name"]),
        ("file", f"{row['path']} ({_megabytes(Path(row['path']))})"),
        ("sha256", row["sha256"]),
        ("network", f"{_network(config)}, {row['parameter_count']:,} parameters"),
        ("scores", "\n".join(_scores(config)) or "none in the file"),
        ("data", config.data or "not stated"),
        ("data licence", config.data_licence or "not stated"),
        ("licence", config.licence or "not stated"),
        ("training", _training(config)),
        ("written by", f"Fourfold {config.fourfold_version}"),
    ]
    if config.content_scale is not None:
        lines.append(("content scale", f"{config.content_scale:g}"))
    return lines


def _training(config: "WeightsConfig") -> str:
    if config.device and not config.updates:  # a network between two others has no updates of its own
        return config.device
    return f"{config.updates:,} updates on {config.device or 'a machine not stated'}"


def _row(name: str, path: Path, config: "WeightsConfig", default: bool) -> dict[str, Any]:
    row = asdict(config)
    del row["recipe"]  # long; shown for a single model
    return {**row, "name": name, "path": str(path), "bytes": path.stat().st_size, "default": default}


def _network(config: "WeightsConfig") -> str:
    parameters = ", ".join(f"{key} {value}" for key, value in config.parameters.items())
    return f"{config.architecture} ({parameters})"


#: how a measure is told; the card and --json have every digit
_MEASURES = {
    "psnr_y": "{:.2f} dB",
    "ssim_daala": "SSIM (daala) {:.4f}",
    "ssim_wang": "SSIM (Wang) {:.4f}",
    "niqe": "NIQE {:.2f}",
    "lr_psnr": "{:.1f} dB back to LR",
    "colour_drift": "drift {:.2f}",
}


#: the measures told where all models are listed
_BRIEFLY = ("psnr_y", "niqe")


def _scores(config: "WeightsConfig", measures: Collection[str] = tuple(_MEASURES)) -> list[str]:
    """Returns one text per set, its measures in a fixed order."""
    told = []
    for data, values in config.scores.items():
        if isinstance(values, dict):
            found = [
                text.format(values[key])
                for key, text in _MEASURES.items()
                if key in measures and isinstance(values.get(key), int | float)
            ]
            told += [f"{data} {', '.join(found)}"] if found else []
    return told


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"

"""``fourfold export``: a network for other programs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fourfold.cli.printing import say
from fourfold.cli.stopping import stopping_cleanly

app = typer.Typer(add_completion=False)


@app.command()
@stopping_cleanly()
def export(
    model: Annotated[str, typer.Argument(help="A shipped name (see `fourfold models`) or a weights file.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Ends in .onnx, .xml (OpenVINO, with its .bin) or .safetensors (plain torch keys)."
        ),
    ],
    fidelity: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="From 0, the model itself, to 1, the faithful one; mixes their weights."),
    ] = None,
    faithful: Annotated[
        str | None,
        typer.Option(help="The faithful model of --fidelity, a name or a file. Default: the one it began from."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Files, sizes and the check as JSON.")] = False,
) -> None:
    """Write a network for other programs: ONNX, OpenVINO or safetensors.

    The file is read back and compared with Fourfold's own engine; one that differs is not kept.
    """
    from fourfold.upscaling.export import export as export_weights
    from fourfold.upscaling.upscaler import resolve

    weights, made_of = resolve(model, fidelity=fidelity, faithful=faithful)
    if fidelity is not None and len({end.sha256 for end in made_of}) == 1:
        say(f"note: --fidelity {fidelity:g} changes nothing: {model} is the faithful network itself", err=True)
    done = export_weights(weights, output, overwrite=overwrite)
    if as_json:
        report = {
            "model": weights.config.name,
            "format": done.format,
            "files": [str(path) for path in done.paths],
            "bytes": done.size,
            "max_difference": done.difference,
            "checked_with": done.checked_with,
        }
        typer.echo(json.dumps(report, indent=2))
        return
    for path in done.paths:
        say(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    say(f"read back with {done.checked_with}: differs from Fourfold's engine by at most {done.difference:.1e}")

"""``fourfold train``: trains a recipe on folders of pictures."""

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourfold.cli.paths import given_path
from fourfold.errors import UsageError

if TYPE_CHECKING:
    from fourfold.training import DataSource, Recipe

app = typer.Typer(add_completion=False)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (srresnet-mse, srgan-vgg54, ...) or a TOML file.")],
    data: Annotated[
        list[Path],
        typer.Option("--data", parser=given_path, help="Folder of training pictures; may be given again."),
    ],
    valid: Annotated[
        Path | None, typer.Option("--valid", parser=given_path, help="Folder of HR pictures to validate on.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", parser=given_path, help="Run folder; the default is the next runs/NAME-###."),
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="paper, quick, cpu, or another of the recipe.")] = "paper",
    init: Annotated[
        str | None, typer.Option("--init", help="Start from a shipped model or a weights file; none begins anew.")
    ] = None,
    vgg: Annotated[
        Path | None,
        typer.Option(
            "--vgg", parser=given_path, help="VGG19's weights; the default is torchvision's, downloaded once."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value on top of the recipe, such as run.updates=2000.")
    ] = None,
    lr_data: Annotated[
        Path | None,
        typer.Option(
            "--lr-data", parser=given_path, help="Folder of LR pictures made beforehand, instead of shrinking HR."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", parser=given_path, help="Where a set larger than memory is kept decoded."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's newest checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe, the memory and the time needed, and stop.")
    ] = False,
) -> None:
    """Train a network on folders of pictures.

    Everything that a run is goes into its run folder: the resolved recipe, the log, checkpoints and weights files.
    Ctrl-C, SIGTERM or a closed terminal writes a checkpoint and leaves, with status 130, 143 or 129; --resume goes on
    from it, bit for bit on a CPU. Several processes: torchrun --nproc-per-node 8 -m -- fourfold train ..., see
    docs/training.md.
    """
    from fourfold.training import DataSource, load_recipe, next_run_folder, run_training, settled
    from fourfold.training.going_on import folder_of
    from fourfold.training.processes import read_launch

    launch = read_launch()
    if resume and run is None:
        raise UsageError("--resume needs --run FOLDER, the run to go on with")
    if run is None and launch.world_size > 1:
        raise UsageError("several processes need --run FOLDER, so that all of them mean the same one")
    resolved = load_recipe(recipe, profile=profile, settings=settings or [])
    if init is not None:
        resolved = resolved.model_copy(update={"init": None if init == "none" else init})
    source = DataSource(data, lr_data, cache)
    if dry_run:
        _print_plan(resolved, source, device, run, valid=valid, vgg=vgg, resume=resume)
        return
    from fourfold.cli.training_display import TrainingDisplay

    folder = run or folder_of(launch, settled(resolved, device)) or next_run_folder(resolved.name)
    with TrainingDisplay(resolved, folder, quiet=launch.rank > 0) as display:
        progress = run_training(
            resolved,
            source,
            folder=folder,
            valid=valid,
            vgg=vgg,
            device=device,
            resume=resume,
            listener=display.listen,
        )
    if status := _exit_status(progress.stopped_by):
        raise typer.Exit(status)


def _exit_status(stopped_by: str | None) -> int:
    """Returns the status of a process that a signal stopped, as shells count: a script must not take it for the end.

    Under torchrun it is 0: whatever is not, begins anew there, and the run was to stop.
    """
    from fourfold.training.processes import under_torchrun

    if stopped_by is None or under_torchrun():
        return 0
    number = signal.Signals[stopped_by] if stopped_by in signal.Signals.__members__ else signal.SIGTERM
    return 128 + number


def _count(left: int, updates: int) -> str:
    return f"{updates} updates" if left == updates else f"the {left} updates left of {updates}"


def _print_plan(
    recipe: "Recipe",
    source: "DataSource",
    device: str,
    run: Path | None,
    *,
    valid: Path | None,
    vgg: Path | None,
    resume: bool,
) -> None:
    from fourfold.training import estimate, make_fabric, settled
    from fourfold.training.going_on import recipe_before
    from fourfold.training.run_folder import RunFolder

    if run is not None:
        recipe_before(RunFolder(run), recipe, resume)
    recipe = settled(recipe, device)
    fabric = make_fabric(device, recipe.run.precision)
    going_on = RunFolder(run).checkpoints if run is not None and resume else None
    needs = estimate(recipe, fabric, source, valid=valid, vgg=vgg, resume=going_on)
    if fabric.global_rank > 0:
        return
    typer.echo(json.dumps({"recipe": recipe.model_dump(mode="json"), "estimate": asdict(needs)}, indent=2))
    hours, minutes = divmod(round(needs.run_s / 60), 60)
    typer.echo(
        f"{needs.pictures} pictures ({needs.left_out} left out), {needs.data_bytes / 1e9:.2f} GB of pixels, "
        f"{needs.data_kept}; {needs.update_bytes / 1e9:.2f} GB for networks and one update; checkpoints of "
        f"{needs.checkpoint_bytes / 1e6:.0f} MB. On {needs.device}: {needs.update_s:.3g} s per update, "
        f"{_count(needs.updates_left, recipe.run.updates)} in about {hours} h {minutes} min",
        err=True,
    )

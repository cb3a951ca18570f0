"""``fourfold train``: trains a recipe on folders of pictures."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourfold.cli.paths import given_path
from fourfold.errors import UsageError
from fourfold.signals import unless_ignored

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
    from fourfold.evaluation.record import shown
    from fourfold.training import DataSource, load_recipe, next_run_folder, run_training, settled
    from fourfold.training.going_on import folder_of
    from fourfold.training.processes import check_device, read_launch

    launch = read_launch()
    check_device(device)  # before a run folder is made
    if resume and run is None:
        raise UsageError("--resume needs --run FOLDER, the run to go on with")
    if run is None and launch.world_size > 1:
        raise UsageError("several processes need --run FOLDER, so that all of them mean the same one")
    resolved = load_recipe(recipe, profile=profile, settings=settings or [])
    if init is not None:
        if shown(init) != init:  # the run's recipe, which is JSON, could not name it
            raise UsageError(f"--init {shown(init)}: this name is not in UTF-8; rename the file")
        resolved = resolved.model_copy(update={"init": None if init == "none" else init})
    source = DataSource(data, lr_data, cache)
    if dry_run:
        _print_plan(resolved, source, device, run, valid=valid, vgg=vgg, resume=resume)
        return
    from fourfold.cli.training_display import TrainingDisplay

    folder = run or folder_of(launch, settled(resolved, device)) or next_run_folder(resolved.name)
    quiet = launch.rank > 0
    with _stopping_between_updates(quiet), TrainingDisplay(resolved, folder, quiet=quiet) as display:
        progress = run_training(
            resolved,
            source,
            folder=folder,
            valid=valid,
            vgg=vgg,
            device=device,
            resume=resume,
            given=recipe,
            listener=display.listen,
        )
    if status := _exit_status(progress.stopped_by):
        raise typer.Exit(status)


class _StoppedError(BaseException):
    """A signal asks to stop where no update is under way; no handler of errors is meant to see it."""


@contextmanager
def _stopping_between_updates(quiet: bool) -> Iterator[None]:
    """Lets a signal that asks to stop tidy up what is begun, such as decoded pictures; training has its own way."""

    def stop(number: int, _frame: object) -> None:
        raise _StoppedError(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in unless_ignored("SIGTERM", "SIGHUP")}
    try:
        yield
    except (_StoppedError, KeyboardInterrupt) as asked:
        name = "SIGINT" if isinstance(asked, KeyboardInterrupt) else str(asked)
        how = "at once; --resume goes on from the last checkpoint, where there is one" if name == "SIGINT" else ""
        with suppress(OSError):  # a terminal that is closed shows nothing
            if not quiet:
                typer.echo(f"{name}: stopped{' ' + how if how else '; no update was under way'}", err=True)
        raise typer.Exit(_exit_status(name)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    from fourfold.training.going_on import as_it_began, check_lr, recipe_before, recipe_broken_off
    from fourfold.training.run_folder import RunFolder

    going_on = None
    if run is not None:
        before = recipe_before(RunFolder(run), recipe, resume)
        if before is not None:
            check_lr(RunFolder(run), source.lr_folder)
            going_on = RunFolder(run).checkpoints
        earlier = before or recipe_broken_off(RunFolder(run))
        recipe = recipe if earlier is None else as_it_began(recipe, earlier)
    recipe = settled(recipe, device)
    fabric = make_fabric(device, recipe.run.precision)
    needs = estimate(recipe, fabric, source, valid=valid, vgg=vgg, resume=going_on)
    if fabric.global_rank > 0:
        return
    typer.echo(json.dumps({"recipe": recipe.model_dump(mode="json"), "estimate": asdict(needs)}, indent=2))
    for sentence in needs.overlooked:
        typer.echo(f"note: {sentence}", err=True)
    hours, minutes = divmod(round(needs.run_s / 60), 60)
    typer.echo(
        f"{needs.pictures} pictures ({needs.left_out} left out), {needs.data_bytes / 1e9:.2f} GB of pixels, "
        f"{needs.data_kept}; {needs.update_bytes / 1e9:.2f} GB for networks and one update; checkpoints of "
        f"{needs.checkpoint_bytes / 1e6:.0f} MB. On {needs.device}: {needs.update_s:.3g} s per update, "
        f"{_count(needs.updates_left, recipe.run.updates)} in about {hours} h {minutes} min",
        err=True,
    )

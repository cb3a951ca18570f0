"""From a recipe and folders to a trained network: the one way in for the command line and for Python."""

import platform
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from fourfold.errors import TrainingError, UsageError
from fourfold.networks import VGG19Features, from_weights, load_vgg19
from fourfold.training.bank import Bank
from fourfold.training.batches import Batches
from fourfold.training.calibration import calibrate
from fourfold.training.checkpoint import load_checkpoint, remove_partial_files
from fourfold.training.data import DataSource, open_bank
from fourfold.training.degradation import Degradation
from fourfold.training.estimate import compute_dtype
from fourfold.training.graph import GraphedStage
from fourfold.training.loop import Listener, Progress, Trainer
from fourfold.training.pictures import BankReport
from fourfold.training.processes import any_process, make_fabric, one_first, read_launch
from fourfold.training.recipe import Recipe
from fourfold.training.run_folder import RunFolder
from fourfold.training.sampler import CropSampler
from fourfold.training.stage import Stage, can_capture, make_stage
from fourfold.training.validation import Validator
from fourfold.version import __version__
from fourfold.weights import load_weights


def run_training(
    recipe: Recipe,
    source: DataSource,
    *,
    folder: Path,
    valid: Path | None = None,
    vgg: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    listener: Listener = lambda kind, values: None,
) -> Progress:
    """Trains a recipe, or goes on with it, and returns where it stopped.

    Under torchrun or SLURM, every process calls this; when the launcher begins anew after a failure, it goes on
    from the newest checkpoint by itself.

    Args:
        recipe: the resolved recipe.
        source: training pictures.
        folder: the run folder; must be new unless ``resume``.
        valid: folder of HR pictures to validate on.
        vgg: file of VGG19's weights; None downloads torchvision's, if the recipe needs any.
        device: "auto", "cpu", "cuda" or "mps".
        resume: go on from the newest checkpoint in ``folder``.
        listener: told of every event, on the first process; see :class:`fourfold.training.loop.Trainer`.

    Raises:
        TrainingError: if training cannot start, go on or be kept.
        DataError: if the pictures are not usable.
    """
    launch, run_folder = read_launch(), RunFolder(folder)
    resume = _check_folder(run_folder, resume, restarted=launch.restarts > 0)
    if resume:
        _check_recipe(run_folder, recipe)
    with run_folder.held() if launch.rank == 0 else nullcontext():
        torch.manual_seed(recipe.run.seed)
        fabric = make_fabric(device, recipe.run.precision, launch)
        fabric.barrier()  # every process has looked at the folder before the first one writes into it
        return _train(recipe, source, run_folder, fabric, listener, valid=valid, vgg=vgg, resume=resume)


def _train(
    recipe: Recipe,
    source: DataSource,
    run_folder: RunFolder,
    fabric: Fabric,
    listener: Listener,
    *,
    valid: Path | None,
    vgg: Path | None,
    resume: bool,
) -> Progress:
    listener = listener if fabric.is_global_zero else lambda kind, values: None
    bank, report = _open_data(recipe, source, fabric, run_folder.path, listener)
    features, scale = _content(recipe, vgg, bank, fabric, run_folder if resume else None, listener)
    batches = _batches(recipe, bank, fabric)
    stage: Stage = make_stage(recipe, fabric, generator=_initial(recipe), features=features, content_scale=scale)
    stage = GraphedStage(stage) if can_capture(recipe, fabric) else stage
    compared = features if recipe.run.best_by == "content" else None
    validator = Validator(valid, recipe.scale, features=compared, content_scale=scale) if valid is not None else None
    about = {**_about(report, fabric), "content_scale": scale}
    trainer = Trainer(recipe, stage, batches, validator, run_folder, fabric, listener, about)
    if resume:
        trainer.resume()  # refuses what does not belong together, before anything in the folder is written anew
    if fabric.is_global_zero:
        again = f"fourfold train {recipe.name} --run {run_folder.path} --resume ..."
        run_folder.start(recipe, report, __version__, again)
        remove_partial_files(run_folder.checkpoints)
    progress = trainer.run()
    fabric.barrier()
    return progress


def _check_folder(run_folder: RunFolder, resume: bool, *, restarted: bool) -> bool:
    """Returns whether to go on from a checkpoint.

    Raises:
        TrainingError: if the folder is taken, or there is nothing to go on from.
    """
    folder = run_folder.path
    if restarted:
        return any(run_folder.checkpoints.glob("update-*.pt"))
    if resume and load_checkpoint(run_folder.checkpoints) is None:
        raise TrainingError(f"there is no checkpoint in {folder} to go on from; leave out --resume to begin")
    if not resume and run_folder.taken:
        raise TrainingError(f"the run folder {folder} is not empty; give another --run, or --resume to go on with it")
    return resume


def _check_recipe(run_folder: RunFolder, recipe: Recipe) -> None:
    """Refuses to go on with another recipe or profile than the run's; single settings may have changed.

    Raises:
        TrainingError: naming both.
    """
    before = run_folder.recipe()
    if (before.name, before.profile) != (recipe.name, recipe.profile):
        raise TrainingError(
            f"the run in {run_folder.path} is of {before.name}, profile {before.profile}, and was to go on with "
            f"{recipe.name}, profile {recipe.profile}; give the same recipe and --profile (--set can change settings), "
            "or begin a new run with --init latest.safetensors"
        )


def _open_data(
    recipe: Recipe, source: DataSource, fabric: Fabric, folder: Path, listener: Listener
) -> tuple[Bank, BankReport]:
    bank, report = open_bank(
        source,
        recipe.data,
        recipe.scale,
        fabric.device,
        default_cache=folder.parent / "decoded",
        progress=lambda done, total: listener("reading", {"done": done, "total": total}),
        announce=lambda text: listener("bank", {"text": text}),
        one_first=one_first(fabric),
        any_process=partial(any_process, fabric),
    )
    listener(
        "data",
        {
            "used": len(report.used),
            "too_small": len(report.too_small),
            "broken": len(report.broken),
            "duplicates": len(report.duplicates),
        },
    )
    return bank, report


def _content(
    recipe: Recipe, vgg: Path | None, bank: Bank, fabric: Fabric, resumed: RunFolder | None, listener: Listener
) -> tuple[VGG19Features | None, float | None]:
    """Returns VGG19 and the factor on its loss: the checkpoint's, the recipe's, or calibrated now."""
    if not recipe.loss.vgg:
        if vgg is not None:
            raise UsageError(f"--vgg {vgg}: {recipe.name} has no VGG term; leave it out, or --set loss.vgg=1.0")
        return None, None
    with one_first(fabric):
        features = load_vgg19(
            vgg, recipe.loss.vgg_layer, recipe.loss.vgg_normalisation, progress=_downloading(listener)
        )
    features = features.to(fabric.device)
    state = load_checkpoint(resumed.checkpoints) if resumed is not None else None
    scale = (state or {}).get("content_scale") or recipe.loss.vgg_scale
    how = "of the checkpoint" if (state or {}).get("content_scale") else "of the recipe"
    if scale is None:
        # on one process, so that all have the very same number
        scale, how = float(fabric.broadcast(calibrate(features, bank, recipe, fabric.device))), "calibrated"
    listener("content_scale", {"scale": scale, "how": how, "layer": recipe.loss.vgg_layer})
    return compute_dtype(features, recipe), scale


def _batches(recipe: Recipe, bank: Bank, fabric: Fabric) -> Batches:
    sampler = CropSampler(
        bank.heights,
        bank.widths,
        recipe.data,
        recipe.run.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        grid_px=recipe.scale if bank.has_lr else 1,
    )
    return Batches(bank, sampler, Degradation(recipe.data, recipe.scale, fabric.device), fabric.device)


def _initial(recipe: Recipe) -> torch.nn.Module | None:
    if recipe.init is None:
        if recipe.network.frozen_statistics:
            raise TrainingError(
                "network.frozen_statistics keeps the statistics of initial weights, and there are none: "
                "give --init, or --set network.frozen_statistics=false"
            )
        return None
    weights = load_weights(recipe.init)
    same = weights.config.architecture == recipe.network.architecture
    if not same or weights.config.parameters != recipe.network.parameters:
        raise TrainingError(
            f"--init {recipe.init} is a {weights.config.architecture} with {weights.config.parameters}; "
            f"the recipe trains a {recipe.network.architecture} with {recipe.network.parameters}. "
            "--set network.parameters.NAME=VALUE makes them equal"
        )
    return from_weights(weights).train()


def _about(report: BankReport, fabric: Fabric) -> dict[str, Any]:
    place = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else platform.machine() + " CPU"
    count = f" x {fabric.world_size}" if fabric.world_size > 1 else ""
    return {"data": f"{len(report.used)} pictures", "device": place + count}


def _downloading(listener: Listener) -> Callable[[int, int], None]:
    return lambda done, total: listener("downloading", {"done": done, "total": total})

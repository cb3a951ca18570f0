"""From a recipe and folders to a trained network: the one way in for the command line and for Python."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from fourfold.networks import VGG19Features, load_vgg19
from fourfold.training.bank import Bank
from fourfold.training.batches import Batches
from fourfold.training.calibration import calibrate, calibrated_for
from fourfold.training.checkpoint import load_checkpoint, remove_partial_files
from fourfold.training.data import DataSource, open_bank
from fourfold.training.degradation import Degradation
from fourfold.training.estimate import check_vgg_wanted, compute_dtype, device_name, make_validator
from fourfold.training.going_on import (
    as_it_began,
    changes,
    check_lr,
    how_to_go_on,
    recipe_before,
    recipe_broken_off,
)
from fourfold.training.graph import GraphedStage
from fourfold.training.initial import initial_discriminator, initial_generator, remark_on_the_beginning
from fourfold.training.jpeg import Compression
from fourfold.training.loop import Listener, Progress, Trainer
from fourfold.training.pictures import BankReport, overlooked, pictures_under
from fourfold.training.processes import (
    Launch,
    any_process,
    make_fabric,
    naming_a_lost_process,
    one_first,
    read_launch,
    settled,
)
from fourfold.training.recipe import Recipe
from fourfold.training.run_folder import RunFolder
from fourfold.training.sampler import CropSampler
from fourfold.training.schedule import remark_on_the_schedule
from fourfold.training.stage import Stage, can_capture, make_stage
from fourfold.version import __version__


def run_training(
    recipe: Recipe,
    source: DataSource,
    *,
    folder: Path,
    valid: Path | None = None,
    vgg: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    given: str = "",
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
        resume: go on from the newest checkpoint in ``folder``; a run that ended before its first one begins anew.
        given: the shipped name or the file that the recipe was loaded from, for the command that goes on.
        listener: told of every event, on the first process; see :class:`fourfold.training.loop.Trainer`.

    Raises:
        TrainingError: if training cannot start, go on or be kept.
        DataError: if the pictures are not usable.
    """
    launch, run_folder, recipe = read_launch(), RunFolder(folder), settled(recipe, device)
    before = recipe_before(run_folder, recipe, resume, launch)
    anew = before is None and run_folder.taken
    earlier = recipe_broken_off(run_folder) if anew else before
    if earlier is not None:  # what it began from stays what it was, whatever is named now
        recipe = as_it_began(recipe, earlier)
    if before is not None:
        check_lr(run_folder, source.lr_folder)
    with run_folder.held() if launch.rank == 0 else nullcontext():
        torch.manual_seed(recipe.run.seed)
        fabric = make_fabric(device, recipe.run.precision, launch)
        fabric.barrier()  # every process has looked at the folder before the first one writes into it
        with naming_a_lost_process(launch):
            return _train(
                recipe,
                source,
                run_folder,
                fabric,
                launch,
                listener,
                valid=valid,
                vgg=vgg,
                before=before,
                earlier=earlier,
                anew=anew,
                given=given,
            )


def _train(
    recipe: Recipe,
    source: DataSource,
    run_folder: RunFolder,
    fabric: Fabric,
    launch: Launch,
    listener: Listener,
    *,
    valid: Path | None,
    vgg: Path | None,
    before: Recipe | None,
    earlier: Recipe | None,
    anew: bool,
    given: str,
) -> Progress:
    listener = listener if fabric.is_global_zero else lambda kind, values: None
    # before the pictures, which may take an hour: what is no good is told at once
    # going on, everything comes from the checkpoint; what it began from may be gone
    discriminator = initial_discriminator(recipe) if before is None else None
    generator = initial_generator(recipe) if before is None else None
    features = _features(recipe, vgg, fabric, listener)
    compared = features if recipe.run.best_by == "content" else None
    validator = make_validator(recipe, valid, compared, None) if valid is not None else None
    bank, report = _open_data(recipe, source, fabric, launch, run_folder.path, listener)
    scale = None
    if features is not None:
        scale = _content_scale(recipe, features.to(fabric.device), bank, fabric, run_folder, before, listener)
        features = compute_dtype(features, recipe)
    if validator is not None:
        validator.content_scale = scale
    batches = _batches(recipe, bank, fabric, _order_seed(recipe.run.seed, generator))
    stage: Stage = make_stage(
        recipe, fabric, generator=generator, discriminator=discriminator, features=features, content_scale=scale
    )
    stage = GraphedStage(stage) if can_capture(recipe, fabric) else stage
    about = {**_about(report, fabric), "content_scale": scale}
    trainer = Trainer(recipe, stage, batches, validator, run_folder, fabric, listener, about)
    if before is not None:
        trainer.resume(before)  # refuses what does not belong together, before anything in the folder is written anew
    if fabric.is_global_zero:
        shown_before, bytes_before = run_folder.pictures(), run_folder.picture_bytes()
        lr_before, lr_now = run_folder.lr_folder(), str(source.lr_folder or "")
        again = how_to_go_on(run_folder.path, recipe, given)
        run_folder.start(recipe, report, __version__, again, launch.name, source.lr_folder)
        remove_partial_files(run_folder.checkpoints)
        if before is not None:
            trainer.write_missing()
        remarks = ["the run that was here ended before its first checkpoint; it begins anew"] if anew else []
        if before is None and (remark := remark_on_the_beginning(recipe)):
            remarks.append(remark)
        if remark := remark_on_the_schedule(recipe):
            remarks.append(remark)
        if earlier is not None and (changed := changes(earlier, recipe)):
            remarks.append(f"settings that differ from before: {changed}")
        if before is not None:
            if shown_before not in ([], [path.name for path in report.used]):
                remarks.append("the pictures are not those of before, or in another order: some may come twice a round")
            elif bytes_before not in ([], run_folder.picture_bytes()):
                remarks.append("pictures are not the files of before, though called the same")
            if lr_before is not None and Path(lr_before).resolve() != Path(lr_now).resolve():
                remarks.append(f"LR pictures are those in {lr_now}; until now they were those in {lr_before}")
            if (done := trainer.progress.update) >= recipe.run.updates:
                remarks.append(f"{done} updates are done already, and run.updates is {recipe.run.updates}: more go on")
            if before.run.seed != recipe.run.seed:
                remarks.append("run.seed counts where a run begins; the order of pictures and crops goes on as it was")
        if recipe.loss.consistency and bank.has_lr:
            remarks.append(
                f"loss.consistency compares with HR shrunk by data.degradation={recipe.data.degradation}, not with LR "
                "of --lr-data: they should be the same"
            )
        remarks += report.overlooked
        if valid is not None:
            remarks += [f"--valid: {sentence}" for sentence in overlooked(valid)]
        if valid is not None and (shared := _shared(report, valid)):
            remarks.append(f"{shared} of the validation pictures are trained on, too; their scores say little")
        update = trainer.progress.update
        for text in remarks:
            run_folder.log("remark", update=update, text=text)
            listener("remark", {"update": update, "text": text})
    progress = trainer.run()
    fabric.barrier()
    return progress


def _shared(report: BankReport, valid: Path) -> int:
    """Returns how many validation pictures are trained on, whatever the files are called and wherever they lie."""
    sizes = {path: path.stat().st_size for path in pictures_under(valid, "--valid")}
    used = set()
    for path in [*report.used, *(path for path, _ in report.duplicates)]:
        with suppress(OSError):  # gone since it was decoded
            if path.stat().st_size in sizes.values():  # few: the others need not be read
                used.add(sha256(path.read_bytes()).digest())
    return sum(sha256(path.read_bytes()).digest() in used for path in sizes)


def _open_data(
    recipe: Recipe, source: DataSource, fabric: Fabric, launch: Launch, folder: Path, listener: Listener
) -> tuple[Bank, BankReport]:
    bank, report = open_bank(
        source,
        recipe.data,
        recipe.scale,
        fabric.device,
        processes=launch.per_node,
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


def _features(recipe: Recipe, vgg: Path | None, fabric: Fabric, listener: Listener) -> VGG19Features | None:
    """Returns VGG19 up to the recipe's layer, on the CPU, or None where the recipe has no use for it."""
    check_vgg_wanted(recipe, vgg)
    if not recipe.loss.vgg:
        return None
    with one_first(fabric):
        return load_vgg19(vgg, recipe.loss.vgg_layer, recipe.loss.vgg_normalisation, progress=_downloading(listener))


def _content_scale(
    recipe: Recipe,
    features: VGG19Features,
    bank: Bank,
    fabric: Fabric,
    run_folder: RunFolder,
    before: Recipe | None,
    listener: Listener,
) -> float:
    """Returns the factor on the VGG loss: the recipe's, the checkpoint's, or calibrated now."""
    scale, how = _known_scale(recipe, run_folder, before)
    if scale is None:
        # on one process, so that all have the very same number
        scale = float(fabric.broadcast(calibrate(features, bank, recipe, fabric.device)))
    listener("content_scale", {"scale": scale, "how": how, "layer": recipe.loss.vgg_layer})
    return scale


def _known_scale(recipe: Recipe, run_folder: RunFolder, before: Recipe | None) -> tuple[float | None, str]:
    """Returns the factor on the VGG loss, or None where it must be calibrated, and in words, where it comes from."""
    if recipe.loss.vgg_scale is not None:
        return recipe.loss.vgg_scale, "of the recipe"
    state = load_checkpoint(run_folder.checkpoints) if before is not None else None
    if before is None or state is None or not state.get("content_scale"):
        return None, "calibrated"
    theirs = state.get("calibrated_for") or calibrated_for(before)  # earlier checkpoints do not say
    changed = [key for key, value in calibrated_for(recipe).items() if theirs.get(key) != value]
    if not changed:
        return float(state["content_scale"]), "of the checkpoint"
    return None, f"calibrated again: the checkpoint's is for another {' and '.join(changed)}"


def _order_seed(seed: int, initial: torch.nn.Module | None) -> int:
    """Returns the seed of the order and the crops: a stage that begins from another one's weights has its own.

    With the recipe's seed alone, every stage of a campaign would be shown the crops of the first.
    """
    if initial is None:
        return seed
    digest = sha256(f"{seed}".encode())
    for tensor in initial.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return int.from_bytes(digest.digest()[:7])


def _batches(recipe: Recipe, bank: Bank, fabric: Fabric, seed: int) -> Batches:
    sampler = CropSampler(
        bank.heights,
        bank.widths,
        recipe.data,
        seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        grid_px=recipe.scale if bank.has_lr else 1,
    )
    degrade = Degradation(recipe.data, recipe.scale, fabric.device)
    compress = Compression(recipe.data, recipe.scale, fabric.device) if recipe.data.jpeg_share else None
    return Batches(bank, sampler, degrade, fabric.device, compress)


def _about(report: BankReport, fabric: Fabric) -> dict[str, Any]:
    count = f" x {fabric.world_size}" if fabric.world_size > 1 else ""
    return {"data": f"{len(report.used)} pictures", "device": device_name(fabric.device) + count}


def _downloading(listener: Listener) -> Callable[[int, int], None]:
    return lambda done, total: listener("downloading", {"done": done, "total": total})

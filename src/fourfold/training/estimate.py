"""What a run will need, measured before it starts: memory, and time by a few updates on made-up pictures."""

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from fourfold.errors import CheckpointError, UsageError
from fourfold.networks import VGG19Features, load_vgg19
from fourfold.networks.vgg19_weights import check_downloadable
from fourfold.training.checkpoint import load_checkpoint
from fourfold.training.data import DataSize, DataSource, find_usable, measure_data
from fourfold.training.degradation import Degradation
from fourfold.training.graph import WARM_UPDATES, GraphedStage
from fourfold.training.initial import initial_discriminator, initial_generator
from fourfold.training.pictures import overlooked
from fourfold.training.processes import read_launch
from fourfold.training.recipe import Recipe
from fourfold.training.restoring import reach_px
from fourfold.training.sampler import check_batch
from fourfold.training.stage import Stage, can_capture, make_stage
from fourfold.training.validation import Validator

#: Updates that are timed, after those that warm up.
TIMED_UPDATES = 3


@dataclass(frozen=True)
class Estimate:
    """What a run will need.

    Attributes:
        pictures: found and large enough.
        left_out: too small or broken, by their headers.
        overlooked: in words, what is there and not read, or not looked into.
        data_kept: "resident" or "streamed".
        data_bytes: of decoded pixels.
        update_bytes: networks, optimisers, one update and the largest validation picture: the peak on the device
            (CUDA) or of the process; 0 where it is not known.
        checkpoint_bytes: about, of one checkpoint.
        update_s: one update, measured.
        updates_left: of the whole run, after those of its checkpoint.
        run_s: the updates that are left; validation and checkpoints come on top.
        device: where it was measured.
    """

    pictures: int
    left_out: int
    overlooked: list[str]
    data_kept: str
    data_bytes: int
    update_bytes: int
    checkpoint_bytes: int
    update_s: float
    updates_left: int
    run_s: float
    device: str


def estimate(
    recipe: Recipe,
    fabric: Fabric,
    source: DataSource,
    *,
    valid: Path | None = None,
    vgg: Path | None = None,
    resume: Path | None = None,
) -> Estimate:
    """Returns what a run of the recipe will need on this machine; takes some updates' time.

    What would stop the run at its start is refused here, too, but for what only decoding all pictures tells (which of
    them are copies, or broken) and only writing does (whether the run's folder can be made, and is no other run's).
    Without a file, VGG19 counts with made-up weights: they cost what the real ones cost.

    Args:
        recipe: the resolved recipe.
        fabric: device, precision, processes.
        source: training pictures.
        valid: folder of HR pictures to validate on.
        vgg: file of VGG19's weights.
        resume: checkpoints of the run to go on with; it needs no initial weights, and must be of these networks.

    Raises:
        CheckpointError: if the run's networks are others, or its checkpoints cannot be read.
        DataError: if the pictures are too few or not usable, by their headers.
        TrainingError: if the initial weights are not those of the recipe's networks.
        WeightsError: if these or VGG19's cannot be read.
    """
    pictures, report = find_usable(source, recipe.data, recipe.scale)
    check_batch(len(pictures), recipe.data, fabric.world_size)
    size: DataSize = measure_data(pictures, recipe.data, recipe.scale, fabric.device, read_launch().per_node)
    generator = initial_generator(recipe) if resume is None else None
    discriminator = initial_discriminator(recipe) if resume is None else None
    features = _features(recipe, vgg)
    if features is not None:
        features = compute_dtype(features, recipe).to(fabric.device)
    compared = features if recipe.run.best_by == "content" else None
    validator = make_validator(recipe, valid, compared, 1.0) if valid is not None else None
    stage: Stage = make_stage(
        recipe, fabric, generator=generator, discriminator=discriminator, features=features, content_scale=1e-6
    )
    done = _updates_done(stage, resume, len(pictures)) if resume is not None else 0
    stage = GraphedStage(stage) if can_capture(recipe, fabric) else stage
    update_s = _time_updates(stage, recipe, fabric)
    if validator is not None:
        validator.score_largest(stage.networks["generator"].eval(), fabric)
    trained = sum(p.numel() for network in stage.networks.values() for p in network.parameters())
    averaged = sum(p.numel() for p in stage.networks["generator"].parameters())
    return Estimate(
        pictures=len(pictures),
        left_out=report.left_out,
        overlooked=report.overlooked
        + ([f"--valid: {said}" for said in overlooked(valid)] if valid is not None else []),
        data_kept=size.kind,
        data_bytes=size.bytes_needed,
        update_bytes=_peak_bytes(fabric.device),
        checkpoint_bytes=4 * (3 * trained + averaged),
        update_s=update_s,
        updates_left=(left := max(recipe.run.updates - done, 0)),
        run_s=update_s * left,
        device=_with_threads(fabric.device),
    )


def make_validator(
    recipe: Recipe, valid: Path, features: VGG19Features | None, content_scale: float | None
) -> Validator:
    """Returns the validation that a recipe's run has.

    Raises:
        DataError: if the pictures are not usable.
    """
    return Validator(
        valid,
        recipe.scale,
        features=features,
        content_scale=content_scale,
        content_zoom=recipe.loss.mean_vgg_zoom,
        degradation=recipe.data.degradation,
        jpeg_quality=recipe.data.jpeg_quality if recipe.data.jpeg_share else None,
        halo_px=reach_px(recipe.network.architecture, recipe.network.parameters),
    )


def _updates_done(stage: Stage, checkpoints: Path, pictures: int) -> int:
    """Returns how many updates the newest checkpoint has behind it; refuses one of other networks, or more pictures.

    More pictures than the run had are no reason to refuse: some of them may be copies, which only decoding finds.
    """
    state = load_checkpoint(checkpoints)
    if state is None:
        return 0

    def shapes(networks: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, dict[str, torch.Size]]:
        return {name: {key: tensor.shape for key, tensor in values.items()} for name, values in networks.items()}

    if shapes(state["networks"]) != shapes({name: network.state_dict() for name, network in stage.networks.items()}):
        raise CheckpointError(f"the checkpoint in {checkpoints} is of other networks; give the settings that it had")
    if (had := int(state["sampler"].get("pictures", 0))) > pictures:
        raise CheckpointError(
            f"the run was on {had} pictures and there are {pictures} now; give it the same --data, or begin a new run "
            "with --init latest.safetensors"
        )
    return int(state["update"])


def _features(recipe: Recipe, vgg: Path | None) -> VGG19Features | None:
    check_vgg_wanted(recipe, vgg)
    if not recipe.loss.vgg:
        return None
    if vgg is not None:
        return load_vgg19(vgg, recipe.loss.vgg_layer, recipe.loss.vgg_normalisation)
    return VGG19Features(recipe.loss.vgg_layer, recipe.loss.vgg_normalisation)


def check_vgg_wanted(recipe: Recipe, vgg: Path | None) -> None:
    """Refuses VGG19's weights where they would not be used, and a run that wants such as are not to be had.

    Raises:
        UsageError: naming the file that is not wanted.
        WeightsError: if the recipe wants the Oxford weights, and no file is given.
    """
    if vgg is not None and not recipe.loss.vgg:
        raise UsageError(f"--vgg {vgg}: {recipe.name} has no VGG term; leave it out, or --set loss.vgg=1.0")
    if vgg is None and recipe.loss.vgg:
        check_downloadable(recipe.loss.vgg_normalisation)


def compute_dtype(features: VGG19Features, recipe: Recipe) -> VGG19Features:
    """Returns VGG19 with its convolutions in the run's precision, channels-last; what it subtracts stays exact."""
    dtype = torch.bfloat16 if recipe.run.precision == "bf16" else torch.float32
    features.features.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return features


def device_name(device: torch.device) -> str:
    """Returns what a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"{platform.machine()} GPU (Metal)"
    return f"{platform.machine()} CPU"


def _with_threads(device: torch.device) -> str:
    return device_name(device) + (f" ({torch.get_num_threads()} threads)" if device.type == "cpu" else "")


def _time_updates(stage: Stage, recipe: Recipe, fabric: Fabric) -> float:
    share, crop_px = recipe.data.batch // fabric.world_size, recipe.data.crop_px
    hr = torch.rand(max(share, 1), 3, crop_px, crop_px, device=fabric.device)
    hr = hr.contiguous(memory_format=torch.channels_last)
    lr = Degradation(recipe.data, recipe.scale, fabric.device)(hr)
    for _ in range(WARM_UPDATES + 2 if isinstance(stage, GraphedStage) else 2):
        stage.step(lr, hr)
    wait(fabric.device)
    started = time.perf_counter()
    for _ in range(TIMED_UPDATES):
        stage.step(lr, hr)
    wait(fabric.device)
    return (time.perf_counter() - started) / TIMED_UPDATES


def wait(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0  # not told without another library
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kilobytes

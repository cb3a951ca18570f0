"""Whether a run begins or goes on: what is in its folder, who left it there, and what the launcher says."""

import shlex
from collections.abc import Iterator, Mapping
from glob import escape
from pathlib import Path
from typing import Any

from fourfold.errors import TrainingError
from fourfold.training.checkpoint import checkpoints, load_checkpoint
from fourfold.training.processes import Launch
from fourfold.training.recipe import Recipe, recipe_names
from fourfold.training.run_folder import RUNS, RunFolder


def recipe_before(run_folder: RunFolder, recipe: Recipe, resume: bool, launch: Launch | None = None) -> Recipe | None:
    """Returns the recipe that the run in the folder had until now; None where it begins, or begins anew.

    Read before anything is written: a process that goes on keeps its recipe there. A launcher that begins anew after
    a failure goes on by itself, but only with a run of its own: it also begins anew when the folder was refused.

    Args:
        run_folder: where the run is, or is to be.
        recipe: what is to be run.
        resume: go on with what is there.
        launch: how this process was started; by hand, where it is left out.

    Raises:
        TrainingError: if the folder is taken, cannot be read, or holds no such run to go on with.
    """
    folder, launch = run_folder.path, launch or Launch()
    restarted = launch.restarts > 0 and run_folder.taken and is_of(run_folder, launch)
    if not resume and not restarted:
        if run_folder.taken:
            raise TrainingError(
                f"the run folder {folder} is not empty; give another --run, or --resume to go on with it"
            )
        return None
    if restarted and not checkpoints(run_folder.checkpoints):
        return None
    if not run_folder.taken:
        raise TrainingError(f"there is no checkpoint in {folder} to go on from; leave out --resume to begin")
    before = _same_recipe(run_folder, recipe)
    return before if load_checkpoint(run_folder.checkpoints) is not None else None


def recipe_broken_off(run_folder: RunFolder) -> Recipe | None:
    """Returns the recipe of a run that was killed before its first checkpoint; None where nothing is known of one."""
    return _recipe_of(run_folder) if run_folder.taken else None


def as_it_began(recipe: Recipe, before: Recipe) -> Recipe:
    """Returns the recipe with the beginnings that the run had, whatever is named now."""
    discriminator = recipe.discriminator.model_copy(update={"init": before.discriminator.init})
    return recipe.model_copy(update={"init": before.init, "discriminator": discriminator})


def is_of(run_folder: RunFolder, launch: Launch) -> bool:
    """Returns whether it was this launch that began the run or went on with it, in an earlier attempt."""
    name, since = run_folder.launch()
    return bool(launch.name) and name == launch.name and since >= launch.since


def folder_of(launch: Launch, recipe: Recipe) -> Path | None:
    """Returns the numbered folder that an earlier attempt of this launch made for the same run, or None.

    Args:
        launch: how this process was started.
        recipe: what is to be run, its precision decided. A job may have several runs, one after the other or side by
            side; they differ in their settings.

    Raises:
        TrainingError: if the launch has several runs with these settings.
    """
    if launch.restarts == 0:
        return None
    own = (folder for path in sorted(RUNS.glob(f"{escape(recipe.name)}-*")) if is_of(folder := RunFolder(path), launch))
    found = [folder.path for folder in own if _recipe_of(folder) == recipe]
    if len(found) > 1:
        raise TrainingError(
            f"this job has begun {' and '.join(map(str, found))}, with the same settings; give each of its runs a --run"
        )
    return found[0] if found else None


def _recipe_of(folder: RunFolder) -> Recipe | None:
    try:
        return folder.recipe()
    except TrainingError:  # killed before it had written it: there is nothing to go on with
        return None


def check_lr(run_folder: RunFolder, lr_folder: Path | None) -> None:
    """Refuses to go on with LR of another kind: with other LR it is another task, and nothing would show it.

    Raises:
        TrainingError: naming what the run had.
    """
    had = run_folder.lr_folder()
    if had is None or bool(had) == (lr_folder is not None):
        return
    what = f"has LR pictures of --lr-data {had}; give it again" if had else "makes LR from HR; leave --lr-data out"
    raise TrainingError(f"the run in {run_folder.path} {what}, or begin a new run with --init latest.safetensors")


def how_to_go_on(folder: Path, recipe: Recipe, given: str = "") -> str:
    """Returns the command that a run's folder names, as far as it is known there.

    Args:
        folder: the run's.
        recipe: resolved.
        given: the shipped name or the file that it was loaded from: a copy of a shipped one may have kept its name.
    """
    name = shlex.quote(given) if given else recipe.name if recipe.name in recipe_names() else "RECIPE.toml"
    profile, run = shlex.quote(recipe.profile), shlex.quote(str(folder))
    return f"fourfold train {name} --profile {profile} --run {run} --resume ..."


def changes(before: Recipe, now: Recipe) -> str:
    """Returns in words what a run goes on with that was otherwise before, but for its length; "" where nothing is.

    A setting given with ``--set`` and left out the next time goes back to the recipe's own, and nobody would notice.
    """
    old, new = dict(_settings(before.model_dump())), dict(_settings(now.model_dump()))
    changed = [key for key in new if key not in ("run.updates", "description") and old.get(key) != new[key]]
    return ", ".join(f"{key} {old.get(key)} -> {new[key]}" for key in changed)


def _settings(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every setting with its name, such as "data.crop_px"."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _same_recipe(run_folder: RunFolder, recipe: Recipe) -> Recipe:
    """Returns the run's recipe; refuses to go on with another or another profile. Single settings may have changed.

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
    return before

"""The learning rate by update."""

import math

from fourfold.training.recipe import Recipe, ScheduleSettings


def learning_rate_factor(settings: ScheduleSettings, update: int, updates: int, head_start: int = 0) -> float:
    """Returns the factor on the learning rate for an update.

    A run shorter than its warm-up, or than its descent, has it over all of its updates: either way the learning rate
    is the recipe's at one update, unless both are asked for in fewer updates than they take together.

    The schedule is of the updates after a head start. That has the warm-up alone, for an optimiser's sake; and both
    networks have it again afterwards, so that their rates keep their ratio.

    Args:
        settings: the recipe's schedule.
        update: number of updates done before this one, from 0.
        updates: length of the whole run.
        head_start: updates at its beginning that teach the discriminator alone.
    """
    if update < head_start:
        warmup = min(settings.warmup_updates, head_start)
        return min(1.0, (update + 1) / warmup) if warmup else 1.0
    update, updates = update - head_start, updates - head_start
    warmup = min(settings.warmup_updates, updates)
    warm = min(1.0, (update + 1) / warmup) if warmup else 1.0
    if settings.kind == "step":
        return warm * settings.factor ** sum(update >= milestone for milestone in settings.milestones)
    final = settings.final_factor
    if settings.kind == "cosine":
        return warm * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, update / updates))))
    if settings.kind == "decay" and settings.decay_updates:
        left = min(1.0, max(0.0, (updates - update) / min(settings.decay_updates, updates)))
        return warm * (final + (1.0 - final) * left)
    return warm


def remark_on_the_schedule(recipe: Recipe) -> str:
    """Returns in words that all milestones lie beyond the run's end, as in a shortened one; "" where one does not."""
    schedule, updates = recipe.schedule, recipe.run.updates - recipe.head_start
    if schedule.kind != "step" or min(schedule.milestones, default=0) < updates:
        return ""
    return (
        f"schedule.milestones begin with {min(schedule.milestones)}, and the schedule has {updates} "
        f"update{'s' * (updates != 1)}: the learning rate never falls"
    )

"""The learning rate by update."""

import math

from fourfold.training.recipe import ScheduleSettings


def learning_rate_factor(settings: ScheduleSettings, update: int, updates: int) -> float:
    """Returns the factor on the learning rate for an update.

    Args:
        settings: the recipe's schedule.
        update: number of updates done before this one, from 0.
        updates: length of the whole run.
    """
    warm = min(1.0, (update + 1) / settings.warmup_updates) if settings.warmup_updates else 1.0
    if settings.kind == "step":
        return warm * settings.factor ** sum(update >= milestone for milestone in settings.milestones)
    final = settings.final_factor
    if settings.kind == "cosine":
        return warm * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, update / updates))))
    if settings.kind == "decay" and settings.decay_updates:
        left = min(1.0, max(0.0, (updates - update) / settings.decay_updates))
        return warm * (final + (1.0 - final) * left)
    return warm

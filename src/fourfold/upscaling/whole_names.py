"""Outputs that would get one name: told apart by their sources' whole names, or not made."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from fourfold.errors import FourfoldError, PictureError
from fourfold.upscaling.files import Job


def told_apart(jobs: list[Job], suffix: str) -> tuple[list[Job], list[str]]:
    """Returns the jobs with ``cat.gif_x4.png`` for a ``cat.gif`` beside a ``cat.png``, whose own name stays; and notes.

    A whole name may be another's, too, as that of ``cat.gif`` is ``cat.gif.png``'s, which then gets its own. It depends
    on the pictures alone, and not on their order, what they are called. Pictures of one name clash still.
    """
    named: list[Job] = list(jobs)
    notes: dict[int, str] = {}
    while renamed := _next_renamed(jobs, named, suffix):
        for k, new in renamed.items():
            name, taken = new.destination.name, named[k].destination.name
            notes[k] = f"{new.source}: named {name}, since another picture becomes {taken}"
            named[k] = new
    return named, [notes[k] for k in sorted(notes)]


def _next_renamed(jobs: list[Job], named: list[Job], suffix: str) -> dict[int, Job]:
    """Returns those, by number, that make room now: whoever changes its ending, or where all have, who does not."""
    renamed: dict[int, Job] = {}
    for clash in _clashes(named):
        if len({named[k].source.name for k in clash}) == 1:
            continue
        plain = [k for k in clash if named[k].destination == jobs[k].destination]
        whole = {k: with_whole_name(named[k], suffix) for k in plain}
        whole = {k: new for k, new in whole.items() if new.destination != named[k].destination}
        renamed |= {k: new for k, new in whole.items() if _changes_ending(new)} or whole
    return renamed


def with_whole_name(job: Job, suffix: str) -> Job:
    """Returns a job whose output is called after all of its source's name."""
    return Job(job.source, job.destination.with_name(job.source.name + suffix + job.destination.suffix))


def _changes_ending(job: Job) -> bool:
    return job.source.suffix.lower() != job.destination.suffix.lower()


def _clashes(jobs: list[Job]) -> Iterable[list[int]]:
    """Returns the numbers of those jobs that would make one file, together."""
    by_place = defaultdict(list)
    for k, job in enumerate(jobs):
        by_place[place(job.destination)].append(k)
    return [clash for clash in by_place.values() if len(clash) > 1]


def without_clashes(jobs: list[Job]) -> tuple[list[Job], list[tuple[str, FourfoldError]]]:
    """Returns the jobs without those that would make one file still, and these as problems."""
    refused: dict[int, str] = {}
    for clash in _clashes(jobs):
        for k in clash:
            other = next(jobs[n].source for n in clash if n != k)
            refused[k] = f"{jobs[k].source} and {other} would both become {jobs[k].destination}"
    problems: list[tuple[str, FourfoldError]] = [
        (str(jobs[k].source), PictureError(f"{refused[k]}; upscale them into different folders"))
        for k in sorted(refused)
    ]
    return [job for k, job in enumerate(jobs) if k not in refused], problems


def without_unclear(before: list[Job], after: list[Job]) -> tuple[list[Job], list[tuple[str, FourfoldError]]]:
    """Returns the jobs without those of which nobody knows whether they are done, and these as problems.

    A ``cat.gif`` that was upscaled while it was alone lies in ``cat_x4.png``, which a ``cat.png`` that came later would
    take for its own.
    """
    pairs = list(zip(before, after, strict=True))
    unclear = _unclear_places([(job, new) for job, new in pairs if job.destination != new.destination])
    rivals: dict[str, dict[Path, None]] = {}
    for job, new in pairs:
        for path in (job.destination, new.destination):
            rivals.setdefault(place(path), {})[job.source] = None
    kept: list[Job] = []
    problems: list[tuple[str, FourfoldError]] = []
    for job, new in pairs:
        there = next((path for path in (new.destination, job.destination) if place(path) in unclear), None)
        if there is None:
            kept.append(new)
            continue
        made_of = " or ".join(map(str, rivals[place(there)]))
        problem = f"{there} is there, made of {made_of}; move it away, and both are upscaled"
        problems.append((str(job.source), PictureError(problem)))
    return kept, problems


def _unclear_places(renamed: list[tuple[Job, Job]]) -> set[str]:
    """Returns what is there and may be of either of two pictures, given the jobs that got another name."""
    unclear: set[str] = set()
    while True:
        more = {
            place(job.destination)
            for job, new in renamed
            if os.path.lexists(job.destination)
            # where its new name may be somebody else's, the old one may be its own
            and (not os.path.lexists(new.destination) or place(new.destination) in unclear)
        }
        if more <= unclear:
            return unclear
        unclear |= more


def place(path: Path) -> str:
    """Returns what is the same for all ways to write one name; a link differs from what it leads to."""
    return os.path.normcase(os.path.join(real(path.parent), path.name))  # noqa: PTH118, keeps "..", too


def real(path: str | Path) -> str:
    """Returns the absolute name of what a path leads to, without links.

    Raises:
        PictureError: if it is relative to a folder that is there no more.
    """
    try:
        return os.path.realpath(path)
    except FileNotFoundError as error:
        raise PictureError(f"{path}: the current folder is there no more; go to another one") from error

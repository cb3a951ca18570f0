"""Training checkpoints: everything that a run needs to go on as if it had never stopped.

Unlike a weights file, a checkpoint holds all networks, the optimisers, the average, the sampler and the random
state. It is read with ``weights_only=True``: tensors and plain values, no code.
"""

import io
from pathlib import Path
from typing import Any

import torch

from fourfold.durable import write_atomically
from fourfold.errors import CheckpointError, TrainingError
from fourfold.places import is_folder, why_closed, why_unseen

FORMAT_VERSION = 1


def checkpoint_path(folder: Path, update: int) -> Path:
    """Returns where the checkpoint after an update lies."""
    return folder / f"update-{update:08d}.pt"


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints of a run, oldest first.

    Raises:
        CheckpointError: if the folder cannot be read.
    """
    if why := why_unseen(folder) or (why_closed(folder) if is_folder(folder) else None):
        raise CheckpointError(f"the checkpoints in {folder} cannot be read ({why})")
    return sorted(folder.glob("update-*.pt"))


def save_checkpoint(folder: Path, update: int, state: dict[str, Any], *, keep: int, best: int = 0) -> Path:
    """Writes a checkpoint, whole or not at all, and removes all but the newest ``keep`` and the best.

    Args:
        folder: of the checkpoints.
        update: updates made.
        state: tensors and plain values.
        keep: how many of the newest stay.
        best: update of the best one, which stays, too; 0 for none.

    Raises:
        TrainingError: if it cannot be written; the older checkpoints are then still there.
    """
    path = checkpoint_path(folder, update)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT_VERSION, "update": update, **state}, buffer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise TrainingError(
            f"cannot write checkpoint {path} ({error.strerror or error}); the last good one is kept. "
            "Make room, then go on with --resume"
        ) from error
    # one with a higher number is damaged, or this update would have come after it: it takes no good one's place
    for old in [p for p in checkpoints(folder) if p <= path][:-keep]:
        if not best or old != checkpoint_path(folder, best):
            old.unlink(missing_ok=True)
    return path


def remove_partial_files(folder: Path) -> None:
    """Removes what a killed process left half-written; such files never have a checkpoint's name."""
    for part in (p for place in (folder, folder.parent, folder.parent / "pictures") for p in place.glob(".*.part")):
        part.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Returns the newest readable checkpoint of a run, or None where there is none.

    Raises:
        CheckpointError: if there are checkpoints and none can be read, or the folder cannot.
    """
    problems = []
    for path in reversed(checkpoints(folder)):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            problems.append(f"{path.name}: {error}")
            continue
        if not isinstance(state, dict) or state.get("format") != FORMAT_VERSION:
            found = state.get("format") if isinstance(state, dict) else type(state).__name__
            problems.append(f"{path.name}: format {found!r}, this Fourfold reads {FORMAT_VERSION}")
            continue
        return state
    if problems:
        raise CheckpointError(f"no checkpoint in {folder} can be read ({'; '.join(problems)})")
    return None


def random_state() -> dict[str, Any]:
    """Returns the state of torch's generators, the CPU's and this process's device's; training draws from no other."""
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Puts back what :func:`random_state` returned, on whatever device this process has: all processes draw alike."""
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        saved = state["cuda"]
        torch.cuda.set_rng_state(saved[0] if isinstance(saved, list) else saved)  # a list: of every device, once
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])

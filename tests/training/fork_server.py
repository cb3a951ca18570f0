"""A process that imports everything once and trains in forked children, which may be killed at any moment.

Reads JSON lines on standard input and answers each with one number:

- ``{"start": {"recipe", "settings", "pictures", "folder", "resume", "environment"}}``: the child's process id;
- ``{"wait": pid}``: its exit status (negative: the signal that ended it; 3: it was asked to stop, and did);
- ``{"poll": pid}``: 1 while it runs, 0 afterwards.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard

from fourfold.errors import FourfoldError
from fourfold.training import DataSource, run_training
from tests.training.conftest import tiny_recipe

#: exit status of a run that a signal stopped in order
STOPPED = 3

STATUS: dict[int, int] = {}


def start(order: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    os.environ.update(order["environment"])
    try:
        progress = run_training(
            tiny_recipe(order["recipe"], *order["settings"]),
            DataSource([Path(order["pictures"])]),
            folder=Path(order["folder"]),
            device="cpu",
            resume=order["resume"],
        )
    except FourfoldError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(STOPPED if progress.stopped_by else 0)


def finished(child: int, flags: int) -> bool:
    if child not in STATUS:
        found, status = os.waitpid(child, flags)
        if found:
            STATUS[child] = os.waitstatus_to_exitcode(status)
    return child in STATUS


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            answer = start(order["start"])
        elif "poll" in order:
            answer = int(not finished(order["poll"], os.WNOHANG))
        else:
            finished(order["wait"], 0)
            answer = STATUS[order["wait"]]
        print(answer, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

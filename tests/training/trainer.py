"""The test's side of ``fork_server.py``."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Trainer:
    """Trains tiny runs in processes of their own, without importing torch for each of them.

    Args:
        pictures: folder of training pictures.
    """

    def __init__(self, pictures: Path) -> None:
        self._pictures = pictures
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
        )

    def start(self, folder: Path, *settings: str, resume: bool = False, **environment: str) -> int:
        """Begins a run and returns its process id."""
        order = {
            "recipe": "srgan-mse",
            "settings": ["run.checkpoint_every=2", "run.log_every=1", "data.workers=1", *settings],
            "pictures": str(self._pictures),
            "folder": str(folder),
            "resume": resume,
            "environment": environment,
        }
        return self._ask({"start": order})

    def wait(self, child: int) -> int:
        """Returns the run's exit status."""
        return self._ask({"wait": child})

    def runs(self, child: int) -> bool:
        """Returns whether the run has not ended yet."""
        return bool(self._ask({"poll": child}))

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

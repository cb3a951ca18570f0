"""The Makefile sets up an environment, or leaves nothing that it would take for one."""

import subprocess
import sys
from pathlib import Path

MAKEFILE = Path(__file__).parents[1] / "Makefile"

#: Makes environments as Debian's Python does without its package python3-venv: not to the end.
INCOMPLETE = f"""#!/bin/sh
[ "$2" = venv ] || exec {sys.executable} "$@"
mkdir -p "$3/bin"
touch "$3/bin/python"
exit 1
"""


def test_an_environment_that_could_not_be_finished_is_begun_anew(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(INCOMPLETE)
    python.chmod(0o755)
    made = tmp_path / "venv" / "bin" / "python"
    for _ in range(2):
        done = subprocess.run(["make", "-f", MAKEFILE, f"PYTHON={python}", f"VENV={tmp_path}/venv", made], cwd=tmp_path)
        assert done.returncode == 2
        assert made.parent.is_dir() and not made.exists()

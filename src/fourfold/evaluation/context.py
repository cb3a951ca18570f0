"""What must stand beside a number so that it can be checked: versions, commit, hashes, machine, conventions."""

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fourfold.evaluation.benchmark import BORDER_PX, Benchmark
from fourfold.evaluation.sets import SCALE
from fourfold.version import __version__

#: libraries whose version can move a result
_LIBRARIES = ("numpy", "pyvips", "openvino", "torch", "scipy", "lpips")

CONVENTIONS = {
    "psnr_y": f"Y of BT.601 in studio range, not rounded; {BORDER_PX} px cut from every border; mean over pictures",
    "ssim_wang": f"Wang et al. 2004: 11x11 Gaussian of sigma 1.5, valid region, Y not rounded, {BORDER_PX} px cut",
    "ssim_daala": f"daala's dump_ssim: sigma = height * 1.5 / 256, 8-bit Y, {BORDER_PX} px cut; the paper's SSIM",
    "niqe": f"Mittal et al. 2013 on 8-bit Y, {BORDER_PX} px cut; lower is more natural",
    "lr_psnr": "PSNR of the result, shrunk by the exact bicubic and not rounded, against LR; RGB, whole picture",
    "colour_drift": "distance of its mean colour from LR's, mean over R, G and B, in 255ths",
    "seconds": "wall time of restoring one picture, reading and writing left out; the first picture of each size has "
    "the engine's preparation for that size in it",
    "p": "two-sided paired Wilcoxon signed-rank test over the set's pictures, zero differences left out",
    "lr": "given with the set, or made by MATLAB's bicubic (antialiased, a = -0.5) and rounded to the picture's depth",
}


def describe(found: Benchmark, *, command: str = "") -> dict[str, Any]:
    """Returns the context of a benchmark as plain values for JSON.

    Args:
        found: the finished benchmark.
        command: the command line that ran it.
    """
    return {
        "fourfold": __version__,
        "commit": commit(),
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "elapsed_s": found.elapsed_s,
        "machine": {"processor": processor(), "system": platform.platform(), "python": platform.python_version()},
        "libraries": _versions(),
        "scale": SCALE,
        "border_px": BORDER_PX,
        "conventions": CONVENTIONS,
        "sets": {
            s.name: {"images": len(s.entries), "layout": s.layout, "sha256": s.sha256, "folder": str(s.folder)}
            for s in found.sets
        },
        "methods": {m.name: m.about() for m in found.methods},
        "problems": [vars(p) for p in found.problems],
        "notes": [*found.notes, *(f"{s.name}: no hash, {s.why_unhashed}" for s in found.sets if s.why_unhashed)],
    }


def commit() -> str | None:
    """Returns the git commit that this code is, with "+" where files differ from it; None outside a checkout."""
    folder = Path(__file__).parent
    head = _git(folder, "rev-parse", "HEAD")
    if head is None or _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no", ":/src") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def processor() -> str:
    """Returns the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions

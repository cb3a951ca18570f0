"""Peak memory of upscaling a file, against the limit that --max-memory sets.

    python benchmarks/memory.py --megapixels 1 10 100
    python benchmarks/memory.py --megapixels 1 10 --model srresnet-mse

Each case runs in a process of its own. Without --model, a stand-in that repeats pixels takes the network's place, and
as much memory as its tensors in fp32, so that 100 megapixels take minutes rather than hours; everything else, from the
decoder through the tiles to the encoder, is the real thing. What is compared with the limit is the peak of the
resident memory over what the process held once the upscaler was loaded and had run on one small picture.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--formats", nargs="+", default=["png"], help="output formats")
    parser.add_argument("--source", default="png", help="input format")
    parser.add_argument("--alpha", action="store_true")
    parser.add_argument("--orientation", type=int, default=1)
    parser.add_argument("--model", help="a real network instead of the stand-in")
    parser.add_argument("--max-memory", default="1G")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run_case(**json.loads(options.case))
        return
    print("| in | out | format | peak over start | limit | of it in files | seconds |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for megapixels in options.megapixels:
            source = make_source(Path(folder), megapixels, options)
            for format in options.formats:
                case = {
                    "source": str(source),
                    "destination": str(Path(folder) / f"out.{format}"),
                    "model": options.model,
                    "max_memory": options.max_memory,
                }
                found = subprocess.run(
                    [sys.executable, __file__, "--case", json.dumps(case)], stdout=subprocess.PIPE, check=True
                )
                print(found.stdout.decode().strip(), flush=True)


def make_source(folder: Path, megapixels: float, options: argparse.Namespace) -> Path:
    import pyvips

    width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = int(megapixels * 1e6 / width)
    x = pyvips.Image.xyz(width, height)
    noise = pyvips.Image.gaussnoise(width, height, sigma=12)
    bands = [(x[0] * 0.05).sin() * 60, (x[1] * 0.31).cos() * 60, ((x[0] + x[1]) * 1.7).sin() * 60]
    picture = bands[0].bandjoin(bands[1:]) + 128 + noise
    if options.alpha:
        picture = picture.bandjoin((x[0] % 512 > 100) * 255)
    picture = picture.cast("uchar").copy(interpretation="srgb")
    if options.orientation != 1:
        picture = picture.copy()
        picture.set_type(pyvips.GValue.gint_type, "orientation", options.orientation)
    path = folder / f"in{megapixels:g}.{options.source}"
    picture.write_to_file(str(path))
    return path


def run_case(source: str, destination: str, model: str | None, max_memory: str) -> None:
    from fourfold.upscaling import load
    from fourfold.upscaling.files import FileOptions, upscale_file

    upscaler = stand_in(max_memory) if model is None else load(model, max_memory=max_memory)
    upscaler(np.zeros((64, 64, 3), np.uint8))
    start = resident_bytes()
    watch = Watch()
    started_s = time.monotonic()
    outcome = upscale_file(upscaler, source, destination, options=FileOptions(overwrite=True))
    elapsed_s = time.monotonic() - started_s
    peak, in_files = watch.stop()
    mega = outcome.width * outcome.height / 1e6
    megabytes = [f"{value / 2**20:.0f} MiB" for value in (peak - start, upscaler.max_memory, in_files)]
    print(
        f"| {mega / 16:.1f} MP | {mega:.0f} MP | {Path(destination).suffix[1:]} | {megabytes[0]} | {megabytes[1]} "
        f"| {megabytes[2]} | {elapsed_s:.1f} |"
    )
    print(f"ru_maxrss {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", file=sys.stderr)
    Path(destination).unlink()


class Watch:
    """Samples the resident memory in a thread."""

    def __init__(self) -> None:
        self.peak, self.in_files, self._done = 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(0.02):
            now = resident_bytes()
            if now > self.peak:
                self.peak, self.in_files = now, resident_bytes(field=2)

    def stop(self) -> tuple[int, int]:
        """Returns the peak, and how much of it were pages of files, which the system may take back."""
        self._done.set()
        self._thread.join()
        return self.peak, self.in_files


def resident_bytes(field: int = 1) -> int:
    return int(Path("/proc/self/statm").read_text().split()[field]) * os.sysconf("SC_PAGE_SIZE")


def stand_in(max_memory: str):
    """Returns an upscaler whose network repeats pixels."""
    from fourfold.upscaling import Upscaler
    from fourfold.weights import WeightsConfig, expected_shapes, read_weights, write_weights

    parameters = {"blocks": 16, "width": 64}
    tensors = {
        name: np.full(shape, 0.01, np.float32) for name, shape in expected_shapes("srresnet", parameters).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = write_weights(
            Path(folder) / "w.safetensors", WeightsConfig("srresnet", parameters, name="stand-in"), tensors
        )
        upscaler = Upscaler(read_weights(path), precision="fp32", max_memory=max_memory)
    values_per_px = upscaler._graph.peak_values(in_place=True)
    held = []

    def run(lr: np.ndarray) -> np.ndarray:
        needed = int(values_per_px * lr.shape[2] * lr.shape[3])
        if not held or held[0].size < needed:
            held[:] = [np.ones(needed, np.float32)]  # what the network's own tensors would take, and keep
        return np.repeat(np.repeat(lr, 4, axis=2), 4, axis=3)

    upscaler._engine.run = run
    return upscaler


if __name__ == "__main__":
    main()

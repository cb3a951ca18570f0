"""What encoding costs beside the network, for every format; see docs/speed.md.

    python benchmarks/encoding.py PICTURE [--model NAME|FILE]

The picture is upscaled once and written in every format. CPU seconds, because the command encodes in a thread of its
own while the network works on the next tile or picture.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import fourfold
from fourfold.imaging import Picture, read_rgb, write_picture
from fourfold.weights import default_name

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("a.png", {}),
    "JPEG": ("a.jpg", {}),
    "TIFF": ("a.tif", {}),
    "WebP": ("a.webp", {}),
    "AVIF": ("a.avif", {}),
    "AVIF, lossless": ("b.avif", {"lossless": True}),
    "WebP, lossless": ("b.webp", {"lossless": True}),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", default=default_name())
    options = parser.parse_args()
    upscaler = fourfold.load(options.model)
    start = time.process_time()
    sr = upscaler(read_rgb(options.picture))
    network_s = time.process_time() - start
    print(f"{upscaler.name}: {sr.shape[1]}x{sr.shape[0]} in {network_s:.2f} CPU s")
    print(f"{'':16} {'CPU s':>7} {'of the network':>15} {'MB':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        for title, (name, how) in CASES.items():
            path = Path(scratch) / name
            start = time.process_time()
            write_picture(Picture(sr), path, **how)
            cpu_s = time.process_time() - start
            print(f"{title:16} {cpu_s:7.2f} {cpu_s / network_s:15.1%} {path.stat().st_size / 1e6:7.2f}")


if __name__ == "__main__":
    main()

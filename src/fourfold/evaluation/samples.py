"""Real photographs that other installed packages carry; Fourfold itself holds no borrowed picture."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from fourfold.errors import DataError

#: (left, top, side) of a square, in pixels.
Square = tuple[int, int, int]


@dataclass(frozen=True)
class Sample:
    """A photograph in an installed package.

    Attributes:
        name: what the command line calls it.
        package: top-level package that carries it.
        file: path inside that package.
        credit: what it shows, by whom, under which terms.
        middle: (x, y) of the part worth looking at closely.
    """

    name: str
    package: str
    file: str
    credit: str
    middle: tuple[int, int]


SAMPLES = (
    Sample("astronaut", "skimage", "data/astronaut.png", "Eileen Collins, by NASA, public domain", (224, 118)),
    Sample("chelsea", "skimage", "data/chelsea.png", "Chelsea, by Stefan van der Walt, CC0", (175, 115)),
    Sample("coffee", "skimage", "data/coffee.png", "Espresso, by Rachel Michetti, CC0", (420, 300)),
    Sample("rocket", "skimage", "data/rocket.jpg", "Launch of DSCOVR, by SpaceX, CC0", (320, 190)),
    Sample(
        "hopper",
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Grace Hopper, by the U.S. Navy, public domain",
        (268, 200),
    ),
)


def find_sample(name: str | None = None) -> tuple[Sample, Path]:
    """Returns a sample and its file; without a name, the first that is installed.

    The package that carries it is looked up, not imported.

    Raises:
        DataError: if none is installed.
    """
    for sample in SAMPLES:
        if name is not None and sample.name != name:
            continue
        path = _locate(sample)
        if path is not None:
            return sample, path
    wanted = "no sample photograph is" if name is None else f"the sample {name!r} is not"
    raise DataError(f"{wanted} installed; pip install 'fourfold[demo]', or give a picture of your own (--picture FILE)")


def _locate(sample: Sample) -> Path | None:
    spec = importlib.util.find_spec(sample.package)
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    found = (Path(folder) / sample.file for folder in folders)
    return next((path for path in found if path.is_file()), None)

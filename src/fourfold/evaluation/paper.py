"""The numbers of the SRGAN paper's tables, to stand beside ours (Ledig et al. 2017, Tables 1 and 2).

PSNR on Y with 4 pixels cut; SSIM is daala's; MOS is the mean of 26 raters.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Published(NamedTuple):
    """One cell of the paper's tables."""

    psnr_y: float
    ssim_daala: float
    mos: float


#: the paper's sets and how many pictures each has
PICTURES = {"Set5": 5, "Set14": 14, "BSD100": 100}
_SETS = tuple(PICTURES)

#: method -> one cell per set, in the order of the sets; Table 1's variants have no BSD100
_TABLE: dict[str, tuple[tuple[float, float, float], ...]] = {
    "nearest": ((26.26, 0.7552, 1.28), (24.64, 0.7100, 1.20), (25.02, 0.6606, 1.11)),
    "bicubic": ((28.43, 0.8211, 1.97), (25.99, 0.7486, 1.80), (25.94, 0.6935, 1.47)),
    "srcnn": ((30.07, 0.8627, 2.57), (27.18, 0.7861, 2.26), (26.68, 0.7291, 1.87)),
    "selfexsr": ((30.33, 0.8720, 2.65), (27.45, 0.7972, 2.34), (26.83, 0.7387, 1.89)),
    "drcn": ((31.52, 0.8938, 3.26), (28.02, 0.8074, 2.84), (27.21, 0.7493, 2.12)),
    "espcn": ((30.76, 0.8784, 2.89), (27.66, 0.8004, 2.52), (27.02, 0.7442, 2.01)),
    "srresnet-mse": ((32.05, 0.9019, 3.37), (28.49, 0.8184, 2.98), (27.58, 0.7620, 2.29)),
    "srresnet-vgg22": ((30.51, 0.8803, 3.46), (27.19, 0.7807, 3.15)),
    "srgan-mse": ((30.64, 0.8701, 3.77), (26.92, 0.7611, 3.43)),
    "srgan-vgg22": ((29.84, 0.8468, 3.78), (26.44, 0.7518, 3.57)),
    "srgan-vgg54": ((29.40, 0.8472, 3.58), (26.02, 0.7397, 3.72), (25.16, 0.6688, 3.56)),
}
_TABLE["hr"] = ((float("inf"), 1.0, 4.32), (float("inf"), 1.0, 4.32), (float("inf"), 1.0, 4.46))

#: what else the paper's sets are called, in small letters
_OTHER_SETS = {"b100": "BSD100", "bsds100": "BSD100"}

#: other names of the paper's methods
_ALIASES = {"srgan": "srgan-vgg54", "srresnet": "srresnet-mse"}


def paper_set(name: str) -> str | None:
    """Returns the name in the paper of a set, whatever it is called here: "B100" is BSD100; None if it has none."""
    known = {of.lower(): of for of in PICTURES} | _OTHER_SETS
    return known.get(name.lower())


def published(method: str, set_name: str, pictures: int | None = None) -> Published | None:
    """Returns the paper's numbers of a method on a set, or None where it has none.

    Args:
        method: a method's name, in any case.
        set_name: "Set5", "Set14" or "BSD100", or another name of theirs.
        pictures: how many pictures the set has here; means over another number are not the paper's.
    """
    name = method.lower()
    cells, of = _TABLE.get(_ALIASES.get(name, name), ()), paper_set(set_name)
    if of is None or _SETS.index(of) >= len(cells) or pictures not in (None, PICTURES[of]):
        return None
    return Published(*cells[_SETS.index(of)])


def why_left_out(set_name: str, pictures: int, methods: Sequence[str]) -> list[str]:
    """Returns a note if the paper has numbers for these methods, but for another number of pictures."""
    of = paper_set(set_name)
    if of is None or pictures == PICTURES[of] or not any(published(method, of) for method in methods):
        return []
    return [f"{set_name}: the paper's numbers are left out; its {of} has {PICTURES[of]} pictures, this one {pictures}"]

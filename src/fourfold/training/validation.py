"""Validation while training: whole pictures, shrunk as in training, restored and scored on Y."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fourfold.errors import DataError, PictureError
from fourfold.evaluation.metrics import psnr, ssim_wang
from fourfold.imaging import imresize, read_rgb, to_integers
from fourfold.imaging.resampling import Kernel
from fourfold.networks import VGG19Features
from fourfold.training.jpeg import round_trip
from fourfold.training.pictures import pictures_under
from fourfold.training.processes import mean_over_processes
from fourfold.training.restoring import restore_whole

#: SSIM's window of 11 pixels inside a border of 4, rounded up to what every scale divides.
SMALLEST_PX = 24
#: Pictures that are shown as they improve, and the side of the part of them that is shown.
SHOWN_PICTURES = 4
SHOWN_PX = 256
#: VGG19 looks at the middle of a picture, so large at most each way: it takes 2 kB for each pixel.
CONTENT_PX = 2048
#: What a picture counts for at most: one that is restored without an error, such as a black one, has an infinite PSNR,
#: and would decide every mean.
LARGEST_PSNR = 100.0


@dataclass
class Validation:
    """What a validation found.

    Attributes:
        scores: means over the pictures: "psnr_y" in dB, of which each counts for 100 at most, "ssim_wang", and
            "content_loss" where VGG19 is in use.
        sheets: (name, picture) of the first few, no two of one name: bicubic, restored and HR side by side,
            (H, W, 3) uint8.
    """

    scores: dict[str, float]
    sheets: list[tuple[str, NDArray[Any]]] = field(default_factory=list)


class Validator:
    """Scores a network on a folder of HR pictures, as the benchmark does.

    Args:
        folder: HR pictures; cropped at the right and bottom to a multiple of the scale.
        scale: the network's factor.
        features: VGG19; adds the content loss to the scores.
        content_scale: its factor.
        content_zoom: VGG19 sees the middle of each picture enlarged by this, as it does in training with
            ``loss.vgg_zoom``; at 1, it would prefer the fine waves that the enlargement is there to show.
        degradation: how LR is made, as in training.
        jpeg_quality: LR is compressed as JPEG, at qualities from the first to the second; None for not at all.
        halo_px: how far the network looks, in LR pixels: large pictures are restored in tiles.

    Attributes:
        identity: of the pictures: scores on others do not compare.
        content_scale: as given; a run that calibrates it sets it once its pictures are read.

    Raises:
        DataError: if the folder holds no picture, or one cannot be read or is too small to be scored.
    """

    def __init__(
        self,
        folder: Path,
        scale: int,
        features: VGG19Features | None = None,
        content_scale: float | None = None,
        content_zoom: float = 1.0,
        degradation: Kernel = "bicubic",
        jpeg_quality: tuple[int, int] | None = None,
        halo_px: int = 64,
    ) -> None:
        self._scale, self._features, self.content_scale = scale, features, content_scale
        self._content_zoom, self._halo_px = content_zoom, halo_px
        self.names: list[str] = []
        self.pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
        try:
            for path in pictures_under(folder, "--valid"):
                hr = read_rgb(path)
                hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
                if min(hr.shape[:2]) < SMALLEST_PX:
                    raise DataError(f"--valid {path} is too small to be scored; it needs {SMALLEST_PX} px each way")
                self.names.append(_unused(path.stem, self.names))
                self.pairs.append((imresize(hr, 1 / scale, kernel=degradation), hr))
        except PictureError as error:
            raise DataError(f"--valid {error}") from error
        if jpeg_quality is not None:
            qualities = np.linspace(*jpeg_quality, len(self.pairs)).round().astype(int).tolist()
            self.pairs = [(round_trip(lr, q), hr) for (lr, hr), q in zip(self.pairs, qualities, strict=True)]
        self.identity = f"{len(self.pairs)} pictures, {reduce(_checksum, (hr for _, hr in self.pairs), 0):08x}"
        self.identity += "" if degradation == "bicubic" else f", {degradation}"
        self.identity += "" if jpeg_quality is None else f", JPEG {jpeg_quality[0]}..{jpeg_quality[1]}"

    @torch.inference_mode()
    def score(self, network: nn.Module, fabric: Fabric) -> Validation:
        """Returns mean Y-PSNR and Wang SSIM over the pictures (4 px border, 8-bit pictures), and sheets to look at.

        Several processes share the pictures out.

        Args:
            network: in evaluation mode.
            fabric: device, precision, processes.
        """
        rows, sheets = [], []
        for k in self._own(fabric):
            lr, hr = self.pairs[k]
            sr = self.restore(network, lr, fabric)
            rows.append([min(psnr(sr, hr), LARGEST_PSNR), ssim_wang(sr, hr), *self._content_loss(sr, hr, fabric)])
            if k < SHOWN_PICTURES:
                sheets.append((self.names[k], self._sheet(lr, sr, hr)))
        columns = 3 if self._features is not None else 2
        sums = torch.tensor([*np.sum(np.array(rows).reshape(-1, columns), axis=0), len(rows)], dtype=torch.float32)
        *totals, count = mean_over_processes(fabric, sums.to(fabric.device)).tolist()
        names = ("psnr_y", "ssim_wang", "content_loss")
        return Validation({name: total / count for name, total in zip(names, totals, strict=False)}, sheets)

    def _own(self, fabric: Fabric) -> list[int]:
        """Returns which pictures this process scores: the first one those that are shown, since it alone writes."""
        owner = {k: 0 if k < SHOWN_PICTURES else k % fabric.world_size for k in range(len(self.pairs))}
        return [k for k, rank in owner.items() if rank == fabric.global_rank]

    def restore(self, network: nn.Module, lr: NDArray[Any], fabric: Fabric) -> NDArray[Any]:
        """Returns SR of one LR picture, (H, W, 3) uint8."""
        sr = restore_whole(network, _to_tensor(lr, fabric.device), self._scale, self._halo_px, fabric)
        return np.asarray(to_integers(sr.permute(1, 2, 0).cpu().numpy()))

    @torch.inference_mode()
    def score_largest(self, network: nn.Module, fabric: Fabric) -> None:
        """Does what needs the most memory in a validation: scores the largest picture."""
        lr, hr = max(self.pairs, key=lambda pair: pair[0].size)
        list(self._content_loss(self.restore(network, lr, fabric), hr, fabric))

    def _content_loss(self, sr: NDArray[Any], hr: NDArray[Any], fabric: Fabric) -> Iterator[float]:
        if self._features is None or self.content_scale is None:
            return
        middles = (_to_tensor(_middle(p, CONTENT_PX), fabric.device) for p in (sr, hr))
        seen = (_middle_enlarged(x, self._content_zoom) for x in middles)
        ours, wanted = (self._features(x).float() for x in seen)
        yield float((ours - wanted).square().mean()) * self.content_scale

    def _sheet(self, lr: NDArray[Any], sr: NDArray[Any], hr: NDArray[Any]) -> NDArray[Any]:
        """Returns the middle of bicubic, SR and HR side by side, with a white line between."""
        side = min(SHOWN_PX, *hr.shape[:2])
        parts = [_middle(_to_eight_bits(p), side) for p in (imresize(lr, self._scale), sr, hr)]
        line = np.full((side, 4, 3), 255, dtype=np.uint8)
        return np.concatenate([parts[0], line, parts[1], line, parts[2]], axis=1)


def _middle(picture: NDArray[Any], side: int) -> NDArray[Any]:
    """Returns the middle of an (H, W, 3) picture, at most ``side`` each way."""
    top, left = (max(0, length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _checksum(before: int, picture: NDArray[Any]) -> int:
    """Returns the checksum of the pictures so far and one more; a turned picture has the same samples."""
    return zlib.crc32(np.ascontiguousarray(picture).data, zlib.crc32(repr(picture.shape).encode(), before))


def _unused(name: str, names: list[str]) -> str:
    """Returns a name that no picture has yet, in whatever case: ``a``, then ``a-2``, ``a-3``..."""
    taken = {other.casefold() for other in names}
    others = (f"{name}-{number}" for number in count(2))
    return next(candidate for candidate in chain([name], others) if candidate.casefold() not in taken)


def _to_tensor(picture: NDArray[Any], device: torch.device) -> Tensor:
    unit = picture.astype(np.float32) / np.iinfo(picture.dtype).max
    x = torch.from_numpy(unit).permute(2, 0, 1)[None].to(device)
    return x.contiguous(memory_format=torch.channels_last)


def _middle_enlarged(x: Tensor, zoom: float) -> Tensor:
    """Returns the middle of a picture, enlarged by ``zoom`` to about the size of the whole."""
    if zoom == 1:
        return x
    height, width = (max(1, round(side / zoom)) for side in x.shape[2:])
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    part = x[:, :, top : top + height, left : left + width]
    return functional.interpolate(part, size=x.shape[2:], mode="bicubic", align_corners=False)


def _to_eight_bits(picture: NDArray[Any]) -> NDArray[Any]:
    if picture.dtype == np.uint8:
        return picture
    return np.asarray(to_integers(picture.astype(np.float32) / np.iinfo(picture.dtype).max))

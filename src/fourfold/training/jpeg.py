"""LR as JPEG leaves it: most small pictures that people have were compressed, with blocks and echoes to show for it.

The codec's lossy part (ITU-T T.81 | ISO/IEC 10918-1; JFIF's colours; IJG's scaling of Annex K's tables) is computed on
the device for whole mini-batches. Entropy coding loses nothing, so it is left out.
"""

import math
from typing import Any

import numpy as np
import pyvips
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fourfold.imaging.jpeg_tables import COLOUR_STEPS, LUMA_STEPS, steps_at
from fourfold.training.recipe import DataSettings
from fourfold.training.sampler import Crops

BLOCK = 8
#: Side in pixels of what is coded together where colour has half the resolution.
UNIT = 2 * BLOCK
#: Share of compressed crops whose colour keeps the full resolution (4:4:4); the others' is halved both ways (4:2:0), as
#: cameras, phones and most programs do.
FULL_COLOUR_SHARE = 0.25
#: What programs store at by themselves, libjpeg's default: networks for compressed pictures are measured at it.
USUAL_QUALITY = 75

# RGB to YCbCr (JFIF 1.02): 0.299, 0.587 and 0.114 for Y; Cb and Cr are (B - Y) / 1.772 and (R - Y) / 1.402.
_TO_YCC = [
    [0.299, 0.587, 0.114],
    [-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772],
    [0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402],
]


def round_trip(picture: NDArray[Any], quality: int) -> NDArray[Any]:
    """Returns a picture as a JPEG file of it shows it, written and read by libjpeg, with colour at 4:2:0.

    Args:
        picture: (H, W, 3) uint8.
        quality: 1..100, as IJG's library counts.
    """
    image = pyvips.Image.new_from_array(picture, interpretation="srgb")
    stored = image.jpegsave_buffer(Q=quality, subsample_mode="on", strip=True)
    return np.array(pyvips.Image.jpegload_buffer(stored).numpy())


class Compression:
    """LR crops to what JPEG leaves of them: a share of the crops, each at a quality of its own.

    What becomes of a crop is settled by where it lies alone: runs that were interrupted, and runs on another number of
    processes, see the same. The grid of blocks begins anywhere in the crop, as it does in a part of a picture; blocks
    that reach beyond the crop are filled with its mirror image.

    Args:
        settings: ``jpeg_share``, ``jpeg_quality``, the crop.
        scale: LR's side is ``crop_px / scale``.
        device: where the crops are.
    """

    def __init__(self, settings: DataSettings, scale: int, device: torch.device) -> None:
        self._settings, self._device = settings, device
        self._side = settings.crop_px // scale
        self._padded = math.ceil((self._side + UNIT - 1) / UNIT) * UNIT
        tables = [[steps_at(quality, table) for quality in range(1, 101)] for table in (LUMA_STEPS, COLOUR_STEPS)]
        self._steps = torch.tensor(tables, dtype=torch.float32, device=device).view(2, 100, BLOCK, BLOCK)
        self._ycc = torch.tensor(_TO_YCC, dtype=torch.float64).to(device, torch.float32)
        self._rgb = torch.linalg.inv(torch.tensor(_TO_YCC, dtype=torch.float64)).to(device, torch.float32)
        self._dct = _dct().to(device)

    def __call__(self, lr: Tensor, crops: Crops) -> Tensor:
        """Returns LR, some of it compressed; (N, 3, h, w) on the 8-bit grid of 0..1, channels-last, as it came."""
        if not self._settings.jpeg_share:
            return lr
        drawn = _uniform(crops, 5).to(self._device, torch.float32)
        low, high = self._settings.jpeg_quality
        quality = (low + (high + 1 - low) * drawn[:, 1]).long().clamp(max=high)
        coded = self.code(lr, quality, drawn[:, 2] < FULL_COLOUR_SHARE, (drawn[:, 3:] * UNIT).long())
        chosen = drawn[:, 0] < self._settings.jpeg_share
        return torch.where(chosen.view(-1, 1, 1, 1), coded, lr).contiguous(memory_format=torch.channels_last)

    def code(self, lr: Tensor, quality: Tensor, full_colour: Tensor, origin: Tensor) -> Tensor:
        """Returns LR after compression and decompression.

        Args:
            lr: (N, 3, h, w), on the 8-bit grid of 0..1.
            quality: (N,) int64, IJG's, 1..100.
            full_colour: (N,) bool; 4:4:4, else 4:2:0.
            origin: (N, 2) int64; at which row and column of the codec's units of 16 px each crop begins.
        """
        with torch.autocast(lr.device.type, enabled=False):
            rows, columns = (self._mirrored(origin[:, axis]) for axis in (0, 1))
            padded = _take(lr.float(), rows, columns) * 255.0
            ycc = torch.einsum("kc,nchw->nkhw", self._ycc, padded).round()
            luma = self._code(ycc[:, :1], quality, 0)
            whole = self._code(ycc[:, 1:], quality, 1)
            # as libjpeg has it, halves are rounded down and up in turn, from column to column
            turns = 0.25 + 0.25 * (torch.arange(self._padded // 2, device=lr.device) % 2)
            halves = (functional.avg_pool2d(ycc[:, 1:], 2) + turns).floor()
            # what libjpeg calls fancy upsampling: three quarters of the nearest sample and one of the next, each way
            halved = functional.interpolate(self._code(halves, quality, 1), scale_factor=2.0, mode="bilinear").round()
            colour = torch.where(full_colour.view(-1, 1, 1, 1), whole, halved)
            rgb = torch.einsum("kc,nchw->nkhw", self._rgb, torch.cat([luma + 128.0, colour], dim=1))
            span = torch.arange(self._side, device=lr.device)
            part = _take(rgb.round().clamp(0.0, 255.0), origin[:, :1] + span, origin[:, 1:] + span)
            return part / 255.0

    def _code(self, planes: Tensor, quality: Tensor, table: int) -> Tensor:
        """Returns planes around zero after the transform, quantisation and back, rounded to samples."""
        count, channels, height, width = planes.shape
        centred = planes - 128.0 if table == 0 else planes
        blocks = centred.view(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
        steps = self._steps[table, quality - 1].view(-1, 1, 1, 1, BLOCK, BLOCK)
        coefficients = (self._dct @ blocks @ self._dct.t() / steps).round() * steps
        restored = self._dct.t() @ coefficients @ self._dct
        return restored.transpose(3, 4).reshape(planes.shape).round().clamp(-128.0, 127.0)

    def _mirrored(self, origin: Tensor) -> Tensor:
        """Returns (N, padded) which of a crop's rows or columns lies where, ``origin`` being the first one's place."""
        place = torch.arange(self._padded, device=origin.device) - origin[:, None]
        around = place.remainder(2 * self._side)
        return torch.minimum(around, 2 * self._side - 1 - around)


def _dct() -> Tensor:
    """Returns the orthonormal DCT-II of 8 samples, (frequency, sample)."""
    frequency = torch.arange(BLOCK, dtype=torch.float64)[:, None]
    sample = torch.arange(BLOCK, dtype=torch.float64)[None]
    waves = torch.cos((2 * sample + 1) * frequency * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    return waves.float()


def _take(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns of each (C, H, W) the rows (N, h) and columns (N, w) that are asked for."""
    number = torch.arange(len(planes), device=planes.device)[:, None, None]
    return planes.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _uniform(crops: Crops, columns: int) -> Tensor:
    """Returns (N, columns) numbers in 0..1 that depend on each crop's place and nothing else.

    A counter-based generator: splitmix64's finaliser (Steele et al. 2014) over place and column.
    """
    state = torch.zeros(len(crops), dtype=torch.int64)
    for value in (crops.picture, crops.top, crops.left, 2 * crops.flip_rows + crops.flip_columns, crops.transpose):
        state = _mixed(state + value.long())
    numbers = _mixed(state[:, None] + torch.arange(1, columns + 1))
    return (numbers >> 11 & ((1 << 53) - 1)).double() / (1 << 53)


def _mixed(x: Tensor) -> Tensor:
    """Returns splitmix64 of int64 numbers, which wrap around as unsigned ones do."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    return x >> bits & ((1 << 64 - bits) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number

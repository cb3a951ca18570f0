"""Upscaler, exact tiles, engines: a picture in, a picture four times as large out."""

from fourfold.imaging import RowSource
from fourfold.upscaling.engines import (
    ENGINES,
    PRECISIONS,
    Engine,
    auto_precision,
    available,
    check_installed,
    check_names,
    create,
)
from fourfold.upscaling.ensemble import TURNS
from fourfold.upscaling.folding import folded
from fourfold.upscaling.graph import Graph
from fourfold.upscaling.interpolation import interpolate
from fourfold.upscaling.sizes import DEFAULT_MAX_MEMORY, parse_bytes, parse_size
from fourfold.upscaling.upscaler import (
    ArraySource,
    Upscaler,
    load,
    resolve,
)

__all__ = [
    "DEFAULT_MAX_MEMORY",
    "ENGINES",
    "PRECISIONS",
    "TURNS",
    "ArraySource",
    "Engine",
    "Graph",
    "RowSource",
    "Upscaler",
    "auto_precision",
    "available",
    "check_installed",
    "check_names",
    "create",
    "folded",
    "interpolate",
    "load",
    "parse_bytes",
    "parse_size",
    "resolve",
]

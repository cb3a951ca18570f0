"""The weights format (safetensors, config in the header), the catalogue, the shipped weights and their cards."""

from fourfold.weights.cards import render_card
from fourfold.weights.catalogue import (
    ALIASES,
    FAITHFUL,
    FOR_COMPRESSED,
    Model,
    default_name,
    faithful_end,
    load_weights,
    locate,
    models,
    shipped_names,
)
from fourfold.weights.format import (
    WeightsConfig,
    WeightsFile,
    hash_file,
    is_unfit,
    read_config,
    read_weights,
    write_weights,
)
from fourfold.weights.schema import expected_shapes, resolve_parameters

__all__ = [
    "ALIASES",
    "FAITHFUL",
    "FOR_COMPRESSED",
    "Model",
    "WeightsConfig",
    "WeightsFile",
    "default_name",
    "expected_shapes",
    "faithful_end",
    "hash_file",
    "is_unfit",
    "load_weights",
    "locate",
    "models",
    "read_config",
    "read_weights",
    "render_card",
    "resolve_parameters",
    "shipped_names",
    "write_weights",
]

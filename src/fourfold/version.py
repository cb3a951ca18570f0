"""The one place that holds Fourfold's version."""

__version__ = "0.1.0"

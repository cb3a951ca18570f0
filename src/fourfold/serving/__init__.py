"""HTTP API and web page over the same Upscaler."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fourfold.serving.app import create_app
    from fourfold.serving.models import served_models
    from fourfold.serving.running import listen, run_server
    from fourfold.serving.settings import Limits, Settings, is_loopback

__all__ = ["Limits", "Settings", "create_app", "is_loopback", "listen", "run_server", "served_models"]

_ROOMS = {
    "create_app": "app",
    "listen": "running",
    "run_server": "running",
    "served_models": "models",
    "Limits": "settings",
    "Settings": "settings",
    "is_loopback": "settings",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: the worker processes need no web framework."""
    from importlib import import_module

    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"fourfold.serving.{_ROOMS[name]}"), name)

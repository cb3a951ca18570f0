"""What each extra of the package brings: told where a module is missing, and by ``fourfold doctor``."""

#: extra -> the modules that it brings; a module that several bring is said to be of the first
EXTRAS = {
    "demo": ("skimage", "PIL"),
    "torch": ("torch",),
    "train": ("torch", "lightning_fabric", "pydantic", "tensorboard"),
    "evaluate": ("scipy", "matplotlib", "jinja2"),
    "web": (
        "fastapi",
        "uvicorn",
        "jinja2",
        "python_multipart",
        "sqlalchemy",
        "scipy",
        "matplotlib",
        "prometheus_client",
    ),
    "postgresql": ("psycopg",),
    "onnx": ("onnx", "onnxruntime"),
}


def extra_with(module: str) -> str | None:
    """Returns the extra that brings a module, or None where none does."""
    package = module.split(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if package in modules), None)

"""Fixtures that several rooms share: tiny weights files and made-up pictures; nothing here needs data."""

import builtins
import errno
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from fourfold.weights import WeightsConfig, expected_shapes, write_weights

# a busy machine is no failure: nothing here asserts a time
settings.register_profile("fourfold", deadline=None)
settings.load_profile("fourfold")

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that: a test that sends
# SIGINT to a program of ours would wait for ever. With a handler here, children start with the default.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def make_tensors(architecture: str, parameters: dict[str, object], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Returns random, well-behaved tensors for a network, with batch-norm statistics that are not trivial."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, shape in expected_shapes(architecture, parameters).items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        if name.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif "bn" in name and name.endswith(".weight"):
            value = rng.uniform(0.5, 1.0, shape)
        elif "activation" in name:
            value = rng.uniform(0.1, 0.4, shape)
        else:
            value = rng.normal(0.0, 1.0 / np.sqrt(max(fan_in, 4)), shape)
        tensors[name] = value.astype(np.float32)
    return tensors


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a small SRResNet (2 blocks, 8 maps), random but well-behaved."""
    parameters = {"blocks": 2, "width": 8}
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    config = WeightsConfig("srresnet", parameters, name="tiny")
    return write_weights(path, config, make_tensors("srresnet", parameters))


def make_photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Returns a made-up RGB picture with smooth areas, edges and texture, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    base = 0.5 + 0.25 * np.sin(x / 17.0) + 0.25 * np.cos(y / 11.0)
    disc = ((x - width / 2) ** 2 + (y - height / 2) ** 2) < (min(height, width) / 3) ** 2
    channels = [base, np.where(disc, 1.0 - base, base), 0.5 * base + 0.3 * ((x // 8 + y // 8) % 2)]
    picture = np.stack(channels, axis=-1) + rng.normal(0.0, 0.02, (height, width, 3))
    return np.clip(picture * 255.0 + 0.5, 0, 255).astype(np.uint8)


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """A made-up 48x64 RGB picture."""
    return make_photo(48, 64)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be looked into, as of mode 000; root may look into those, so the calls are made to fail."""
    folder = tmp_path / "closed"
    folder.mkdir()

    def close(module: Any, name: str, itself: bool) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def call(path: Any = ".", *args: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike):
                absolute = Path(path).absolute()
                if folder in absolute.parents or (itself and absolute == folder):
                    if name == "access":
                        return False
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return function(path, *args, **options)

        monkeypatch.setattr(module, name, call)

    for name in ("stat", "lstat", "open"):
        close(os, name, itself=False)
    for name in ("scandir", "listdir", "access"):
        close(os, name, itself=True)
    close(io, "open", itself=False)
    close(builtins, "open", itself=False)
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with benchmark sets and weights that are not part of the project; skips where it is absent."""
    folder = Path(os.environ.get("FOURFOLD_DATA", ""))
    if not os.environ.get("FOURFOLD_DATA") or not (folder / "bench").is_dir():
        pytest.skip("set FOURFOLD_DATA to the data folder (with bench/ inside) to run this test")
    return folder


#: A browser that asks nobody anything at its start.
_CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",  # a server of ours under a name: not all that holds for localhost
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright; skips where either is absent."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="install playwright to drive a browser")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium found; install the package chromium, or name one in the variable CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def terminals_matter() -> Iterator[None]:
    """A closed terminal counts, though whoever runs the tests did so under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)

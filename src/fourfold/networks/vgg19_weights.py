"""Where VGG19's weights come from: a local file, or torchvision's published one, downloaded once and checked."""

import hashlib
import http.client
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fourfold.durable import write_atomically
from fourfold.errors import WeightsError
from fourfold.networks.vgg19 import Normalisation, VGG19Features, torchvision_indices
from fourfold.places import is_file, why_unseen

#: torchvision's VGG19. The eight digits in its name are the start of its sha256: the checksum its publishers give.
URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
SHA256_START = "dcbb9e9d"

#: called with (bytes so far, bytes in all or 0)
DownloadProgress = Callable[[int, int], None]


def load_vgg19(
    file: Path | None,
    layer: str,
    normalisation: Normalisation,
    *,
    url: str = URL,
    sha256_start: str = SHA256_START,
    progress: DownloadProgress | None = None,
) -> VGG19Features:
    """Returns VGG19 up to a layer, with weights from a file or, without one, from torchvision's download.

    Args:
        file: safetensors or a ``.pth`` of tensors, under torchvision's names; None downloads (548 MB, once; 80 MB
            are kept in the user's cache).
        layer: "22", "54", ...
        normalisation: that of the weights; a file that says otherwise is refused.
        url: where to download from.
        sha256_start: what the download's sha256 must begin with.
        progress: told of the download.

    Raises:
        WeightsError: if the file is damaged, is not VGG19, or belongs to the other normalisation; if the download
            fails or is not the published file.
        UsageError: for an unknown layer or normalisation.
    """
    network = VGG19Features(layer, normalisation)
    if file is None:
        check_downloadable(normalisation)
        file = _downloaded(url, sha256_start, progress)
    tensors, said = _read(file)
    if said is not None and said != normalisation:
        raise WeightsError(
            f"{file} says that it holds the {said} weights, and {normalisation}'s were asked for "
            f"(training: --set loss.vgg_normalisation={said}; evaluation: --vgg-normalisation {said})"
        )
    return network.load(tensors, file)


def check_downloadable(normalisation: Normalisation) -> None:
    """Refuses weights that nobody publishes in a form that is read here.

    Raises:
        WeightsError: naming what to do.
    """
    if normalisation != "torchvision":
        raise WeightsError(
            "the Oxford weights of VGG19 are not downloaded: give them with --vgg FILE, or use "
            "loss.vgg_normalisation=torchvision"
        )


def stated_normalisation(file: Path) -> Normalisation | None:
    """Returns the normalisation that a file of VGG19 names itself, or has as the published one; None if it is unknown.

    Raises:
        WeightsError: if the file cannot be read.
    """
    _, said = _read(file)
    if said is None and file.suffix != ".safetensors":
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        said = "torchvision" if digest.startswith(SHA256_START) else None
    return said


def cache_folder() -> Path:
    """Returns the user's cache folder for Fourfold; ``FOURFOLD_CACHE`` sets another.

    Raises:
        WeightsError: if nobody's home is known, as in some containers.
    """
    if own := os.environ.get("FOURFOLD_CACHE"):
        return Path(own)
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "fourfold"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "fourfold"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fourfold"
    except RuntimeError as error:
        raise WeightsError(
            "there is no home folder to keep VGG19's weights in; name a folder with FOURFOLD_CACHE"
        ) from error


def _read(file: Path) -> tuple[dict[str, Tensor], Normalisation | None]:
    """Returns the convolutions' tensors and the normalisation that the file itself names, if it does."""
    if why := why_unseen(file):
        raise WeightsError(f"{file}: cannot be read as VGG19 weights ({why})")
    if not is_file(file):
        raise WeightsError(f"no VGG19 weights at {file}")
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118, it is no mapping
                return tensors, _named(opened.metadata() or {})
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"{file}: cannot be read as VGG19 weights ({error})") from error
    except Exception as error:  # torch.load's unpickler raises kinds of its own
        raise WeightsError(f"{file}: not a file of tensors ({type(error).__name__}: {error})") from error
    if not isinstance(loaded, dict):
        raise WeightsError(f"{file}: holds a {type(loaded).__name__}; VGG19's weights are tensors by name")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}, None


def _named(metadata: dict[str, str]) -> Normalisation | None:
    said = metadata.get("normalisation", metadata.get("input", ""))
    if "bgr" in said.lower() or said == "oxford":
        return "oxford"
    return "torchvision" if said == "torchvision" else None


def _downloaded(url: str, sha256_start: str, progress: DownloadProgress | None) -> Path:
    kept = cache_folder() / f"vgg19-{sha256_start}-convolutions.safetensors"
    if is_file(kept):
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            whole = Path(folder) / "vgg19.pth"
            _download(url, whole, sha256_start, progress)
            tensors, _ = _read(whole)
        names = [f"features.{index}.{part}" for index in torchvision_indices() for part in ("weight", "bias")]
        checked = {name: tensors[name].contiguous() for name in names if name in tensors}
        write_atomically(kept, save(checked, metadata={"normalisation": "torchvision", "source": url}))
    except (OSError, http.client.HTTPException) as error:  # no connection, no room; an answer that is no HTTP
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error).strip()
        raise WeightsError(
            f"VGG19's weights cannot be downloaded from {url} ({reason}). Offline: fetch that file elsewhere and "
            "give it with --vgg FILE, or give the Oxford weights with --vgg FILE --set "
            "loss.vgg_normalisation=oxford"
        ) from error
    return kept


def _download(url: str, target: Path, sha256_start: str, progress: DownloadProgress | None) -> None:
    digest, done = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=30) as answer, target.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(1 << 20):
            file.write(block)
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
    if not digest.hexdigest().startswith(sha256_start):
        raise WeightsError(
            f"{url} gave {done} bytes with sha256 {digest.hexdigest()}; the published file's begins with "
            f"{sha256_start}. Nothing was kept; try again, or give a file with --vgg FILE"
        )

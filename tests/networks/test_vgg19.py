import hashlib
import http.server
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fourfold.errors import UsageError, WeightsError
from fourfold.networks import VGG19Features, load_vgg19
from fourfold.networks.vgg19 import BLOCKS, torchvision_indices


def reference(tensors: dict[str, torch.Tensor], until: int) -> nn.Sequential:
    """VGG19 as torchvision lays it out: one Sequential in which ReLUs and pools have places of their own."""
    layers: list[nn.Module] = []
    channels = 3
    for maps, count in BLOCKS:
        for _ in range(count):
            layers += [nn.Conv2d(channels, maps, 3, padding=1), nn.ReLU()]
            channels = maps
        layers.append(nn.MaxPool2d(2, 2))
    network = nn.Sequential(*layers[: until + 1])
    network.load_state_dict({k.removeprefix("features."): v for k, v in tensors.items()}, strict=False)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names, of all sixteen convolutions."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, torch.Tensor] = {}
    channels = 3
    maps = [m for m, count in BLOCKS for _ in range(count)]
    for index, out in zip(torchvision_indices(), maps, strict=True):
        found[f"features.{index}.weight"] = torch.randn(out, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        found[f"features.{index}.bias"] = torch.randn(out, generator=generator) * 0.1
        channels = out
    return found


def test_torchvision_places() -> None:
    assert torchvision_indices() == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]


# the ReLU of phi_i,j in torchvision's numbering
@pytest.mark.parametrize(("layer", "relu"), [("12", 3), ("22", 8), ("54", 35), ("5.4", 35)])
def test_features_equal_the_plain_network(tensors: dict[str, torch.Tensor], layer: str, relu: int) -> None:
    picture = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = (picture - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    expected = reference(tensors, relu)(normal)
    found = VGG19Features(layer, "torchvision").load(tensors)(picture)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_oxford_input_is_bgr_in_0_255_minus_means(tensors: dict[str, torch.Tensor]) -> None:
    rgb = torch.tensor([0.2, 0.4, 0.9]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    bgr = torch.tensor([0.9 * 255 - 103.939, 0.4 * 255 - 116.779, 0.2 * 255 - 123.68]).view(1, 3, 1, 1)
    expected = reference(tensors, 1)(bgr.expand(1, 3, 16, 16))
    torch.testing.assert_close(VGG19Features("11", "oxford").load(tensors)(rgb), expected, rtol=1e-4, atol=1e-3)


def test_gradient_reaches_the_picture_and_not_the_weights(tensors: dict[str, torch.Tensor]) -> None:
    network = VGG19Features("22", "oxford").load(tensors)
    picture = torch.rand(1, 3, 16, 16, requires_grad=True)
    network(picture).square().mean().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())


def test_bfloat16_is_close_and_float16_refused(tensors: dict[str, torch.Tensor]) -> None:
    network = VGG19Features("22", "torchvision").load(tensors)
    picture = torch.rand(1, 3, 16, 16)
    exact = network(picture)
    rough = network.to(torch.bfloat16)(picture)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.02 * exact.norm()
    with pytest.raises(TypeError, match="float16"):
        network.to(torch.float16)(picture)


@pytest.mark.parametrize("layer", ["", "55", "13", "23", "6", "5", "relu5_4", "05"])
def test_unknown_layers(layer: str) -> None:
    with pytest.raises(UsageError, match="no layer"):
        VGG19Features(layer, "oxford")


def test_unknown_normalisation() -> None:
    with pytest.raises(UsageError, match="'caffe'"):
        VGG19Features("54", "caffe")  # type: ignore[arg-type]


def test_missing_and_misshapen_tensors(tensors: dict[str, torch.Tensor]) -> None:
    few = {k: v for k, v in tensors.items() if k != "features.5.bias"}
    with pytest.raises(WeightsError, match=r"features\.5\.bias"):
        VGG19Features("22", "oxford").load(few)
    with pytest.raises(WeightsError, match="shape"):
        VGG19Features("22", "oxford").load({**tensors, "features.2.weight": torch.zeros(1)})


def test_a_file_that_says_otherwise_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "vgg.safetensors"
    save_file(tensors, path, metadata={"input": "BGR channel order, 0..255"})
    assert load_vgg19(path, "22", "oxford").normalisation == "oxford"
    with pytest.raises(WeightsError, match="vgg_normalisation=oxford"):
        load_vgg19(path, "22", "torchvision")


@pytest.mark.parametrize("name", ["vgg.safetensors", "vgg.pth"])
@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"not weights at all" * 10])
def test_bad_files(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="vgg"):
        load_vgg19(path, "22", "oxford")


@pytest.mark.parametrize("content", [None, 5, torch.zeros(3), [torch.zeros(3)], {"features.0.weight": "text"}, {1: 2}])
def test_a_file_of_something_else(tmp_path: Path, content: object) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(content, path)
    with pytest.raises(
        WeightsError, match=r"vgg\.pth: (holds a .*; VGG19's weights are tensors by name|tensor .* missing)"
    ):
        load_vgg19(path, "22", "torchvision")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no VGG19 weights"):
        load_vgg19(tmp_path / "none.pth", "22", "oxford")
    with pytest.raises(WeightsError, match="--vgg FILE"):
        load_vgg19(None, "22", "oxford")


class _Server:
    """Serves one file on this machine and counts how often it was asked for."""

    def __init__(self, content: bytes) -> None:
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.requests += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.requests = 0
        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/vgg19.pth"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "_Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def published(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> bytes:
    path = tmp_path / "whole.pth"
    torch.save({**tensors, "classifier.0.bias": torch.zeros(4)}, path)
    return path.read_bytes()


def test_download_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bytes) -> None:
    monkeypatch.setenv("FOURFOLD_CACHE", str(tmp_path / "cache"))
    start = hashlib.sha256(published).hexdigest()[:8]
    seen: list[int] = []
    with _Server(published) as server:
        for _ in range(2):
            network = load_vgg19(
                None,
                "22",
                "torchvision",
                url=server.url,
                sha256_start=start,
                progress=lambda done, _: seen.append(done),
            )
        assert server.requests == 1
    assert network.normalisation == "torchvision"
    assert seen[-1] == len(published)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"vgg19-{start}-convolutions.safetensors"]


def test_a_download_with_another_hash_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bytes
) -> None:
    monkeypatch.setenv("FOURFOLD_CACHE", str(tmp_path / "cache"))
    with _Server(published) as server, pytest.raises(WeightsError, match="sha256"):
        load_vgg19(None, "22", "torchvision", url=server.url, sha256_start="00000000")
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOURFOLD_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match="--vgg FILE"):
        load_vgg19(None, "22", "torchvision", url="http://127.0.0.1:9/vgg19.pth")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_answer_that_is_no_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a proxy that speaks something else."""
    monkeypatch.setenv("FOURFOLD_CACHE", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"go away\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(WeightsError, match=r"cannot be downloaded from .* \(go away.*--vgg FILE"):
            load_vgg19(None, "22", "torchvision", url=f"http://127.0.0.1:{port}/vgg19.pth")
        answering.join()
    assert list((tmp_path / "cache").iterdir()) == []


def test_nobodys_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobodys() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FOURFOLD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobodys)
    with pytest.raises(WeightsError, match="name a folder with FOURFOLD_CACHE"):
        load_vgg19(None, "22", "torchvision")


@pytest.mark.benchmark
def test_published_scales_of_the_oxford_weights(data_folder: Path) -> None:
    """VGG54 x 1/12.75^2 of bicubic pictures of Set5 and Set14 is 0.113, VGG22's 187 (measured elsewhere)."""
    from fourfold.imaging import find_pictures, imresize, read_rgb

    file = data_folder / "vgg19" / "vgg19_conv_fp16.safetensors"
    means = {}
    for layer in ("22", "54"):
        network = load_vgg19(file, layer, "oxford")
        losses = []
        for path in [*find_pictures(data_folder / "bench/Set5"), *find_pictures(data_folder / "bench/Set14")]:
            hr = read_rgb(path)
            hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
            pair = np.stack([imresize(imresize(hr, 0.25), 4), hr]).astype(np.float32) / 255.0
            restored, original = network(torch.from_numpy(pair).permute(0, 3, 1, 2)).float()
            losses.append(float((restored - original).square().mean()) / 12.75**2)
        means[layer] = float(np.mean(losses))
    assert means["54"] == pytest.approx(0.113, rel=0.1)
    assert means["22"] == pytest.approx(187, rel=0.1)

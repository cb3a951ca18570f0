"""Every engine gives what the torch network gives; precision, choice, and failing in an orderly way."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from fourfold.errors import EngineError, UsageError, WeightsError
from fourfold.imaging import imresize, read_rgb
from fourfold.networks import from_weights
from fourfold.upscaling import Upscaler, create, engines, folded, load
from fourfold.upscaling.engines import openvino as openvino_engine
from fourfold.upscaling.folding import convolve_before_shuffle, regroup
from fourfold.upscaling.graph import Convolution, Graph, Input, Shuffle
from fourfold.weights import WeightsConfig, load_weights, shipped_names, write_weights
from tests.conftest import make_tensors

NETWORKS = [
    ("srresnet", {"blocks": 2, "width": 8}),
    ("srresnet", {"blocks": 1, "width": 8, "prelu": "channel"}),
    ("srresnet", {"blocks": 1, "width": 8, "scale": 2}),
    ("srresnet", {"blocks": 1, "width": 8, "scale": 8, "batch_norm": False}),
    ("srcnn", {"width": 8, "inner": 8}),
    ("espcn", {"width": 8, "inner": 8}),
    ("espcn", {"width": 8, "inner": 8, "activation": "relu", "scale": 2}),
    ("drcn", {"width": 8, "recursions": 3}),
]


@pytest.fixture(params=NETWORKS, ids=lambda p: f"{p[0]}-{'-'.join(map(str, p[1].values()))}")
def weights(request, tmp_path):
    architecture, parameters = request.param
    path = tmp_path / "w.safetensors"
    write_weights(path, WeightsConfig(architecture, parameters, name="w"), make_tensors(architecture, parameters))
    return load_weights(path)


def reference(weights, picture):
    """The network itself, in torch, on an (H, W, 3) float32 picture."""
    with torch.inference_mode():
        return from_weights(weights)(torch.from_numpy(picture.transpose(2, 0, 1)[None]))[0].numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.02)])
def test_an_engine_equals_the_network(weights, engine, precision, tolerance):
    picture = np.random.default_rng(1).random((17, 22, 3), dtype=np.float32)
    expected = reference(weights, picture).clip(0, 1)
    found = Upscaler(weights, engine=engine, precision=precision)(picture)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


def test_many_sizes_are_not_all_kept(tiny_weights, monkeypatch):
    """OpenVINO keeps what it has prepared for every size; after some, the network is compiled anew."""
    upscaler = load(tiny_weights, engine="openvino", precision="fp32")
    made = []
    compiled = openvino_engine.OpenvinoEngine._compiled
    monkeypatch.setattr(openvino_engine.OpenvinoEngine, "_compiled", lambda self: made.append(self) or compiled(self))
    pictures = [np.random.default_rng(k).random((16 + k, 20, 3), dtype=np.float32) for k in range(40)]
    found = [upscaler(picture) for picture in pictures]
    assert len(made) == (40 - 1) // openvino_engine.MOST_SIZES
    assert np.array_equal(upscaler(pictures[0]), found[0])
    for _ in range(3):
        upscaler(pictures[0])
    assert len(made) == (40 - 1) // openvino_engine.MOST_SIZES


def test_an_engine_that_cannot_begin_anew_does_so_the_next_time(tiny_weights, monkeypatch):
    upscaler = load(tiny_weights, engine="openvino", precision="fp32")
    picture = np.random.default_rng(0).random((20, 20, 3), dtype=np.float32)
    expected = upscaler(picture)
    monkeypatch.setattr(openvino_engine, "MOST_SIZES", 1)
    with monkeypatch.context() as without_memory:
        without_memory.setattr(openvino_engine.ov.Core, "compile_model", fail)
        with pytest.raises(EngineError, match="cannot compile the network: no memory"):
            upscaler(picture[:17])
    assert np.array_equal(upscaler(picture), expected)


def fail(*arguments, **options):
    raise RuntimeError("no memory")


def test_a_network_that_comes_back_to_its_weights_holds_them_once(tmp_path):
    parameters = {"width": 8, "recursions": 5}
    write_weights(tmp_path / "w.safetensors", WeightsConfig("drcn", parameters), make_tensors("drcn", parameters))
    graph = folded(load_weights(tmp_path / "w.safetensors"))
    square = [node.weight for node in graph.nodes if isinstance(node, Convolution) and node.weight.shape[:2] == (8, 8)]
    assert len(square) == 11
    assert len({id(weight) for weight in square}) == 3
    with pytest.raises(WeightsError, match=r"recursions is 65; it must lie in 1\.\.64"):
        make_tensors("drcn", {"width": 8, "recursions": 65})


def test_pictures_of_all_sizes_run_on_one_engine(tiny_weights):
    weights = load_weights(tiny_weights)
    upscaler = Upscaler(weights, engine="openvino", precision="fp32")
    for height, width in [(16, 16), (19, 16), (17, 40), (40, 33), (16, 90)]:
        picture = np.random.default_rng(2).random((height, width, 3), dtype=np.float32)
        assert np.abs(upscaler(picture) - reference(weights, picture).clip(0, 1)).max() <= 1e-4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (17, 4), (1, 30), (15, 15)])
def test_a_tiny_picture_is_read_with_its_edges_repeated(tiny_weights, height, width):
    """Of a picture smaller than its reach, a network would see mostly the zeros around it."""
    weights = load_weights(tiny_weights)
    picture = np.random.default_rng(2).random((height, width, 3), dtype=np.float32)
    rows, columns = ((max(0, 16 - side) // 2, (max(0, 16 - side) + 1) // 2) for side in (height, width))
    padded = reference(weights, np.pad(picture, (rows, columns, (0, 0)), mode="edge"))
    expected = padded[4 * rows[0] :, 4 * columns[0] :][: 4 * height, : 4 * width].clip(0, 1)
    upscaler = Upscaler(weights, engine="openvino", precision="fp32")
    assert np.abs(upscaler(picture) - expected).max() <= 1e-4


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 100, 50)])
def test_one_pixel_keeps_its_colour(colour):
    sr = load("srresnet-mse", precision="fp32")(np.full((1, 1, 3), colour, np.uint8))
    assert np.abs(sr.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_threads_share_an_upscaler(tiny_weights, engine):
    """Each gets its own picture back, whatever the others are at."""
    upscaler = Upscaler(load_weights(tiny_weights), engine=engine, precision="fp32")
    pictures = [np.random.default_rng(k).random((20 + 3 * k, 31 - k, 3), dtype=np.float32) for k in range(6)]
    expected = [upscaler(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: upscaler(pictures[k % 6]), range(60)))
    for k, sr in enumerate(found):
        assert np.array_equal(sr, expected[k % 6])


def test_bf16_keeps_the_values_of_8_bits_exact():
    """A network that hardly changes its input: what bfloat16 does to 0..255 shows undiluted."""
    weight = np.zeros((12, 3, 1, 1), np.float32)
    weight[np.arange(12), np.arange(12) % 3] = 255 / 256  # so that neither weights nor outputs need rounding
    graph = Graph((Input(3), Convolution(0, weight, np.zeros(12, np.float32)), Shuffle(1, 2)), scale=2)
    levels = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16).repeat(3, axis=1) / 255
    for engine in ("openvino", "torch"):
        found = create(graph, engine, "bf16").run(levels)[:, :, ::2, ::2]
        assert np.abs(found - levels * np.float32(255 / 256)).max() < 1e-6


def test_the_receptive_field_is_exact():
    """A change at the halo's distance reaches the output; one pixel further it does not."""
    parameters = {"blocks": 2, "width": 8}
    tensors = {name: np.abs(tensor) for name, tensor in make_tensors("srresnet", parameters).items()}
    graph = folded(_weights("srresnet", parameters, tensors))
    size = 2 * graph.halo_px + 9
    engine, middle = create(graph, "openvino", "fp32"), size // 2
    flat = np.full((1, 3, size, size), 0.5, np.float32)
    before = engine.run(flat)

    def reaches(distance):
        changed = flat.copy()
        changed[:, :, middle, middle + distance] = 1.0
        cell = slice(4 * middle, 4 * middle + 4)
        return np.any(engine.run(changed)[:, :, cell, cell] != before[:, :, cell, cell])

    assert not reaches(graph.halo_px + 1)
    assert reaches(graph.halo_px - 1)


def _weights(architecture, parameters, tensors):

    from fourfold.weights import WeightsFile, resolve_parameters

    config = WeightsConfig(architecture, resolve_parameters(architecture, parameters), name="w")
    return WeightsFile(config, tensors, "0" * 64, Path("w.safetensors"))


@pytest.mark.parametrize(("factor", "kernel"), [(2, 9), (2, 3), (3, 5), (4, 1)])
def test_a_convolution_before_the_shuffle_equals_one_after_it(factor, kernel):
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((3, 5, kernel, kernel)).astype(np.float32)
    x = torch.from_numpy(rng.standard_normal((1, 5 * factor**2, 6, 7)).astype(np.float32))
    order = torch.from_numpy(regroup(np.arange(5 * factor**2, dtype=np.float32), factor)).long()
    after = torch.conv2d(torch.pixel_shuffle(x, factor), torch.from_numpy(weight), padding=kernel // 2)
    coarse = torch.from_numpy(convolve_before_shuffle(weight, factor))
    before = torch.conv2d(x[:, order], coarse, padding=coarse.shape[2] // 2)
    back = torch.argsort(torch.from_numpy(regroup(np.arange(3 * factor**2, dtype=np.float32), factor)).long())
    assert torch.allclose(torch.pixel_shuffle(before[:, back], factor), after, atol=1e-4)


def test_multiply_adds_of_the_papers_network():
    weights = _weights("srresnet", {}, make_tensors("srresnet", {}))
    # 9x9 head, 33 3x3 in the body, two upsamplings; the 9x9 tail counts as the 5x5 on 256 maps that it runs as
    expected = 81 * 3 * 64 + 33 * 9 * 64**2 + 9 * 64 * 256 * (1 + 4) + 4 * 25 * 256 * 12
    assert folded(weights).multiply_adds(1, 1) == expected
    assert folded(weights).halo_px == 40


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engine": "tensorflow"}, UsageError, "no engine 'tensorflow'; there are auto, openvino, torch"),
        ({"precision": "fp16"}, UsageError, "no precision 'fp16'; there are auto, fp32, bf16"),
        ({"max_memory": "much"}, UsageError, "'much' is no size; write it like 800M or 1.5G"),
        ({"max_memory": 1000}, UsageError, "too small to work in"),
        ({"fidelity": 1.5}, UsageError, "goes from 0"),
        ({"faithful": "srresnet-mse"}, UsageError, "without a fidelity"),
    ],
)
def test_wrong_options(tiny_weights, options, error, message):
    if "fidelity" in options:
        options = {**options, "faithful": tiny_weights}
    with pytest.raises(error, match=message):
        load(tiny_weights, **options)


def test_an_engine_that_is_not_installed_names_the_remedy(tiny_weights, monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'fourfold\[torch\]'"):
        load(tiny_weights, engine="torch")
    assert engines.available() == []


def test_an_engine_that_cannot_be_loaded(tiny_weights, monkeypatch):
    monkeypatch.setattr(engines, "check_installed", lambda engine: None)
    monkeypatch.setitem(sys.modules, "fourfold.upscaling.engines.openvino", None)  # importing it fails
    with pytest.raises(EngineError, match=r"cannot be loaded: import of .*; `fourfold doctor` tells"):
        load(tiny_weights, engine="openvino", precision="fp32")


def test_an_openvino_without_its_plugin_for_processors(tiny_weights, monkeypatch):
    monkeypatch.setattr(openvino_engine.ov.Core, "get_property", fail)
    with pytest.raises(EngineError, match="OpenVINO cannot use this processor: no memory"):
        load(tiny_weights, engine="openvino")


def test_a_device_that_is_not_there(tiny_weights):
    from fourfold.upscaling.engines.torch import TorchEngine

    with pytest.raises(EngineError, match="cuda:99"):
        TorchEngine(folded(load_weights(tiny_weights)), "fp32", device="cuda:99")


@pytest.fixture
def tensorfloat():
    """cuDNN's setting for convolutions, as it is by default."""
    setting = torch.backends.cudnn.conv
    before, setting.fp32_precision = setting.fp32_precision, "tf32"
    yield setting
    setting.fp32_precision = before


@pytest.mark.parametrize(("precision", "during"), [("fp32", {"ieee"}), ("bf16", {"tf32"})])
def test_fp32_on_a_gpu_is_no_tensorfloat(tiny_weights, tensorfloat, monkeypatch, precision, during):
    """cuDNN rounds float32 to 11 bits where nothing else is said; what is set for the rest of the process stays so."""
    from fourfold.upscaling.engines.torch import TorchEngine

    seen, conv2d = set(), torch.nn.functional.conv2d

    def noted(*given, **options):
        seen.add(tensorfloat.fp32_precision)
        return conv2d(*given, **options)

    monkeypatch.setattr(torch.nn.functional, "conv2d", noted)
    engine = TorchEngine(folded(load_weights(tiny_weights)), precision, device="cpu")
    engine.run(np.zeros((1, 3, 8, 8), np.float32))
    assert seen == during
    assert tensorfloat.fp32_precision == "tf32"


@pytest.mark.parametrize(("driver", "likely"), [("cuda", True), ("nvcuda", True), ("amdhip64", True), ("c", False)])
def test_a_gpu_is_known_by_its_driver(monkeypatch, driver, likely):
    """So that torch, which takes seconds to import, is asked for one only where there may be one."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: name if name == driver else None)
    assert engines._gpu_is_likely() is likely


def test_an_unknown_architecture(tiny_weights, monkeypatch):
    from fourfold.upscaling import folding

    monkeypatch.setattr(folding, "ARCHITECTURES", {})
    with pytest.raises(WeightsError, match="no engine runs the architecture 'srresnet'"):
        load(tiny_weights)


@pytest.mark.benchmark
@pytest.mark.parametrize(
    "name", [n for n in shipped_names() if n.startswith(("srresnet", "srgan"))] or ["none shipped"]
)
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_bf16_loses_less_than_a_fiftieth_decibel_on_set5(data_folder, name, engine):
    from fourfold.evaluation.metrics import psnr

    if name == "none shipped":
        pytest.skip("no weights are shipped yet")
    exact, fast = load(name, engine="openvino", precision="fp32"), load(name, engine=engine, precision="bf16")
    lost = []
    for path in sorted((data_folder / "bench" / "Set5").glob("*.png")):
        hr = read_rgb(path)
        hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
        lr = imresize(hr, 0.25)
        lost.append(psnr(exact(lr), hr) - psnr(fast(lr), hr))
    assert np.mean(lost) <= 0.02

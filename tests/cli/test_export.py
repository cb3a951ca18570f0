"""``fourfold export``: every format gives what the network gives, says what it is, and nothing half-written stays."""

import json
import os
import resource
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

from fourfold.cli import app
from fourfold.errors import EngineError, FourfoldError
from fourfold.networks import SRResNet, from_weights
from fourfold.upscaling import export as export_module
from fourfold.upscaling import interpolate
from fourfold.weights import WeightsConfig, load_weights, write_weights
from tests.cli.running import command
from tests.conftest import make_tensors


@pytest.fixture
def run(tiny_weights):
    def invoke(*arguments):
        result = CliRunner().invoke(app, ["export", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def reference(path, lr):
    with torch.inference_mode():
        return from_weights(load_weights(path))(torch.from_numpy(lr)).numpy()


@pytest.fixture
def lr():
    return np.random.default_rng(5).random((2, 3, 11, 18), dtype=np.float32)


def test_onnx_equals_the_network(run, tiny_weights, tmp_path, lr):
    path = tmp_path / "tiny é.onnx"
    report = json.loads(run(tiny_weights, "-o", path, "--json").stdout)
    assert report["format"] == "onnx" and report["max_difference"] < 1e-5
    assert report["checked_with"].startswith("ONNX Runtime")
    found = onnxruntime.InferenceSession(str(path)).run(["sr"], {"lr": lr})[0]
    assert np.abs(found - reference(tiny_weights, lr)).max() < 1e-4


def test_onnx_says_what_it_is(run, tiny_weights, tmp_path):
    run(tiny_weights, "-o", tmp_path / "tiny.onnx")
    model = onnx.load(tmp_path / "tiny.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["name"] == "tiny" and about["scale"] == "4"
    assert about["weights_sha256"] == load_weights(tiny_weights).sha256
    dimensions = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dimensions == ["batch", 3, "height", "width"]
    assert len(model.graph.input) == len(model.graph.output) == 1


def test_openvino_equals_the_network(run, tiny_weights, tmp_path, lr):
    path = tmp_path / "tiny.xml"
    output = run(tiny_weights, "-o", path).stdout
    assert "tiny.bin" in output and "differs from Fourfold's engine by at most" in output
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.abs(compiled([lr])["sr"] - reference(tiny_weights, lr)).max() < 1e-4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.bin", "tiny.xml"]


@pytest.mark.parametrize(
    ("output", "files"),
    [
        ("Tiny.XML", ["Tiny.XML", "Tiny.bin"]),
        ("Tiny.v2.Xml", ["Tiny.v2.Xml", "Tiny.v2.bin"]),
        ("Tiny.ONNX", ["Tiny.ONNX"]),
        ("Tiny.SafeTensors", ["Tiny.SafeTensors"]),
    ],
)
def test_an_ending_in_capitals_is_kept(run, tiny_weights, tmp_path, output, files):
    report = json.loads(run(tiny_weights, "-o", tmp_path / output, "--json").stdout)
    assert report["max_difference"] < 1e-4
    assert sorted(p.name for p in tmp_path.iterdir()) == files
    if files[-1].endswith(".bin"):
        openvino.Core().compile_model(str(tmp_path / output), "CPU")


def test_safetensors_have_the_plain_keys_of_the_torch_module(run, tiny_weights, tmp_path):
    path = tmp_path / "tiny.safetensors"
    run(tiny_weights, "-o", path)
    tensors = load_file(path)
    network = SRResNet(blocks=2, width=8)
    missing = network.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [
        ("srresnet", {"blocks": 1, "width": 8, "prelu": "channel", "scale": 2}),
        ("srcnn", {"width": 8, "inner": 8}),
        ("espcn", {"width": 8, "inner": 8}),
        ("drcn", {"width": 8, "recursions": 2}),
    ],
)
@pytest.mark.parametrize("ending", [".onnx", ".xml", ".safetensors"])
def test_every_architecture(run, tmp_path, architecture, parameters, ending):
    weights = write_weights(
        tmp_path / "w.safetensors", WeightsConfig(architecture, parameters), make_tensors(architecture, parameters)
    )
    report = json.loads(run(weights, "-o", tmp_path / f"out{ending}", "--json").stdout)
    assert report["max_difference"] < 1e-4


def test_between_two_networks(run, tiny_weights, tmp_path):
    parameters = {"blocks": 2, "width": 8}
    other = write_weights(
        tmp_path / "b.safetensors",
        WeightsConfig("srresnet", parameters, name="b"),
        make_tensors("srresnet", parameters, 3),
    )
    run(tiny_weights, "-o", tmp_path / "mixed.safetensors", "--fidelity", 0.5, "--faithful", other)
    mixed = load_weights(tmp_path / "mixed.safetensors")
    assert mixed.config.name == "tiny to b, fidelity 0.5"
    ends = load_weights(tiny_weights).tensors, load_weights(other).tensors
    assert np.allclose(mixed.tensors["head.weight"], (ends[0]["head.weight"] + ends[1]["head.weight"]) / 2, atol=1e-6)


@pytest.mark.parametrize("named", [True, False])
def test_there_is_nothing_between_a_network_and_itself(run, tiny_weights, tmp_path, monkeypatch, named):
    monkeypatch.setattr("fourfold.upscaling.upscaler.faithful_end", lambda path: path)
    faithful = ("--faithful", tiny_weights) if named else ()
    done = run(tiny_weights, "-o", tmp_path / "same.safetensors", "--fidelity", 0.5, *faithful)
    note = f"note: --fidelity 0.5 changes nothing: {tiny_weights} is the faithful network itself\n"
    assert done.stderr == note
    same, tiny = load_weights(tmp_path / "same.safetensors"), load_weights(tiny_weights)
    assert same.config.name == tiny.config.name == "tiny"
    assert all(np.array_equal(same.tensors[name], tensor) for name, tensor in tiny.tensors.items())


def test_a_network_between_two_names_the_data_of_both(run, tmp_path):
    parameters = {"blocks": 1, "width": 8}
    for seed, (name, data) in enumerate({"a": "DIV2K", "b": "Flickr2K"}.items()):
        config = WeightsConfig("srresnet", parameters, name=name, data=data, updates=seed + 1, device="here")
        write_weights(tmp_path / f"{name}.safetensors", config, make_tensors("srresnet", parameters, seed))
    ends = (tmp_path / "a.safetensors", "--fidelity", 0.4, "--faithful", tmp_path / "b.safetensors")
    run(*ends, "-o", tmp_path / "mixed.onnx")
    run(*ends, "-o", tmp_path / "mixed.safetensors")
    about = {entry.key: entry.value for entry in onnx.load(tmp_path / "mixed.onnx").metadata_props}
    assert about["data"] == load_weights(tmp_path / "mixed.safetensors").config.data == "a: DIV2K\nb: Flickr2K"
    said = CliRunner().invoke(app, ["models", str(tmp_path / "mixed.safetensors")]).stdout
    assert "data          a: DIV2K\n              b: Flickr2K\n" in said
    assert "training      a: 1 updates on here\n              b: 2 updates on here\n" in said


@pytest.mark.parametrize("ending", [".onnx", ".xml", ".safetensors"])
def test_between_files_whose_names_are_no_text(tiny_weights, tmp_path, ending):
    """A header that names no network leaves the file's name, which may be anything."""
    tiny = load_weights(tiny_weights)
    one, two = (
        replace(tiny, config=replace(tiny.config, name=""), path=Path(f"{name}.safetensors"), sha256=repr(name))
        for name in ("two\nlines", os.fsdecode(b"odd\xff"))
    )
    mixed = interpolate(one, two, 0.5)
    assert mixed.config.name == r"two\nlines to odd\udcff, fidelity 0.5"
    assert export_module.export(mixed, tmp_path / f"a{ending}").difference < 1e-4


@pytest.mark.parametrize("ending", [".onnx", ".xml", ".safetensors"])
def test_a_folder_whose_name_is_no_text(run, tiny_weights, tmp_path, ending):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    run(tiny_weights, "-o", folder / f"out{ending}")
    assert (folder / f"out{ending}").is_file()


@pytest.mark.parametrize("ending", [".onnx", ".xml", ".safetensors"])
def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tiny_weights, tmp_path, ending):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        command("export", tiny_weights, "-o", tmp_path / f"out{ending}"),
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/out{ending}: cannot write it (") and done.stderr.count("\n") == 1
    assert list(tmp_path.glob("*out*")) == []


def test_stopping_in_the_middle_leaves_nothing(run, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_check", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # without the command's own, the tests would end here
    try:
        result = run(tiny_weights, "-o", tmp_path / "m.onnx")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (result.exit_code, result.stderr) == (130, "stopped; nothing half-written is left\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_pipe_is_no_place_for_a_network(run, tiny_weights, tmp_path, options):
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(FourfoldError, match=r"x\.onnx is no file"):
        run(tiny_weights, "-o", tmp_path / "x.onnx", *options)
    assert (tmp_path / "x.onnx").is_fifo()


def test_a_closed_folder_is_named(run, tiny_weights, closed):
    with pytest.raises(FourfoldError, match=r"closed/x\.onnx: cannot write it \(Permission denied\)"):
        run(tiny_weights, "-o", closed / "x.onnx")


@pytest.mark.parametrize(
    ("model", "output", "message"),
    [
        ("TINY", "x.pth", "cannot export to .pth; the name must end in .onnx"),
        ("TINY", "x", "a name without an ending"),
        ("TINY", "missing/x.onnx", "there is no folder"),
        ("TINY", "there.onnx", "exists; give --overwrite"),
        ("TINY", "there.xml", "there.bin exists"),
        ("nobody", "x.onnx", "no model 'nobody'"),
    ],
)
def test_what_cannot_be_exported(run, tiny_weights, tmp_path, model, output, message):
    for name in ("there.onnx", "there.bin"):
        (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(FourfoldError, match=message):
        run(tiny_weights if model == "TINY" else model, "-o", tmp_path / output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there.bin", "there.onnx"]
    assert (tmp_path / "there.onnx").read_bytes() == b"precious"


@pytest.mark.parametrize(("output", "folder"), [("a.onnx", "a.onnx"), ("a.xml", "a.bin"), ("a.xml", "a.xml")])
@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_folder_is_never_replaced_nor_filled(run, tiny_weights, tmp_path, output, folder, options):
    (tmp_path / folder).mkdir()
    with pytest.raises(FourfoldError, match=f"{folder} is a folder; name a file in it"):
        run(tiny_weights, "-o", tmp_path / output, *options)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == [folder]


def test_a_file_that_differs_is_not_kept(run, tiny_weights, tmp_path, monkeypatch):
    format, write, read = export_module.FORMATS[".onnx"]

    def off_by_a_little(path, weights, lr):
        found, reader = read(path, weights, lr)
        return found + np.float32(0.01), reader

    monkeypatch.setitem(export_module.FORMATS, ".onnx", (format, write, off_by_a_little))
    with pytest.raises(EngineError, match=r"differs by 0\.01"):
        run(tiny_weights, "-o", tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []

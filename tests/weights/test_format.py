"""Weights files: what is written comes back; what is damaged is refused, and the message says what."""

import functools
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fourfold.errors import UnknownModelError, WeightsError
from fourfold.weights import (
    WeightsConfig,
    expected_shapes,
    load_weights,
    locate,
    models,
    read_config,
    read_weights,
    write_weights,
)
from fourfold.weights import format as weights_format
from tests.conftest import make_tensors

SMALL = {"blocks": 1, "width": 4}


#: A correction of colours half way to a faithful network.
DIAL = {"faithful": "0f" * 32, "matrix": [[0.01, 0, 0], [0, -0.02, 0], [0, 0, 1]], "offset": [0.001, 0, -1]}


def test_a_file_comes_back_whole(tmp_path: Path) -> None:
    tensors = make_tensors("srresnet", SMALL)
    config = WeightsConfig("srresnet", SMALL, name="small", updates=7, scores={"Set5": {"psnr_y": 30.0}})
    path = write_weights(tmp_path / "ünï code.safetensors", config, tensors)
    loaded = read_weights(path)
    assert loaded.config.updates == 7
    assert loaded.config.scores == {"Set5": {"psnr_y": 30.0}}
    assert loaded.config.parameters["prelu"] == "shared"  # resolved
    assert all(np.array_equal(loaded.tensors[name], tensor) for name, tensor in tensors.items())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no temporary file stays


def test_the_hash_of_the_numbers_is_that_of_the_numbers_alone(tmp_path: Path) -> None:
    tensors = {
        name: value.astype(np.float16).astype(np.float32) for name, value in make_tensors("srresnet", SMALL).items()
    }
    one, two = WeightsConfig("srresnet", SMALL, name="one"), WeightsConfig("srresnet", SMALL, name="two", dial=DIAL)
    whole = read_weights(write_weights(tmp_path / "one.safetensors", one, tensors))
    half = read_weights(write_weights(tmp_path / "two.safetensors", two, tensors, half=True))
    assert whole.tensors_sha256 == half.tensors_sha256
    assert whole.sha256 != half.sha256
    tensors["tail.bias"] += 1
    other = read_weights(write_weights(tmp_path / "other.safetensors", one, tensors))
    assert other.tensors_sha256 != whole.tensors_sha256


def test_half_halves_the_weights_and_keeps_the_statistics(tmp_path: Path) -> None:
    tensors = make_tensors("srresnet", SMALL)
    tensors["fusion_bn.running_var"][:] = 1e6  # beyond float16
    path = write_weights(tmp_path / "half.safetensors", WeightsConfig("srresnet", SMALL), tensors, half=True)
    loaded = read_weights(path)
    assert (loaded.tensors["fusion_bn.running_var"] == 1e6).all()
    assert np.array_equal(loaded.tensors["head.weight"], tensors["head.weight"].astype(np.float16))


@pytest.mark.parametrize(("prelu", "count"), [("shared", 1_549_462), ("channel", 1_550_659)])
def test_the_papers_network_has_its_parameters(prelu: str, count: int) -> None:
    shapes = expected_shapes("srresnet", {"prelu": prelu})
    assert sum(int(np.prod(s)) for name, s in shapes.items() if ".running_" not in name) == count


def _raw(path: Path, tensors: dict[str, np.ndarray], header: object) -> Path:
    save_file(tensors, path, metadata={"fourfold": header if isinstance(header, str) else json.dumps(header)})
    return path


def _header(**values: object) -> dict[str, object]:
    return {"architecture": "srresnet", "parameters": SMALL, **values}


def _damaged(change: Callable[[dict[str, np.ndarray]], object], **header: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tensors = make_tensors("srresnet", SMALL)
        change(tensors)
        return _raw(folder / "bad.safetensors", tensors, _header(**header))

    return make


def _bytes(data: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = _raw(folder / "bad.safetensors", make_tensors("srresnet", SMALL), _header())
        path.write_bytes(data(path.read_bytes()))
        return path

    return make


def _of_dtype(dtype: str, size: int, values: bytes = b"") -> Callable[[Path], Path]:
    """Makes a file whose ``head.bias``, 4 values, is of a kind that numpy may not know."""

    def make(folder: Path) -> Path:
        tensors = make_tensors("srresnet", SMALL)
        del tensors["head.bias"]
        path = _raw(folder / "bad.safetensors", tensors, _header())
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
        header["head.bias"] = {"dtype": dtype, "shape": [4], "data_offsets": [len(rest), len(rest) + 4 * size]}
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + rest + (values or bytes(4 * size)))
        return path

    return make


def test_bfloat16_is_read(tmp_path: Path) -> None:
    values = np.array([0x3F80, 0xC000, 0x3DCC, 0x0001], "<u2")  # 1, -2, about 0.1, the smallest
    path = _of_dtype("BF16", 2, values.tobytes())(tmp_path)
    bias = read_weights(path).tensors["head.bias"]
    assert bias.dtype == np.float32
    assert bias.tolist() == [1.0, -2.0, 0.099609375, 2.0**-133]
    # where nothing that a test imported has taught numpy bfloat16
    read = "import sys, fourfold.weights as w; print(w.read_weights(sys.argv[1]).tensors['head.bias'].tolist())"
    said = subprocess.run([sys.executable, "-c", read, path], capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == bias.tolist()


def _nothing(tensors: dict[str, np.ndarray]) -> None:
    pass


BAD_FILES = {
    "missing tensor": (_damaged(lambda t: t.pop("body.0.conv2.bias")), r"'body\.0\.conv2\.bias' is missing"),
    "extra tensor": (_damaged(lambda t: t.update(spam=np.zeros(1))), "'spam' does not belong to srresnet"),
    "wrong shape": (
        _damaged(lambda t: t.update({"tail.bias": np.zeros(4, np.float32)})),
        r"'tail\.bias' has shape \(4,\); it must be \(3,\)",
    ),
    "NaN": (_damaged(lambda t: t["head.bias"].fill(np.nan)), "'head.bias' holds NaN"),
    "infinity": (
        _damaged(lambda t: t["fusion_bn.running_var"].fill(np.inf)),
        r"'fusion_bn\.running_var' holds NaN or inf",
    ),
    "negative variance": (
        _damaged(lambda t: t["body.0.bn1.running_var"].__setitem__(2, -0.5)),
        r"'body\.0\.bn1\.running_var' holds a negative variance",
    ),
    "float8": (_of_dtype("F8_E4M3", 1), r"'head\.bias' holds F8_E4M3; F16, BF16, F32, F64 are read"),
    "float8 of another kind": (_of_dtype("F8_E5M2", 1), "holds F8_E5M2"),
    "integers": (_of_dtype("I64", 8), "holds I64; F16"),
    "bfloat16 NaN": (_of_dtype("BF16", 2, 4 * b"\xc0\x7f"), r"'head\.bias' holds NaN or infinity$"),
    "beyond float32": (
        _of_dtype("F64", 8, np.full(4, 1e300).tobytes()),
        r"'head\.bias' holds NaN or infinity, or values beyond float32's range$",
    ),
    "bfloat16 cut short": (_of_dtype("BF16", 2, bytes(6)), "damaged"),
    "unknown architecture": (_damaged(_nothing, architecture="rrdb"), "unknown architecture 'rrdb'"),
    "no architecture": (_damaged(_nothing, architecture=None), "names no architecture"),
    "unknown parameter": (_damaged(_nothing, parameters={"depth": 3}), "no parameter 'depth'"),
    "wrong kind of parameter": (_damaged(_nothing, parameters={"blocks": "16"}), "must be of type int"),
    "huge network": (_damaged(_nothing, parameters={"blocks": 10**9}), "must lie in 1..4096"),
    "odd scale": (_damaged(_nothing, parameters={"scale": 3}), "must be 2, 4 or 8"),
    "parameters no object": (_damaged(_nothing, parameters=[1]), "not an object"),
    "newer format": (_damaged(_nothing, format=99, name=1), "newer Fourfold"),
    "no fourfold header": (
        lambda folder: (
            save_file(make_tensors("srresnet", SMALL), folder / "plain.safetensors"),
            folder / "plain.safetensors",
        )[1],
        "without Fourfold's header",
    ),
    "header not JSON": (lambda f: _raw(f / "b.safetensors", make_tensors("srresnet", SMALL), "{"), "not JSON"),
    "truncated": (_bytes(lambda b: b[:-100]), "damaged"),
    "truncated in the header": (_bytes(lambda b: b[:50]), "truncated inside the header"),
    "empty": (_bytes(lambda b: b""), "truncated, 0 bytes"),
    "oversized header": (_bytes(lambda b: struct.pack("<Q", 10**12) + b[8:]), "oversized"),
    "a pickle": (_bytes(lambda b: b"\x80\x04\x95" + b"\x00" * 100), "not a safetensors file"),
    "random bytes": (_bytes(lambda b: struct.pack("<Q", 20) + bytes(range(60))), "not JSON"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_by_name(case: str, tmp_path: Path) -> None:
    make, message = BAD_FILES[case]
    path = make(tmp_path)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("parameters", [1], "is not an object"),
        ("name", {"a": 1}, "is not text"),
        ("name", None, "is not text"),
        ("name", "\x1b[31mred", "holds control characters"),
        ("name", "two\nlines", "holds control characters"),
        ("name", "half a pair \ud800", "holds control characters"),
        ("recipe", "x", "is not an object"),
        ("recipe", {"a": functools.reduce(lambda inner, _: [inner], range(600), [])}, "is nested too deeply"),
        ("data", ["a"], "is not text"),
        ("data", "\x9b2J", "holds control characters"),
        ("data_licence", 1, "is not text"),
        ("licence", "CC0\r", "holds control characters"),
        ("device", False, "is not text"),
        ("device", "ring\a", "holds control characters"),
        ("updates", "many", "is not a whole number"),
        ("updates", -1, "is not a whole number"),
        ("updates", 1.5, "is not a whole number"),
        ("updates", True, "is not a whole number"),
        ("updates", 10**400, "is not a whole number"),
        ("content_scale", "x", "is neither a finite number nor null"),
        ("content_scale", True, "is neither a finite number nor null"),
        ("content_scale", float("nan"), "is neither a finite number nor null"),
        ("content_scale", 10**400, "is neither a finite number nor null"),
        ("scores", [1, 2], "is not an object"),
        ("scores", {"Set5": 31.9}, "is not an object of numbers for 'Set5'"),
        ("scores", {"Set5": {"psnr_y": "high"}}, "is not an object of numbers for 'Set5'"),
        ("scores", {"Set5": {"psnr_y": True}}, "is not an object of numbers for 'Set5'"),
        ("scores", {"\x1b[2J": {}}, "names a set that holds control characters"),
        ("dial", [1], "is not an object"),
        ("dial", {"matrix": [[0, 0, 0]] * 3, "offset": [0, 0, 0]}, "does not name its faithful network"),
        ("dial", DIAL | {"faithful": "srresnet-plus"}, "does not name its faithful network"),
        ("dial", DIAL | {"matrix": [[0, 0, 0]] * 2}, "has no 3x3 matrix"),
        ("dial", DIAL | {"matrix": [[0, 0], [0, 0], [0, 0]]}, "has no 3x3 matrix"),
        ("dial", DIAL | {"matrix": [[0, 0, float("nan")]] * 3}, "has no 3x3 matrix"),
        ("dial", DIAL | {"offset": None}, "has no 3x3 matrix and 3 offsets"),
        ("dial", DIAL | {"offset": [0, 0, 1.5]}, "has no 3x3 matrix and 3 offsets between -1 and 1"),
        ("dial", DIAL | {"offset": [0, 0, True]}, "has no 3x3 matrix and 3 offsets"),
        ("fourfold_version", 1, "is not text"),
        ("fourfold_version", "0.1\b", "holds control characters"),
        ("format", True, "is not a whole number"),
        ("format", "1", "is not a whole number"),
        ("format", -1, "is not a whole number"),
    ],
)
def test_fields_of_a_wrong_kind_are_refused_by_name(field: str, value: object, problem: str, tmp_path: Path) -> None:
    path = _raw(tmp_path / "bad.safetensors", make_tensors("srresnet", SMALL), _header(**{field: value}))
    with pytest.raises(WeightsError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: '{field}' in Fourfold's header {problem}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "values",
    [
        {},  # as the oldest files
        {"name": "größer", "data": "one\n\ttwo", "licence": "a\nb", "device": "c\nd", "data_licence": "e\nf"},
        {"updates": 0, "content_scale": None, "scores": {}, "recipe": {}},
        {"content_scale": 1, "scores": {"Set5": {"psnr_y": float("inf"), "niqe": 5}, "Set14": {}}},
        {"dial": DIAL},
        {"a_field_of_tomorrow": [1]},
    ],
)
def test_headers_that_are_read(values: dict[str, object], tmp_path: Path) -> None:
    path = _raw(tmp_path / "good.safetensors", make_tensors("srresnet", SMALL), _header(**values))
    config = read_weights(path).config
    known = {key: value for key, value in values.items() if hasattr(config, key)}
    assert {key: getattr(config, key) for key in known} == known


def test_every_field_of_the_header_is_checked() -> None:
    assert set(weights_format._FIELDS) == {field.name for field in fields(WeightsConfig)} - {"architecture"}


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a file"):
        read_weights(tmp_path)
    with pytest.raises(WeightsError, match="No such file"):
        read_config(tmp_path / "none.safetensors")


def test_writing_refuses_what_it_could_not_read(tmp_path: Path) -> None:
    tensors = make_tensors("srresnet", SMALL)
    del tensors["head.bias"]
    with pytest.raises(WeightsError, match=r"head\.bias"):
        write_weights(tmp_path / "w.safetensors", WeightsConfig("srresnet", SMALL), tensors)
    with pytest.raises(WeightsError, match="'name' in Fourfold's header holds control characters"):
        write_weights(
            tmp_path / "w.safetensors",
            WeightsConfig("srresnet", SMALL, name="\x1b"),
            make_tensors("srresnet", SMALL),
        )
    with pytest.raises(WeightsError, match="cannot write"):
        write_weights(
            tmp_path / "no" / "w.safetensors", WeightsConfig("srresnet", SMALL), make_tensors("srresnet", SMALL)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("tensor", "value", "half", "message"),
    [
        ("head.bias", np.nan, False, r"'head\.bias' holds NaN or infinity$"),
        ("head.bias", -np.inf, True, r"'head\.bias' holds NaN or infinity"),
        ("head.bias", 1e5, True, r"'head\.bias' holds NaN or infinity, or values beyond float16's range"),
        ("head.bias", 1e300, False, r"'head\.bias' holds NaN or infinity"),
        ("fusion_bn.running_var", -1.0, False, r"'fusion_bn\.running_var' holds a negative variance"),
    ],
)
def test_writing_refuses_values_that_reading_refuses(
    tensor: str, value: float, half: bool, message: str, tmp_path: Path
) -> None:
    tensors = {name: t.astype(np.float64) for name, t in make_tensors("srresnet", SMALL).items()}
    tensors[tensor][0] = value
    with pytest.raises(WeightsError, match=message):
        write_weights(tmp_path / "w.safetensors", WeightsConfig("srresnet", SMALL), tensors, half=half)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"data": Path("pictures")}, "cannot be written as JSON .*PosixPath"),
        ({(1, 2): 3}, "cannot be written as JSON"),
        ({"text": "x" * weights_format.MAX_HEADER_BYTES}, "oversized"),
    ],
)
def test_writing_refuses_a_header_that_reading_refuses(recipe: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        write_weights(
            tmp_path / "w.safetensors", WeightsConfig("srresnet", SMALL, recipe=recipe), make_tensors("srresnet", SMALL)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_weights(tmp_path / "w.safetensors", WeightsConfig("srresnet", SMALL), make_tensors("srresnet", SMALL))
    before = path.read_bytes()

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WeightsError, match="No space left"):
        write_weights(path, WeightsConfig("srresnet", SMALL), make_tensors("srresnet", SMALL, seed=1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("srresnet-msee", "no model 'srresnet-msee'"),
        ("missing.safetensors", "no weights file at"),
        ("a/b", "at a/b"),
        ("", "no model ''"),
    ],
)
def test_unknown_models_are_named(name: str, message: str) -> None:
    with pytest.raises(UnknownModelError, match=message):
        locate(name)


def test_a_folder_is_no_weights_file(tmp_path: Path) -> None:
    """That of a run, say."""
    with pytest.raises(UnknownModelError, match="is a folder without weights files"):
        locate(tmp_path)
    for name in ("latest", "best"):
        (tmp_path / f"{name}.safetensors").touch()
    with pytest.raises(UnknownModelError, match=r"one of its weights files: best[.]safetensors, latest[.]safetensors"):
        locate(tmp_path)


def test_a_closed_folder_is_named(closed: Path) -> None:
    for path in (closed / "e2.safetensors", closed / "x"):
        with pytest.raises(UnknownModelError, match=r"closed/.*: cannot be read \(Permission denied\)"):
            load_weights(path)


def test_every_shipped_model_loads_and_has_a_card_that_agrees() -> None:
    for model in models():
        weights = load_weights(model.name)
        assert weights.config.name == model.name
        assert weights.config.licence and weights.config.data and weights.config.updates > 0
        card = model.card.read_text(encoding="utf-8")
        assert card.startswith(f"# {model.name}")
        assert weights.sha256 in card
        for scores in weights.config.scores.values():
            assert f"{scores['psnr_y']:.2f}" in card

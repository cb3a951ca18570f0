"""The fidelity dial: its two ends, its middle, and what does not fit together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fourfold.errors import UnknownModelError, UsageError
from fourfold.networks import from_weights
from fourfold.upscaling import interpolate, load
from fourfold.weights import WeightsConfig, load_weights, write_weights
from tests.conftest import make_photo, make_tensors


def written(folder, name, seed=0, architecture="srresnet", **parameters):
    parameters = parameters or {"blocks": 1, "width": 8}
    path = folder / f"{name}.safetensors"
    return write_weights(
        path, WeightsConfig(architecture, parameters, name=name), make_tensors(architecture, parameters, seed)
    )


@pytest.fixture
def pair(tmp_path):
    return written(tmp_path, "sharp", 1), written(tmp_path, "faithful", 2)


def test_the_ends_are_the_networks_themselves(pair):
    photo = make_photo(12, 14)
    sharp, faithful = pair
    for fidelity, end in ((0.0, sharp), (1.0, faithful)):
        dialled = load(sharp, fidelity=fidelity, faithful=faithful, precision="fp32")
        assert np.array_equal(dialled(photo), load(end, precision="fp32")(photo))


def test_between_lie_the_means_of_the_weights(pair):
    one, two = map(load_weights, pair)
    middle = interpolate(one, two, 0.25)
    for name, tensor in middle.tensors.items():
        assert tensor.dtype == np.float32
        assert np.allclose(tensor, 0.75 * one.tensors[name] + 0.25 * two.tensors[name], atol=1e-6)
    assert middle.config.name == "sharp to faithful, fidelity 0.25"
    assert len({one.sha256, two.sha256, middle.sha256}) == 3


def tinted(path, faithful, **changes):
    """Writes the network anew, with a correction of colours on the way to the other."""
    weights = load_weights(path)
    matrix, offset = [[0.1, -0.05, 0.0], [0.0, 0.2, 0.0], [0.02, 0.0, -0.1]], [0.03, 0.0, -0.02]
    dial = {"faithful": load_weights(faithful).tensors_sha256, "matrix": matrix, "offset": offset} | changes
    write_weights(path, replace(weights.config, dial=dial), weights.tensors)
    return np.array(dial["matrix"]), np.array(dial["offset"])


def colours(weights):
    """Returns the colours that a network puts out, with no bound of 0 and 1."""
    lr = torch.from_numpy(make_photo(9, 11)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        return from_weights(weights)(lr)[0].permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("fidelity", [0.0, 0.25, 0.5, 1.0])
def test_colours_between_are_corrected_as_the_header_says(pair, fidelity):
    sharp, faithful = pair
    matrix, offset = tinted(sharp, faithful)
    one, two = map(load_weights, pair)
    plain = colours(interpolate(one, two, fidelity, corrected=False))
    found = colours(interpolate(one, two, fidelity))
    wanted = plain + 4 * fidelity * (1 - fidelity) * (plain @ matrix.T + offset)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert interpolate(one, two, 0.5).config.dial == {}


def test_a_correction_holds_for_one_faithful_network_alone(tmp_path, pair):
    sharp, faithful = pair
    tinted(sharp, faithful)
    one, other = load_weights(sharp), load_weights(written(tmp_path, "other", 3))
    middle = interpolate(one, other, 0.5)
    np.testing.assert_allclose(middle.tensors["tail.bias"], (one.tensors["tail.bias"] + other.tensors["tail.bias"]) / 2)


def test_both_ends_are_told_where_they_differ(tmp_path):
    parameters = {"blocks": 1, "width": 8}
    configs = [
        WeightsConfig("srresnet", parameters, name="sharp", data="DIV2K", data_licence="research", licence="Apache-2.0",
                      updates=1200, device="one core"),
        WeightsConfig("srresnet", parameters, name="faithful", data="Flickr2K", licence="Apache-2.0", updates=34),
    ]  # fmt: skip
    one, two = (
        load_weights(write_weights(tmp_path / f"{c.name}.safetensors", c, make_tensors("srresnet", parameters, k)))
        for k, c in enumerate(configs)
    )
    mixed = interpolate(one, two, 0.4).config
    assert mixed.data == "sharp: DIV2K\nfaithful: Flickr2K"
    assert mixed.data_licence == "sharp: research\nfaithful: not stated"
    assert mixed.licence == "Apache-2.0"
    assert mixed.updates == 0
    assert mixed.device == "sharp: 1,200 updates on one core\nfaithful: 34 updates on a machine not stated"
    assert [interpolate(one, two, f).config.data for f in (0.0, 1.0)] == ["DIV2K", "Flickr2K"]
    assert interpolate(one, two, 1.0).config.device == "34 updates on a machine not stated"


@pytest.mark.parametrize("fidelity", [-0.1, 1.1, float("nan")])
def test_a_fidelity_out_of_range(pair, fidelity):
    one, two = map(load_weights, pair)
    with pytest.raises(UsageError, match="the fidelity is"):
        interpolate(one, two, fidelity)


def test_an_empty_name_is_no_network(pair):
    """As of a variable of a shell script that is not set: not the network that is taken where none is named."""
    with pytest.raises(UnknownModelError):
        load(pair[0], fidelity=0.5, faithful="")


def test_networks_that_do_not_fit(tmp_path, pair):
    sharp = load_weights(pair[0])
    wider = load_weights(written(tmp_path, "wider", width=16, blocks=1))
    other = load_weights(written(tmp_path, "other", architecture="srcnn", width=8))
    with pytest.raises(UsageError, match="their width is 8 and 16"):
        interpolate(sharp, wider, 0.5)
    with pytest.raises(UsageError, match=r"sharp \(srresnet\) and other \(srcnn\)"):
        interpolate(sharp, other, 0.5)

"""What a run begins with: discriminators that have learned already, and what is said where one is wanting."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import fourfold
from fourfold.errors import FourfoldError, RecipeError, TrainingError
from fourfold.training import Recipe
from fourfold.training.checkpoint import load_checkpoint
from fourfold.training.discriminator_file import (
    METADATA_KEY,
    DiscriminatorWeights,
    load_discriminator,
    shipped_discriminators,
    write_discriminator,
)
from fourfold.training.initial import initial_discriminator, remark_on_the_beginning
from fourfold.training.recipe import load_recipe
from fourfold.training.stage import make_discriminator
from fourfold.weights import read_weights, shipped_names
from tests.training.conftest import tiny_recipe
from tests.training.test_going_on import of
from tests.training.test_run import train

PATCH = ("discriminator.kind=patch", "run.updates=2", "run.checkpoint_every=2")


def adversarial(*settings: str, init: str | None = None) -> Recipe:
    return tiny_recipe("srgan-mse", *PATCH, *settings).model_copy(update={"init": init})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The folder of an adversarial run that has ended."""
    folder = tmp_path_factory.mktemp("first") / "run"
    train(adversarial(), pictures, folder)
    return folder


def learned(folder: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(folder / "checkpoints")
    assert state is not None
    return dict(state["networks"]["discriminator"])


def test_a_run_goes_on_with_the_discriminator_of_another(tmp_path: Path, pictures: Path, first: Path) -> None:
    standing = ("optimiser.learning_rate=1e-12", f"discriminator.init={first}")
    train(adversarial(*standing), pictures, tmp_path / "run")
    before, after = learned(first), learned(tmp_path / "run")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    # the weights file travels, and says nothing of this machine's folders
    recipe = read_weights(tmp_path / "run/latest.safetensors").config.recipe
    assert recipe["discriminator"]["init"] == first.name


def test_a_file_holds_what_the_run_had(tmp_path: Path, first: Path) -> None:
    weights = load_discriminator(str(first))
    assert (weights.kind, weights.width, weights.crop_px) == ("patch", 8, 0)
    path = write_discriminator(tmp_path / "d.safetensors", weights, {"of": "it"})
    again = load_discriminator(str(path))
    assert again.settings == weights.settings and again.tensors.keys() == weights.tensors.keys()
    for name, tensor in weights.tensors.items():
        assert again.tensors[name].dtype == torch.float32
        assert torch.allclose(again.tensors[name], tensor, rtol=1e-3, atol=1e-4)


def test_going_on_needs_no_initial_discriminator(tmp_path: Path, pictures: Path, first: Path) -> None:
    path = write_discriminator(tmp_path / "d.safetensors", load_discriminator(str(first)))
    recipe = adversarial(f"discriminator.init={path}")
    train(recipe, pictures, tmp_path / "run")
    path.unlink()
    longer = adversarial(f"discriminator.init={tmp_path / 'another'}", "run.updates=3")
    events = train(longer, pictures, tmp_path / "run", resume=True)
    assert of(events, "remark") == []
    assert json.loads((tmp_path / "run/recipe.json").read_text())["discriminator"]["init"] == str(path)


def test_the_papers_discriminator_says_its_crops(tmp_path: Path, pictures: Path) -> None:
    train(tiny_recipe("srgan-mse", "run.updates=1"), pictures, tmp_path / "run")
    assert "--set data.crop_px=32" in load_discriminator(str(tmp_path / "run")).settings
    with pytest.raises(TrainingError, match=r"another than the recipe's; it takes .*crop_px=32"):
        initial_discriminator(tiny_recipe("srgan-mse", "data.crop_px=48", f"discriminator.init={tmp_path / 'run'}"))


def test_a_generator_that_comes_from_a_gan_alone_is_pointed_out(tmp_path: Path, pictures: Path, first: Path) -> None:
    weights = str(first / "latest.safetensors")
    events = train(adversarial("network.frozen_statistics=true", init=weights), pictures, tmp_path / "alone")
    (remark,) = of(events, "remark")
    assert "latest.safetensors comes from adversarial training" in remark["text"]
    assert "--set discriminator.init=RUN" in remark["text"]
    both = adversarial(f"discriminator.init={first}", init=weights)
    assert of(train(both, pictures, tmp_path / "both"), "remark") == []
    anew = adversarial("discriminator.init=none", init=weights)
    assert anew.discriminator.init is None, "as it is with --init"
    content = tiny_recipe("srresnet-mse", "run.updates=1").model_copy(update={"init": weights})
    assert of(train(content, pictures, tmp_path / "content"), "remark") == []


def test_the_shipped_one_is_pointed_out_with_the_settings_that_take_it() -> None:
    for profile, said in (
        ("cpu", "=srgan-plus goes on"),
        ("paper", "=srgan-plus --set discriminator.kind=patch --set "),
    ):
        recipe = load_recipe("srgan-plus", profile=profile).model_copy(update={"init": "srgan-plus"})
        assert f"--set discriminator.init{said}" in remark_on_the_beginning(recipe)
    with pytest.raises(RecipeError, match=r"discriminator\.init: String should have"):
        load_recipe("srgan-plus", settings=["discriminator.init="])


def bad_discriminators(folder: Path, good: Path) -> dict[str, tuple[str, str]]:
    """Returns, by name: what discriminator.init is, and what is said of it."""
    built: dict[str, object] = {"kind": "patch", "width": 8, "crop_px": 0, "format": 1}
    tensors = load_file(good)

    def made(name: str, changed: dict[str, torch.Tensor], metadata: dict[str, str] | None) -> str:
        path = folder / f"{name}.safetensors"
        save_file(changed, path, metadata=metadata)
        return str(path)

    def header(**values: object) -> dict[str, str]:
        return {METADATA_KEY: json.dumps(built | values)}

    key = next(iter(tensors))
    truncated = folder / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:-100])
    text = folder / "text.safetensors"
    text.write_text("no weights at all")
    empty = folder / "empty"
    empty.mkdir()
    blank = folder / "blank.safetensors"
    blank.write_bytes(b"")
    return {
        "absent": (str(folder / "nowhere"), "there is no .*nowhere; it is a run's folder, a file"),
        "a name that is not shipped": ("srgan-plsu", r"there is no srgan-plsu.*\(srgan-plus\)"),
        "a folder": (str(empty), r"discriminator\.init: .* is not a run folder"),
        "an empty file": (str(blank), "no safetensors file, or damaged"),
        "truncated": (str(truncated), "no safetensors file, or damaged"),
        "text": (str(text), "no safetensors file, or damaged"),
        "a NUL in the path": ("a\0b", "cannot be read"),
        "no header": (made("bare", tensors, None), "is no discriminator's file"),
        "no JSON": (made("nojson", tensors, {METADATA_KEY: "{"}), "its header is damaged"),
        "a list": (made("list", tensors, {METADATA_KEY: "[]"}), "its header is damaged"),
        "a kind unheard of": (made("kind", tensors, header(kind="pixel")), "its header is damaged"),
        "no width": (made("width", tensors, header(width=None)), "its header is damaged"),
        "a width without end": (made("infinite", tensors, header(crop_px=float("inf"))), "its header is damaged"),
        "a format of text": (made("textual", tensors, header(format="1")), "its header is damaged"),
        "a later format": (made("later", tensors, header(format=2)), "format 2; this Fourfold reads up to 1"),
        "another one": (made("other", tensors, {METADATA_KEY: '{"format": 2}'}), "format 2; this Fourfold reads up to"),
        "another width": (made("wide", tensors, header(width=16)), "it takes .*discriminator.width=16"),
        "another kind": (made("crop", tensors, header(kind="crop", crop_px=32)), "it takes .*kind=crop"),
        "missing": (made("missing", {k: v for k, v in tensors.items() if k != key}, header()), "is damaged .*Missing"),
        "a wrong shape": (made("shape", tensors | {key: torch.zeros(2)}, header()), "is damaged .*size mismatch"),
        "whole numbers": (
            made("whole", {k: v.long() for k, v in tensors.items()}, header()),
            "holds torch.int64; floating-point",
        ),
        "NaN": (made("nan", tensors | {key: tensors[key] * float("nan")}, header()), f"tensor '{key}' holds NaN"),
    }


def test_what_is_no_discriminator_is_refused_in_words(tmp_path: Path, pictures: Path, first: Path) -> None:
    good = write_discriminator(tmp_path / "good.safetensors", load_discriminator(str(first)))
    for what, (source, said) in bad_discriminators(tmp_path, good).items():
        with pytest.raises(TrainingError, match=said):
            train(adversarial().model_copy(update={"discriminator": with_init(source)}), pictures, tmp_path / "run")
        assert not (tmp_path / "run").exists(), what


def with_init(source: str) -> object:
    return adversarial().discriminator.model_copy(update={"init": source})


def test_a_run_without_an_adversary_has_none_and_takes_none(tmp_path: Path, pictures: Path, first: Path) -> None:
    train(tiny_recipe("srresnet-mse", "run.updates=1"), pictures, tmp_path / "content")
    with pytest.raises(TrainingError, match="trained without an adversary; there is no discriminator in it"):
        initial_discriminator(adversarial(f"discriminator.init={tmp_path / 'content'}"))
    with pytest.raises(TrainingError, match=r"the recipe has no adversary \(loss.adversarial is 0\)"):
        initial_discriminator(tiny_recipe("srresnet-mse", f"discriminator.init={first}"))
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "recipe.json").write_bytes((first / "recipe.json").read_bytes())
    with pytest.raises(TrainingError, match="has no checkpoint yet"):
        initial_discriminator(adversarial(f"discriminator.init={begun}"))


def test_a_value_beyond_float16_is_not_written(tmp_path: Path) -> None:
    huge = DiscriminatorWeights("patch", 8, 0, {"logit.bias": torch.tensor([1e6])})
    with pytest.raises(TrainingError, match=r"'logit.bias' holds NaN, infinity, or values beyond float16's range"):
        write_discriminator(tmp_path / "d.safetensors", huge)
    assert list(tmp_path.iterdir()) == []


def test_it_cannot_be_written_where_no_folder_is(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot write the discriminator"):
        write_discriminator(tmp_path / "none/d.safetensors", DiscriminatorWeights("patch", 8, 0, {}))


def test_each_shipped_discriminator_is_of_a_shipped_model_and_fits_its_recipe() -> None:
    assert shipped_discriminators() == ["srgan-plus"]
    for name in shipped_discriminators():
        assert name in shipped_names()
        recipe = load_recipe(name, profile="cpu", settings=[f"discriminator.init={name}"])
        network = initial_discriminator(recipe)
        assert network is not None
        assert network.state_dict().keys() == make_discriminator(recipe).state_dict().keys()


def test_a_discriminator_upscales_nothing(tmp_path: Path, first: Path) -> None:
    path = write_discriminator(tmp_path / "d.safetensors", load_discriminator(str(first)))
    with pytest.raises(FourfoldError, match="without Fourfold's header"):
        fourfold.load(path)

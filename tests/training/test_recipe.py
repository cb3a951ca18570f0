import json
import tomllib
from pathlib import Path

import pytest
import torch

from fourfold.errors import RecipeError
from fourfold.training import load_recipe, recipe_names
from fourfold.training.recipe import RECIPES, ScheduleSettings, parse_recipe
from fourfold.training.schedule import learning_rate_factor, remark_on_the_schedule

VARIANTS = ["srresnet-mse", "srresnet-vgg22", "srgan-mse", "srgan-vgg22", "srgan-vgg54"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_profile_of_every_recipe_is_valid(name: str) -> None:
    profiles = tomllib.loads((RECIPES / f"{name}.toml").read_text()).get("profiles", {})
    for profile in ["paper", *profiles]:
        recipe = load_recipe(name, profile=profile)
        assert (recipe.name, recipe.profile) == (name, profile)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_five_variants_are_the_papers(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.network.parameters["blocks"] == 16
    assert (recipe.data.crop_px, recipe.data.batch, recipe.data.degradation) == (96, 16, "bicubic")
    assert (recipe.optimiser.learning_rate, recipe.optimiser.beta1) == (1e-4, 0.9)
    gan = name.startswith("srgan")
    assert recipe.loss.adversarial == (1e-3 if gan else 0)
    assert recipe.run.updates == (200_000 if gan else 1_000_000)
    assert recipe.loss.pixel == (0 if "vgg" in name else 1)
    assert recipe.loss.vgg == (1 if "vgg" in name else 0)
    assert recipe.loss.total_variation == (2e-8 if name == "srresnet-vgg22" else 0)
    assert recipe.init == (None if name == "srresnet-mse" else "srresnet-mse")
    if "vgg" in name:
        assert recipe.loss.vgg_layer == name[-2:]
    assert {"quick", "cpu"} <= set(tomllib.loads((RECIPES / f"{name}.toml").read_text())["profiles"])


def test_the_papers_gan_schedule() -> None:
    recipe = load_recipe("srgan-vgg54")
    factors = [learning_rate_factor(recipe.schedule, u, recipe.run.updates) for u in (0, 99_999, 100_000, 199_999)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("values", "updates", "expected"),
    [
        ({"kind": "constant"}, [0, 99], [1, 1]),
        ({"kind": "constant", "warmup_updates": 4}, [0, 1, 3, 50], [0.25, 0.5, 1, 1]),
        ({"kind": "cosine"}, [0, 50, 100], [1, 0.5, 0]),
        ({"kind": "cosine", "final_factor": 0.2}, [50, 100], [0.6, 0.2]),
        ({"kind": "decay", "decay_updates": 20}, [0, 80, 90, 100], [1, 1, 0.5, 0]),
        ({"kind": "step", "milestones": [10, 20], "factor": 0.5}, [9, 10, 20], [1, 0.5, 0.25]),
        # longer than the run: over all of it
        ({"kind": "decay", "decay_updates": 400}, [0, 50, 100], [1, 0.5, 0]),
        ({"kind": "decay", "decay_updates": 400, "final_factor": 0.5}, [0, 50, 100], [1, 0.75, 0.5]),
        ({"kind": "constant", "warmup_updates": 400}, [0, 49, 99], [0.01, 0.5, 1]),
    ],
)
def test_schedules(values: dict[str, object], updates: list[int], expected: list[float]) -> None:
    settings = ScheduleSettings.model_validate(values)
    assert [learning_rate_factor(settings, u, 100) for u in updates] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ([], False),
        (["run.updates=100001"], False),
        (["run.updates=100000"], True),
        (["run.updates=100010", "discriminator.head_start=10"], True),
        (["run.updates=100010", "discriminator.head_start=10", "loss.adversarial=0"], False),
        (["run.updates=50", "schedule.kind=cosine"], False),
    ],
)
def test_milestones_that_a_run_never_comes_to_are_told(settings: list[str], told: bool) -> None:
    recipe = load_recipe("srgan-vgg54", settings=settings)
    rates = {
        learning_rate_factor(recipe.schedule, update, recipe.run.updates, recipe.head_start)
        for update in (recipe.head_start, recipe.run.updates - 1)
    }
    assert (rates == {1.0}) == told
    assert ("begin with 100000" in remark_on_the_schedule(recipe)) == told


def test_the_schedule_counts_from_a_head_start_on() -> None:
    settings = ScheduleSettings.model_validate({"kind": "decay", "decay_updates": 20, "warmup_updates": 4})
    factors = [learning_rate_factor(settings, u, 140, 40) for u in (0, 3, 39, 40, 43, 120, 130)]
    assert factors == pytest.approx([0.25, 1, 1, 0.25, 1, 1, 0.5])
    assert learning_rate_factor(settings, 1, 140, 2) == 1  # a warm-up longer than the head start


def test_a_head_start_is_the_adversarys() -> None:
    settings = ["discriminator.head_start=9", "run.updates=9"]
    assert load_recipe("srresnet-mse", settings=settings).head_start == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["run.update=5"], "did you mean 'run.updates'"),
        (["profile=quick"], "--profile quick"),
        (["loss.vg=1"], "did you mean 'loss.vgg'"),
        (["run.updates"], "key=value"),
        (["run.updates=0"], "run.updates"),
        (["run.updates=many"], "run.updates"),
        (["data.crop_px=97"], "multiple of 8"),
        (["data.shrink=[0.9,0.5]"], "from the least to the largest"),
        (["data.shrink=[0.01,1]"], "data.shrink"),
        (["data.shrink=[0.5,2]"], "data.shrink"),
        (["data.shrink=0.5"], "data.shrink"),
        (["data.shrink_share=1.1"], "data.shrink_share"),
        (["data.crop_px=104", "loss.adversarial=1e-3"], "multiple of 16"),
        (["loss.pixel=0"], "no content loss"),
        (["loss.vgg_layer=55"], "no layer '55'"),
        (["loss.vgg_normalisation=caffe"], "oxford"),
        (["loss.vgg_scale=-1"], "vgg_scale"),
        (["run.best_by=content"], "needs loss.vgg"),
        (["discriminator.width=12"], "multiple of 8"),
        (["discriminator.kind=unet"], "discriminator.kind"),
        (["discriminator.learning_rate_factor=0"], "learning_rate_factor"),
        (["discriminator.head_start=-1"], "head_start"),
        (["loss.adversarial=1", "discriminator.head_start=9", "run.updates=9"], "head_start is 9 of 9 updates; none"),
        (["loss.vgg_shift_px=17"], "vgg_shift_px"),
        (["loss.vgg_shift_px=16", "data.crop_px=24"], "VGG19 needs 16"),
        (["data.jpeg_share=1.5"], "data.jpeg_share"),
        (["data.jpeg_quality=[0,90]"], "data.jpeg_quality"),
        (["data.jpeg_quality=[50,101]"], "data.jpeg_quality"),
        (["data.jpeg_quality=75"], "data.jpeg_quality"),
        (["data.jpeg_quality=[90,40]"], "from the lowest to the highest"),
        (["loss.vgg_zoom=[0.9,2]"], "vgg_zoom"),
        (["loss.vgg_zoom=[1,5]"], "vgg_zoom"),
        (["loss.vgg_zoom=2"], "vgg_zoom"),
        (["loss.vgg_zoom=[2,1]"], "the least factor comes first"),
        (["loss.lattice=-1"], "lattice"),
        (["loss.lattice=50", "data.crop_px=16"], "loss.lattice needs 24 at x4"),
        (["loss.lattice=50", "data.crop_px=40", "network.parameters.scale=8"], "loss.lattice needs 48 at x8"),
        (["loss.adversarial=1e-3", "data.crop_px=16", "data.batch=1"], "take two"),
        (["loss.consistency=-1"], "consistency"),
        (["loss.colour=-1"], "colour"),
        (["network.parameters.blocks=-3"], "blocks"),
        (["network.parameters.colour=1"], "colour"),
        (["run.updates.more=1"], "not a table"),
        (["run={updates={more=1}}"], "not a table"),
        (["run={update=1}"], "did you mean 'run.updates'"),
        (["run.updates={}"], "run.updates"),
        (["rum={}"], "did you mean 'run'"),
        (["run.seed=-1"], "run.seed"),
        (["run.seed=18446744073709551616"], "run.seed"),
        (["data.batch=nan"], "data.batch"),
        (["optimiser.learning_rate=inf"], "learning_rate"),
        (["schedule.kind=decay"], "schedule.kind is 'decay', which needs schedule.decay_updates"),
        (["schedule.kind=step"], "schedule.kind is 'step', which needs schedule.milestones"),
        (["schedule.kind=step", "schedule.milestones=[0]"], "schedule.milestones"),
        (["schedule.milestones=[2]"], "schedule.milestones does nothing .* without schedule.kind=step"),
        (["schedule.factor=0.5"], "schedule.factor does nothing .* without schedule.kind=step"),
        (["schedule.final_factor=0.5"], "schedule.final_factor does nothing .* without schedule.kind=decay or cosine"),
        (["schedule.decay_updates=3"], "schedule.decay_updates does nothing .* without schedule.kind=decay"),
    ],
)
def test_bad_settings_name_the_key(settings: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe("srresnet-mse", settings=settings)
    assert ": :" not in str(caught.value)


@pytest.mark.parametrize("kind", ["decay", "step"])
def test_what_an_earlier_run_recorded_is_still_read(kind: str) -> None:
    values = load_recipe("srresnet-mse").model_dump(mode="json")
    recorded = parse_recipe({**values, "schedule": {"kind": kind}}, "runs/x/recipe.json")
    assert learning_rate_factor(recorded.schedule, 50, 100) == 1


def test_validation_looks_through_the_middle_of_the_zoom() -> None:
    assert load_recipe("srresnet-vgg22", settings=["loss.vgg_zoom=[1.75,2.25]"]).loss.mean_vgg_zoom == 2
    assert load_recipe("srresnet-vgg22").loss.mean_vgg_zoom == 1


def test_bad_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'srgan-vgg54'"):
        load_recipe("srgan-vg54")
    with pytest.raises(RecipeError, match="no profile 'fast'"):
        load_recipe("srgan-mse", profile="fast")
    for content in ("name = ", "\x00", "[run]\nupdates = 5", "name = 3"):
        path = tmp_path / "r.toml"
        path.write_text(content)
        with pytest.raises(RecipeError, match=r"r\.toml"):
            load_recipe(path)


def test_a_file_of_an_editor_that_marks_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "mine"', encoding="utf-8-sig")
    assert load_recipe(tmp_path / "r.toml").name == "mine"


PROFILE = """name = "mine"
init = "srresnet-mse"
[loss]
pixel = 0.0
vgg = 1.0
vgg_layer = "54"
adversarial = 1e-3
[network.parameters]
blocks = 5
width = 32
[profiles.mine]
"""


@pytest.mark.parametrize(
    "settings",
    [
        '"loss.adversarial" = 1e-2\n"network.parameters.blocks" = 3',
        "loss.adversarial = 1e-2\nnetwork.parameters.blocks = 3",
        "loss = {adversarial = 1e-2}\nnetwork = {parameters = {blocks = 3}}",
        "[profiles.mine.loss]\nadversarial = 1e-2\n[profiles.mine.network]\nparameters.blocks = 3",
        '"loss" = {"adversarial" = 1e-2}\n"network.parameters" = {"blocks" = 3}\nrun = {}',
    ],
)
def test_a_profile_sets_what_it_names_and_no_more(tmp_path: Path, settings: str) -> None:
    """However TOML spells it: a section that was replaced would train on another loss without a word."""
    path = tmp_path / "mine.toml"
    path.write_text(PROFILE + settings)
    recipe = load_recipe(path, profile="mine")
    assert (recipe.loss.adversarial, recipe.loss.vgg, recipe.loss.pixel) == (1e-2, 1.0, 0.0)
    assert (recipe.network.parameters["blocks"], recipe.network.parameters["width"]) == (3, 32)
    assert load_recipe(path).loss.adversarial == 1e-3


def test_a_table_on_the_command_line_sets_what_it_names_and_no_more() -> None:
    recipe = load_recipe(
        "srgan-vgg54", settings=["loss={adversarial=1e-2}", "network={parameters={blocks=3}}", "run={}"]
    )
    assert (recipe.loss.adversarial, recipe.loss.vgg, recipe.loss.pixel) == (1e-2, 1.0, 0.0)
    assert (recipe.network.parameters["blocks"], recipe.network.parameters["width"]) == (3, 64)
    assert recipe.run.best_by == "newest"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("profiles = 3", r"profiles is 3"),
        ("[profiles]\nquick = 3", r"profiles\.quick is 3"),
        ('[profiles.paper]\n"run.updates" = 3', r"\[profiles\.paper\] would never be read"),
        ("[profiles.quick]\nrun = 3", r"run: .* not 3"),
    ],
)
def test_bad_profiles(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f'name = "r"\n{content}\n')
    with pytest.raises(RecipeError, match=words):
        load_recipe(path, profile="quick")


@pytest.mark.parametrize("name", ["", "a\nb", "a/b", "a\\b", " a", "a\t", ".a", "..", "a\x1b[1m", "a" * 101])
def test_names_that_run_folders_and_weights_cannot_carry(tmp_path: Path, name: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f"name = {json.dumps(name)}\n")
    with pytest.raises(RecipeError, match="name: "):
        load_recipe(path)


def test_a_seed_of_64_bits() -> None:
    assert torch.Generator().manual_seed(load_recipe("srresnet-mse", settings=[f"run.seed={2**64 - 1}"]).run.seed)


def test_recipes_in_closed_folders(closed: Path) -> None:
    with pytest.raises(RecipeError, match=r"closed/r\.toml: cannot be read \(Permission denied\)"):
        load_recipe(closed / "r.toml")


def test_numbers_may_name_layers() -> None:
    assert load_recipe("srgan-vgg54", settings=["loss.vgg_layer=22"]).loss.vgg_layer == "22"


def test_none_is_to_begin_anew() -> None:
    assert load_recipe("srgan-mse", settings=["init=none"]).init is None
    with pytest.raises(RecipeError, match="init"):
        load_recipe("srgan-mse", settings=["init="])

"""Recipes: everything that decides what a training run computes, typed, checked and copied into the run folder.

A recipe is a TOML file; the shipped ones lie in ``recipes/``, one per published weights file. ``[profiles.NAME]``
tables hold dotted settings on top of it (``"run.updates" = 2000``), and ``--set key=value`` goes on top of those. With
or without quotes, as a dotted key or as a table: what is named is set, and the rest of its section stays.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fourfold.errors import RecipeError, UsageError, WeightsError
from fourfold.networks.vgg19 import check_layer
from fourfold.places import is_file, why_unseen
from fourfold.weights import resolve_parameters

RECIPES = Path(__file__).parent / "recipes"

#: Cells on a side over which the lattice term averages; a crop must have as many.
LATTICE_CELLS = 6

#: torch's generators take seeds of 64 bits.
LARGEST_SEED = 2**64 - 1

#: What to begin from, a name or a file; "none", since TOML has no word for nothing, is to begin anew.
Initial = Annotated[
    Annotated[str, Field(min_length=1)] | None, AfterValidator(lambda init: None if init == "none" else init)
]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkSettings(_Settings):
    """The generator: an architecture of the weights format and its parameters.

    Attributes:
        architecture: of the weights format.
        parameters: the architecture's own.
        frozen_statistics: batch norm keeps the initial weights' running statistics, as at use, instead of taking each
            batch's; not the paper's. The network then learns as one of plain convolutions, and its weights mix well
            with those that it began from.
    """

    architecture: str = "srresnet"
    parameters: dict[str, Any] = Field(default_factory=dict)
    frozen_statistics: bool = False

    @model_validator(mode="after")
    def _resolve(self) -> "NetworkSettings":
        try:
            resolved = resolve_parameters(self.architecture, self.parameters)
        except WeightsError as error:
            raise ValueError(str(error)) from error
        self.parameters.clear()
        self.parameters.update(resolved)
        return self


JPEGQuality = Annotated[int, Field(ge=1, le=100)]
ShrinkFactor = Annotated[float, Field(ge=0.1, le=1)]


class DataSettings(_Settings):
    """Mini-batches (Ledig et al. 2017, section 3.2): 16 random 96x96 HR crops of distinct pictures.

    Attributes:
        crop_px: side of the HR crops.
        batch: crops per update, of all processes together.
        flips: mirror half of the crops; the paper does not say that it does.
        quarter_turns: turn crops by quarters; neither does it say that.
        shrink_share: share of the HR crops that are larger parts of their pictures, shrunk; 0 is the paper's.
        shrink: least and largest factor, of which each of them is given one; a part is no larger than its picture.
        degradation: how LR is made: "bicubic" (the experiments') or "gaussian" (the method section's).
        jpeg_share: share of the LR crops that are compressed as JPEG before the network sees them; 0 is the paper's.
        jpeg_quality: lowest and highest quality, as IJG's library counts it, of which each of them is given one.
        bank: "resident" keeps all pictures in the device's memory, "streamed" reads them from a decoded file,
            "auto" takes the first where it fits.
        broken_share: more unusable files than this share stop the run.
        workers: threads that decode and read; 0 takes as many as suit the machine.
    """

    crop_px: int = Field(96, ge=16, le=1024)
    batch: int = Field(16, ge=1, le=4096)
    flips: bool = True
    quarter_turns: bool = True
    shrink_share: float = Field(0.0, ge=0, le=1)
    shrink: tuple[ShrinkFactor, ShrinkFactor] = (0.5, 1.0)
    degradation: Literal["bicubic", "gaussian"] = "bicubic"
    jpeg_share: float = Field(0.0, ge=0, le=1)
    jpeg_quality: tuple[JPEGQuality, JPEGQuality] = (40, 98)
    bank: Literal["auto", "resident", "streamed"] = "auto"
    broken_share: float = Field(0.05, ge=0, le=1)
    workers: int = Field(0, ge=0, le=256)

    @model_validator(mode="after")
    def _divisible(self) -> "DataSettings":
        if self.crop_px % 8:
            raise ValueError(f"crop_px is {self.crop_px}; it must be a multiple of 8")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> "DataSettings":
        low, high = self.jpeg_quality
        if low > high:
            raise ValueError(f"jpeg_quality is {low} to {high}; it goes from the lowest to the highest")
        least, largest = self.shrink
        if least > largest:
            raise ValueError(f"shrink is {least:g} to {largest:g}; it goes from the least to the largest")
        return self

    @property
    def largest_part_px(self) -> int:
        """Side of the largest part of a picture that becomes a crop."""
        return round(self.crop_px / self.shrink[0]) if self.shrink_share else self.crop_px


VGGZoom = Annotated[float, Field(ge=1, le=4)]


class LossSettings(_Settings):
    """The terms of the generator's loss (Ledig et al. 2017, eqs. 3 to 6); a weight of 0 leaves a term out.

    Attributes:
        pixel: weight of the pixel loss on -1..1.
        pixel_kind: "mse" is the paper's; "l1", "charbonnier" and "psnr" (the log of each crop's MSE) are not.
        pixel_channel: "rgb", or "y" for networks that restore the luma alone (SRCNN, ESPCN, DRCN).
        pixel_luma: the share of the pixel loss that is of the luma alone; 0 is the paper's.
        pixel_floor: MSE on -1..1 below which "psnr" flattens out; 1e-3 is 36 dB.
        vgg: weight of the VGG content loss, applied to the calibrated loss (see docs/training.md).
        vgg_layer: "22" or "54" in the paper.
        vgg_normalisation: which weights they are: "torchvision" (downloaded) or "oxford" (the authors' own).
        vgg_ratio: what the calibration aims at: the VGG loss of bicubic crops, in multiples of their pixel MSE.
        vgg_scale: a factor given by hand instead of the calibrated one; the paper's is 0.006151 (1/12.75 squared).
        vgg_shift_px: VGG19 looks at the crops from a random row and column up to this one on; 0 is the paper's.
        vgg_zoom: least and largest factor by which VGG19 sees parts of the crops enlarged; 1 and 1 are the paper's.
        recursions: DRCN alone: the share of the loss that its recursions have, each supervised; the rest is the
            final picture's.
        adversarial: weight of -log D(G(lr)).
        adversarial_share: bound on the adversary's share of the gradient on the pictures, by norm, in every update;
            1, the paper's, is none. A discriminator that is far ahead has steep gradients, and drowns the rest.
        consistency: weight of the MSE on -1..1 between SR shrunk to LR's size and LR; not the paper's.
        colour: weight of the MSE on -1..1 of the crops' mean colours; not the paper's.
        lattice: weight of the MSE of local means at each place in an LR pixel's cell, against grids; not the paper's.
        flat: weight of the MSE on -1..1 where HR is flat, against dots and echoes there; not the paper's.
        fine: weight of the MSE on -1..1 of fine waves, the more the shorter, against weaves; not the paper's.
        total_variation: weight of the total variation of SR.
    """

    pixel: float = Field(1.0, ge=0)
    pixel_kind: Literal["mse", "l1", "charbonnier", "psnr"] = "mse"
    pixel_channel: Literal["rgb", "y"] = "rgb"
    pixel_luma: float = Field(0.0, ge=0, le=1)
    pixel_floor: float = Field(1e-3, gt=0, le=1)
    vgg: float = Field(0.0, ge=0)
    vgg_layer: str = Field("54", coerce_numbers_to_str=True)  # --set loss.vgg_layer=22 comes as a number
    vgg_normalisation: Literal["torchvision", "oxford"] = "torchvision"
    vgg_ratio: float = Field(6.9, gt=0)
    vgg_scale: float | None = Field(None, gt=0)
    vgg_shift_px: int = Field(0, ge=0, le=16)
    vgg_zoom: tuple[VGGZoom, VGGZoom] = (1.0, 1.0)
    recursions: float = Field(0.0, ge=0, lt=1)
    adversarial: float = Field(0.0, ge=0)
    adversarial_share: float = Field(1.0, gt=0, le=1)
    consistency: float = Field(0.0, ge=0)
    colour: float = Field(0.0, ge=0)
    lattice: float = Field(0.0, ge=0)
    flat: float = Field(0.0, ge=0)
    fine: float = Field(0.0, ge=0)
    total_variation: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _some_content(self) -> "LossSettings":
        if self.pixel == 0 and self.vgg == 0:
            raise ValueError("there is no content loss: pixel and vgg are both 0")
        return self

    @model_validator(mode="after")
    def _least_before_largest(self) -> "LossSettings":
        if self.vgg_zoom[0] > self.vgg_zoom[1]:
            raise ValueError(f"vgg_zoom is {self.vgg_zoom[0]:g} to {self.vgg_zoom[1]:g}; the least factor comes first")
        return self

    @model_validator(mode="after")
    def _a_layer_of_vgg19(self) -> "LossSettings":
        try:
            check_layer(self.vgg_layer)
        except UsageError as error:
            raise ValueError(f"vgg_layer: {error}") from error
        return self

    @property
    def mean_vgg_zoom(self) -> float:
        """The middle of ``vgg_zoom``: what a validation, which draws nothing, looks through."""
        return sum(self.vgg_zoom) / 2


class DiscriminatorSettings(_Settings):
    """The discriminator.

    Attributes:
        kind: "crop" is the paper's (Ledig et al. 2017, figure 4), one verdict per crop; "patch" gives one per place.
        width: maps of its first convolution.
        learning_rate_factor: its learning rate, in multiples of the generator's; 1 is the paper's.
        optimiser: its kind of optimiser; None is the generator's kind. What SOAP costs goes with the cube of the
            maps: for the generator next to nothing, for the paper's discriminator as much as its passes.
        init: one that has learned already, to begin with: a shipped one's name, a run's folder, or a file; see
            :func:`fourfold.training.discriminator_file.load_discriminator`. None, or "none", begins anew.
        head_start: updates at the beginning that teach it alone, while the generator stays as it is. One that knows
            nothing yet asks the generator for anything but texture. They are some of ``run.updates``; the schedule and
            the average count from their end on. 0 is the paper's.
    """

    kind: Literal["crop", "patch"] = "crop"
    width: int = Field(64, ge=8, le=1024, multiple_of=8)
    learning_rate_factor: float = Field(1.0, gt=0)
    optimiser: Literal["adam", "soap"] | None = None
    init: Initial = None
    head_start: int = Field(0, ge=0)


class OptimiserSettings(_Settings):
    """The optimiser; the paper's is Adam with beta1 0.9 and a learning rate of 1e-4.

    Attributes:
        kind: "adam", or "soap": Adam in the eigenbases of each layer's gradients, see
            :class:`fourfold.training.soap.Soap`.
        learning_rate: of the generator.
        beta1: of the running mean of the gradient.
        beta2: of the running mean of the squared gradient.
    """

    kind: Literal["adam", "soap"] = "adam"
    learning_rate: float = Field(1e-4, gt=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)


Milestone = Annotated[int, Field(ge=1)]


class ScheduleSettings(_Settings):
    """How the learning rate goes: a factor on it, by update.

    Attributes:
        kind: "constant"; "step" (times ``factor`` at each of the ``milestones``, one at least); "cosine" (to
            ``final_factor`` at the end); "decay" (constant, then straight down to ``final_factor`` over the last
            ``decay_updates``, which it needs).
        warmup_updates: rises linearly from zero over the first updates; over all of them, if the run has fewer.
        milestones: updates at which "step" multiplies.
        factor: what it multiplies by.
        decay_updates: length of the descent of "decay"; the whole run, if that is shorter.
        final_factor: where "cosine" and "decay" end.
    """

    kind: Literal["constant", "step", "cosine", "decay"] = "constant"
    warmup_updates: int = Field(0, ge=0)
    milestones: list[Milestone] = Field(default_factory=list)
    factor: float = Field(0.1, gt=0, le=1)
    decay_updates: int = Field(0, ge=0)
    final_factor: float = Field(0.0, ge=0, le=1)


class RunSettings(_Settings):
    """The run: how long, how precise, what is written when. 0 in an "every" means never.

    Attributes:
        updates: length of the run.
        seed: of the initial weights and of the order of the crops.
        precision: "bf16" (autocast), "fp32", or "auto": bf16 where the device multiplies it in hardware. Where it does
            not, bf16 costs a multiple of fp32. A run's own recipe names what it was.
        ema: decay of the weights' moving average, which is validated and written; 0 switches it off,
            as in the paper.
        log_every: updates between lines of the log.
        validate_every: updates between validations.
        checkpoint_every: updates between checkpoints: what ``kill -9`` can cost at most.
        gradients_every: updates between measurements of each term's share of the gradient.
        keep: newest checkpoints that are kept, beside the best.
        best_by: what the best checkpoint is chosen by: "psnr", "content" (the run's own VGG loss on the validation
            pictures), or "newest".
        graph: replay updates as one CUDA graph where that is possible (one process on a CUDA device).
    """

    updates: int = Field(1_000_000, ge=1)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    ema: float = Field(0.999, ge=0, lt=1)
    log_every: int = Field(50, ge=1)
    validate_every: int = Field(2000, ge=0)
    checkpoint_every: int = Field(1000, ge=1)
    gradients_every: int = Field(1000, ge=0)
    keep: int = Field(2, ge=1)
    best_by: Literal["psnr", "content", "newest"] = "psnr"
    graph: bool = True


class Recipe(_Settings):
    """A whole recipe, resolved.

    Attributes:
        name: of one line, without slashes: run folders and weights files carry it.
        description: in words.
        init: a shipped model or a weights file to begin with, or None.
        network: what trains.
        data: mini-batches.
        loss: the generator's.
        discriminator: where the loss has an adversary.
        optimiser: of all networks.
        schedule: of the learning rate.
        run: how long, how precise, what is written.
        profile: which of the recipe's profiles this is.
    """

    name: str = Field(min_length=1, max_length=100)
    description: str = ""
    init: Initial = None
    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    run: RunSettings = RunSettings()
    profile: str = "paper"

    @field_validator("name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not name.isprintable() or "/" in name or "\\" in name or name.strip() != name or name.startswith("."):
            raise ValueError("a name is one line without slashes, without a dot before it or blanks around it")
        return name

    @model_validator(mode="after")
    def _fitting_together(self) -> "Recipe":
        if self.loss.adversarial and self.discriminator.kind == "crop" and self.data.crop_px % 16:
            raise ValueError(f"data.crop_px is {self.data.crop_px}; the discriminator needs a multiple of 16")
        if self.loss.adversarial and self.discriminator.kind == "crop" and self.data.crop_px * self.data.batch == 16:
            raise ValueError("of one crop of 16 px, the discriminator has one value per map to normalise; take two")
        if self.loss.lattice and self.data.crop_px < LATTICE_CELLS * self.scale:
            raise ValueError(
                f"data.crop_px is {self.data.crop_px}; loss.lattice needs {LATTICE_CELLS * self.scale} at x{self.scale}"
            )
        if self.loss.vgg_shift_px > self.data.crop_px - 16:
            raise ValueError(
                f"loss.vgg_shift_px is {self.loss.vgg_shift_px} in crops of {self.data.crop_px} px; VGG19 needs 16"
            )
        if self.run.best_by == "content" and not self.loss.vgg:
            raise ValueError("run.best_by is 'content', which needs loss.vgg; take 'psnr' or 'newest'")
        if self.loss.recursions and (self.network.architecture != "drcn" or self.loss.adversarial):
            raise ValueError("loss.recursions is for DRCN, trained without an adversary")
        if self.head_start >= self.run.updates:
            raise ValueError(
                f"discriminator.head_start is {self.head_start} of {self.run.updates} updates; none is left for the "
                "generator"
            )
        return self

    @property
    def head_start(self) -> int:
        """Updates at the beginning that teach the discriminator alone; 0 where there is none."""
        return self.discriminator.head_start if self.loss.adversarial else 0

    @property
    def scale(self) -> int:
        """The network's factor."""
        return int(self.network.parameters["scale"])

    def portable(self) -> dict[str, Any]:
        """Returns the recipe as plain values for a file that travels: of a path, its last part only."""
        values = self.model_dump(mode="json")
        for place in (values, values["discriminator"]):
            place["init"] = Path(place["init"]).name if place["init"] else None
        return values


def recipe_names() -> list[str]:
    """Returns the names of the shipped recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(recipe: str | Path, *, profile: str = "paper", settings: Sequence[str] = ()) -> Recipe:
    """Returns a recipe, resolved: file, then profile, then ``key=value`` settings.

    Args:
        recipe: a shipped name or a TOML file.
        profile: "paper" is the file itself; others are its ``[profiles.NAME]``.
        settings: ``"run.updates=2000"``; the value is TOML, and a bare word is a string.

    Raises:
        RecipeError: naming the key at fault and the nearest one that there is.
    """
    values = _read(_locate(recipe))
    profiles = _profiles(values.pop("profiles", {}), recipe)
    if profile != "paper" and profile not in profiles:
        raise RecipeError(f"recipe {recipe} has no profile {profile!r}; it has {', '.join(['paper', *profiles])}")
    for key, value in profiles.get(profile, {}).items():
        _assign(values, key, value)
    given = set()
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise RecipeError(f"--set {setting!r}: write it as key=value, such as run.updates=2000")
        _assign(values, key.strip(), _parse_value(text.strip()))
        given.add(key.strip())
    if "profile" in values:  # it would be overwritten, and a run of days begin in place of one of minutes
        raise RecipeError(f"recipe {recipe}: profile is no setting; choose one with --profile {values['profile']}")
    loaded = parse_recipe({**values, "profile": profile}, str(recipe))
    _refuse_constant_by_mistake(loaded.schedule, str(recipe))
    _refuse_idle(loaded, given)
    return loaded


def parse_recipe(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Returns a recipe from plain values, such as those stored in a run folder.

    Raises:
        RecipeError: naming the key at fault.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error)}") from error


def _refuse_constant_by_mistake(schedule: ScheduleSettings, source: str) -> None:
    """Refuses a schedule that would never fall; not where a run's own record is read, which may be of a time before."""
    for kind, needed in (("decay", "decay_updates"), ("step", "milestones")):
        if schedule.kind == kind and not getattr(schedule, needed):
            missing = f"schedule.kind is {kind!r}, which needs schedule.{needed}"
            raise RecipeError(f"{source}: {missing}; the learning rate would never fall")


#: Settings that act only with one kind of schedule.
_IDLE = {
    "schedule.milestones": ("step",),
    "schedule.factor": ("step",),
    "schedule.decay_updates": ("decay",),
    "schedule.final_factor": ("decay", "cosine"),
}


def _refuse_idle(recipe: Recipe, given: Set[str]) -> None:
    """Refuses a schedule's settings that do nothing, if they were given by hand; a recipe may have some left over.

    Other settings that a recipe has no use for are let through, so that all variants can be run with the same ones.
    """
    for key, kinds in _IDLE.items():
        if key in given and recipe.schedule.kind not in kinds:
            raise RecipeError(f"--set {key} does nothing in this recipe without schedule.kind={' or '.join(kinds)}")


def _locate(recipe: str | Path) -> Path:
    if str(recipe) in recipe_names():
        return RECIPES / f"{recipe}.toml"
    path = Path(recipe)
    if is_file(path):
        return path
    if why := why_unseen(path):
        raise RecipeError(f"{path}: cannot be read ({why})")
    near = difflib.get_close_matches(str(recipe), recipe_names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RecipeError(f"no recipe {str(recipe)!r}; {hint}shipped: {', '.join(recipe_names())}; a TOML file works too")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows begin a file with a mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML ({error})") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror or error})") from error


def _profiles(profiles: Any, recipe: str | Path) -> dict[str, dict[str, Any]]:
    """Returns the profiles of a recipe's file, each a table."""
    if not isinstance(profiles, dict):
        raise RecipeError(f"recipe {recipe}: profiles is {profiles!r}; it holds tables, such as [profiles.quick]")
    for name, profile in profiles.items():
        if not isinstance(profile, dict):
            raise RecipeError(f"recipe {recipe}: profiles.{name} is {profile!r}; it is a table, [profiles.{name}]")
    if "paper" in profiles:
        raise RecipeError(
            f"recipe {recipe}: [profiles.paper] would never be read, since paper is the file itself; move its "
            "settings there, or give the profile another name"
        )
    return profiles


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets what a dotted key names; of a table, what it holds, so that the rest of the section stays as it was."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            _assign(values, f"{key}.{name}", inner)
        return
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise RecipeError(f"setting {key!r}: {table!r} is a value, not a table")
    if value != {} or not isinstance(values.get(last), dict):
        values[last] = value


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _keys_beside(first["loc"]), n=1)
        meant = ".".join(map(str, (*first["loc"][:-1], *near)))
        return f"there is no setting {key!r}" + (f"; did you mean {meant!r}?" if near else "")
    where = f"{key}: " if key else ""  # what is wrong between two sections has no key of its own
    return f"{where}{first['msg'].removeprefix('Value error, ')}" + (
        f", not {first['input']!r}" if not isinstance(first["input"], dict) else ""
    )


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Recipe
    for part in location[:-1]:
        model = model.model_fields[part].annotation
    return list(model.model_fields)

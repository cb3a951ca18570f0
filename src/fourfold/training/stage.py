"""Stages: what one update computes.

The loop knows only ``networks``, ``optimisers``, ``memory``, ``step``, ``prepare`` and ``remarks``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fourfold.networks import Discriminator, PatchDiscriminator, VGG19Features, build
from fourfold.training.degradation import Degradation
from fourfold.training.discriminator_watch import DiscriminatorWatch
from fourfold.training.gradients import gradient_shares
from fourfold.training.losses import Term, adversarial_loss, content_terms, discriminator_loss
from fourfold.training.processes import distribute, mean_over_processes, synchronise_batch_norm
from fourfold.training.recipe import OptimiserSettings, Recipe
from fourfold.training.soap import Soap

Networks = dict[str, nn.Module]
Optimisers = dict[str, torch.optim.Optimizer]


class Stage(Protocol):
    """One stage of training.

    Attributes:
        networks: every trained network, "generator" among them; bare, without wrappers.
        optimisers: one per network, under the same name.
        memory: what the remarks go by besides the values logged; plain values, part of every checkpoint.
    """

    networks: Networks
    optimisers: Optimisers
    memory: dict[str, Any]

    def step(self, lr: Tensor, hr: Tensor, *, measure: bool = False) -> dict[str, Tensor]:
        """Makes one update and returns detached scalars to log, still on the device.

        Args:
            lr: (N, 3, h, w) RGB in 0..1.
            hr: (N, 3, scale * h, scale * w) RGB in 0..1.
            measure: also return each term's share of the generator's gradient.
        """
        ...

    def prepare(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Makes one update of the head start, which leaves the generator as it is; returns scalars as ``step`` does.

        Args:
            lr: as for ``step``.
            hr: as for ``step``.
        """
        ...

    def remarks(self, update: int, means: Mapping[str, float]) -> list[str]:
        """Returns what a person should be told about the values logged, in words."""
        ...


def make_stage(
    recipe: Recipe,
    fabric: Fabric,
    *,
    generator: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    features: VGG19Features | None = None,
    content_scale: float | None = None,
) -> "ContentStage":
    """Returns the stage that a recipe describes.

    Args:
        recipe: the resolved recipe.
        fabric: device, precision, processes.
        generator: to start from; None makes a new one.
        discriminator: to start from, if the recipe has an adversary; None makes a new one.
        features: VGG19, if the recipe has a VGG term.
        content_scale: the factor on its loss.
    """
    generator = generator or build(recipe.network.architecture, recipe.network.parameters)
    shrink = Degradation(recipe.data, recipe.scale, fabric.device).shrink
    terms = content_terms(recipe.loss, features, content_scale, shrink, recipe.scale)
    if recipe.loss.adversarial:
        return AdversarialStage(recipe, fabric, generator, terms, discriminator or make_discriminator(recipe))
    if recipe.loss.recursions:
        from fourfold.training.recursive import RecursiveStage  # it builds on this module

        return RecursiveStage(recipe, fabric, generator, terms)
    return ContentStage(recipe, fabric, generator, terms)


def make_discriminator(recipe: Recipe) -> nn.Module:
    """Returns a new discriminator of the recipe's kind."""
    if recipe.discriminator.kind == "patch":
        return PatchDiscriminator(recipe.discriminator.width)
    return Discriminator(recipe.data.crop_px, recipe.discriminator.width)


class ContentStage:
    """Training on content alone: SRResNet-MSE and SRResNet-VGG22 (Ledig et al. 2017, sections 2.2.1 and 3.2).

    Args:
        recipe: the resolved recipe.
        fabric: device, precision, processes.
        generator: the network to train.
        terms: the content terms of its loss.
    """

    def __init__(self, recipe: Recipe, fabric: Fabric, generator: nn.Module, terms: Sequence[Term]) -> None:
        self.networks: Networks = {}
        self.optimisers: Optimisers = {}
        self.memory: dict[str, Any] = {}
        self._distributed: Networks = {}
        self._recipe, self._fabric, self._terms = recipe, fabric, terms
        self._adopt("generator", generator)
        if recipe.network.frozen_statistics:
            freeze_statistics(self.networks["generator"])

    def _adopt(self, name: str, network: nn.Module) -> None:
        network = synchronise_batch_norm(network, self._fabric)
        network = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network = self._fabric.to_device(network)
        settings = optimiser_settings(self._recipe, name)
        optimiser = make_optimiser(network, settings, capturable=can_capture(self._recipe, self._fabric))
        self.networks[name], self.optimisers[name] = network, optimiser
        self._distributed[name] = distribute(network, self._fabric)

    def _mean(self, x: Tensor) -> Tensor:
        return mean_over_processes(self._fabric, x)

    def _call(self, name: str, pictures: Tensor) -> Tensor:
        with self._fabric.autocast():
            return self._distributed[name](pictures)

    def step(self, lr: Tensor, hr: Tensor, *, measure: bool = False) -> dict[str, Tensor]:
        """Makes one update of the generator; see :class:`Stage`."""
        sr = self._call("generator", lr)
        return self._generator_step(self._content(sr, hr), measure)

    def prepare(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Does nothing: there is nobody to be taught first."""
        return {}

    def _content(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return {term.name: term.weight * term.loss(sr, hr) for term in self._terms}

    def _generator_step(
        self, losses: Mapping[str, Tensor], measure: bool, objective: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Makes the step down the sum of the losses, or down another objective in its place."""
        shares = gradient_shares(losses, self.networks["generator"], self._mean) if measure else {}
        loss = torch.stack(list(losses.values())).sum()
        self.optimisers["generator"].zero_grad(set_to_none=True)
        self._fabric.backward(loss if objective is None else objective)
        self.optimisers["generator"].step()
        each = losses if len(losses) > 1 else {}
        return {"loss": loss.detach(), **{f"loss_{name}": value.detach() for name, value in each.items()}, **shares}

    def remarks(self, update: int, means: Mapping[str, float]) -> list[str]:
        """Returns nothing: there is no discriminator to watch."""
        return []


class AdversarialStage(ContentStage):
    """Training against a discriminator: the paper's SRGAN variants (Ledig et al. 2017, eqs. 2, 3 and 6).

    One update is one step of the discriminator and one of the generator (k = 1), on the same mini-batch; the
    generator's pictures are computed once and serve both. The order is the paper's: first the discriminator on
    pictures cut off from the generator's graph, then the generator through the new discriminator, whose parameters
    take no gradient then and whose batch norm keeps no statistics: each step leaves the other network untouched.

    Real and fake pictures go through the discriminator as two batches, so that each has batch-norm statistics of
    its own. In the generator's step there are only fakes; had the discriminator learned on mixed batches, it would
    meet statistics there that it never saw.
    """

    def __init__(
        self, recipe: Recipe, fabric: Fabric, generator: nn.Module, terms: Sequence[Term], discriminator: nn.Module
    ) -> None:
        super().__init__(recipe, fabric, generator, terms)
        self._adopt("discriminator", discriminator)
        self._weight = recipe.loss.adversarial
        self._watch = DiscriminatorWatch()
        self.memory = self._watch.memory

    def step(self, lr: Tensor, hr: Tensor, *, measure: bool = False) -> dict[str, Tensor]:
        """Makes one update of the discriminator, then one of the generator; see :class:`Stage`."""
        sr = self._call("generator", lr)
        seen = self._discriminator_step(sr.detach(), hr)
        losses = self._content(sr, hr)
        with frozen(self.networks["discriminator"]) as discriminator, self._fabric.autocast():
            losses["adversarial"] = self._weight * adversarial_loss(discriminator(sr))
        if self._recipe.loss.adversarial_share == 1.0:
            return self._generator_step(losses, measure) | seen
        return self._bounded_step(sr, losses, measure) | seen

    def prepare(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Makes one update of the discriminator alone; see :class:`Stage`."""
        with torch.no_grad(), unchanged_statistics(self.networks["generator"]):
            sr = self._call("generator", lr)
        return self._discriminator_step(sr, hr)

    def _bounded_step(self, sr: Tensor, losses: dict[str, Tensor], measure: bool) -> dict[str, Tensor]:
        """Makes the generator's step with the adversary's gradient cut to its largest share.

        The gradients of content and adversary are taken apart where both begin, at the pictures, and go through the
        generator together: that costs no pass more.
        """
        content = torch.stack([loss for name, loss in losses.items() if name != "adversarial"]).sum()
        wanted = torch.autograd.grad(content, sr, retain_graph=measure)[0]
        adversary = torch.autograd.grad(losses["adversarial"], sr, retain_graph=measure)[0]
        factor = bounding_factor(wanted, adversary, self._recipe.loss.adversarial_share, self._fabric)
        losses["adversarial"] = factor * losses["adversarial"]
        gradient = wanted + factor.to(sr.dtype) * adversary
        objective = (sr * gradient).sum()  # whose gradient on the pictures is this one
        return self._generator_step(losses, measure, objective) | {"adversarial_factor": factor}

    def _discriminator_step(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        optimiser = self.optimisers["discriminator"]
        real, fake = self._call("discriminator", hr), self._call("discriminator", sr)
        loss = discriminator_loss(real, fake)
        optimiser.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        optimiser.step()
        return {
            "loss_discriminator": loss.detach(),
            "real_accuracy": (real.detach() > 0).float().mean(),
            "fake_accuracy": (fake.detach() < 0).float().mean(),
        }

    def remarks(self, update: int, means: Mapping[str, float]) -> list[str]:
        """Returns a remark when the discriminator has won or collapsed for long, and when that is over."""
        if update <= self._recipe.head_start:
            return []  # it is meant to win
        return self._watch.look(update, means["real_accuracy"], means["fake_accuracy"])


def bounding_factor(content: Tensor, adversary: Tensor, share: float, fabric: Fabric) -> Tensor:
    """Returns the factor, at most 1, that keeps the adversary's share of two gradients' norms within a bound.

    Like the adaptive weight of Esser et al. 2021 (VQGAN, eq. 7), but a bound alone: a quiet adversary stays quiet.

    Args:
        content: (N, 3, H, W), this process's part of the batch's gradient from the content terms.
        adversary: the same from the adversary.
        share: largest share of the adversary's norm in the sum of both norms, below 1.
        fabric: the norms are those of the whole batch, on all processes.
    """
    squares = torch.stack([gradient.float().square().sum() for gradient in (content, adversary)])
    if fabric.world_size > 1:
        squares = torch.as_tensor(fabric.all_reduce(squares, reduce_op="sum"))
    norms = squares.sqrt()
    return (share / (1.0 - share) * norms[0] / norms[1].clamp_min(1e-30)).clamp_max(1.0)


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Gives the network with its parameters taking no gradient inside.

    It is the bare network: through DDP, every process would wait for gradients that never come.
    """
    network.requires_grad_(False)
    try:
        yield network
    finally:
        network.requires_grad_(True)


@contextmanager
def unchanged_statistics(network: nn.Module) -> Iterator[None]:
    """Puts batch norm's running statistics back at the end; inside, it uses the batch's own all the same."""
    buffers = list(network.buffers())
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)


def freeze_statistics(network: nn.Module) -> None:
    """Lets batch norm use its running statistics, and leave them as they are, while the rest trains."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def optimiser_settings(recipe: Recipe, network: str) -> OptimiserSettings:
    """Returns the settings of a network's optimiser: the recipe's, but the discriminator may have a kind of its own."""
    if network == "discriminator" and recipe.discriminator.optimiser is not None:
        return recipe.optimiser.model_copy(update={"kind": recipe.discriminator.optimiser})
    return recipe.optimiser


def can_capture(recipe: Recipe, fabric: Fabric) -> bool:
    """Returns whether updates can be replayed as one CUDA graph: SRResNet with Adam, in one process on a CUDA device.

    The networks on luma take the bicubic's tables from the host in every forward, which a capture refuses; SOAP does
    one thing in most updates and another in some.
    """
    kinds = {optimiser_settings(recipe, network).kind for network in ("generator", "discriminator")}
    fits = recipe.network.architecture == "srresnet" and kinds == {"adam"}
    return recipe.run.graph and fits and fabric.device.type == "cuda" and fabric.world_size == 1


def make_optimiser(
    network: nn.Module, settings: OptimiserSettings, *, capturable: bool = False
) -> torch.optim.Optimizer:
    """Returns the optimiser of a network's parameters: SOAP, or Adam with its update fused into one kernel.

    Args:
        network: on its device.
        settings: kind, learning rate and betas.
        capturable: keep Adam's learning rate and step count on the device, so that a CUDA graph can hold the update.
    """
    betas = (settings.beta1, settings.beta2)
    if settings.kind == "soap":
        return Soap(network.parameters(), settings.learning_rate, betas)
    rate: float | Tensor = settings.learning_rate
    if capturable:
        rate = torch.tensor(rate, device=next(network.parameters()).device)
    return torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=True, capturable=capturable)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate; in place where it lies on the device, so that a captured update sees it."""
    for group in optimiser.param_groups:
        if group.get("capturable") and isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> bool:
    """Takes up an optimiser's state, and keeps what belongs to this machine or this recipe, not to the state.

    Returns:
        False where the state is of another kind of optimiser; nothing is taken up then.
    """
    # not by all settings: those of Adam differ between versions of torch
    theirs, ours = ("eps" in found["param_groups"][0] for found in (state, optimiser.state_dict()))
    if theirs != ours:  # of the two kinds, only Adam has it among its settings
        return False
    before = [{key: value for key, value in group.items() if key != "params"} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, own in zip(optimiser.param_groups, before, strict=True):
        group.update(own)
    return True

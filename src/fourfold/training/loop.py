"""The training loop: it moves batches, learning rates, averages, logs and checkpoints, and knows nothing of GANs."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from fourfold.errors import CheckpointError, TrainingError, WeightsError
from fourfold.signals import unless_ignored
from fourfold.training.batches import Batches
from fourfold.training.calibration import calibrated_for
from fourfold.training.checkpoint import (
    checkpoint_path,
    checkpoints,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from fourfold.training.ema import MovingAverage
from fourfold.training.finite import find_broken
from fourfold.training.going_on import changes
from fourfold.training.processes import any_process
from fourfold.training.recipe import Recipe
from fourfold.training.run_folder import RunFolder
from fourfold.training.schedule import learning_rate_factor
from fourfold.training.stage import Stage, load_optimiser, optimiser_settings, set_learning_rate
from fourfold.training.tensorboard_log import TensorBoardLog
from fourfold.training.validation import Validation, Validator
from fourfold.training.window import Window
from fourfold.weights import WeightsConfig, read_config, write_weights

#: called with the kind of event ("progress", "validation", "checkpoint", "remark", "stopped"...) and its values
Listener = Callable[[str, dict[str, Any]], None]

#: Several processes must stop at the same update; where each question makes an accelerator wait, they ask each other
#: this often.
AGREE_EVERY = 10

#: Signals within so many seconds are one request to stop.
SAME_REQUEST_S = 2.0


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        update: updates made.
        best_psnr: highest validation PSNR so far, in dB.
        elapsed_s: time spent training.
        best_update: update of the best checkpoint, 0 before there is one.
        best_score: its score; higher is better, whatever ``run.best_by`` says.
        best_by: what it was chosen by; scores by something else do not compare.
        best_on: which validation pictures it was chosen on; neither do scores on others. "" in earlier checkpoints.
        stopped_by: the signal that stopped the run before its end, such as "SIGTERM"; not part of checkpoints.
    """

    update: int = 0
    best_psnr: float = -math.inf
    elapsed_s: float = 0.0
    best_update: int = 0
    best_score: float = -math.inf
    best_by: str = ""
    best_on: str = ""
    stopped_by: str | None = None


def best_measure(recipe: Recipe, content_scale: float | None) -> str:
    """Returns what a run's best is chosen by, in words; scores compare where it is the same."""
    if recipe.run.best_by == "content":
        loss = recipe.loss
        zoom = f", enlarged {loss.mean_vgg_zoom:g} times" if loss.mean_vgg_zoom != 1 else ""
        return f"content loss (VGG{loss.vgg_layer}{zoom}, {loss.vgg_normalisation} weights, scale {content_scale})"
    return recipe.run.best_by


class Trainer:
    """Runs a stage from its first or its last checkpoint to its last update.

    Args:
        recipe: the resolved recipe.
        stage: what one update computes.
        batches: mini-batches.
        validator: scores the average, or None.
        folder: where everything is written, by the first process alone.
        fabric: device, precision, processes.
        listener: told what happens; the command line draws its progress from it.
        about: fields of the weights header that the caller knows (data, licences, device, content scale).
    """

    def __init__(
        self,
        recipe: Recipe,
        stage: Stage,
        batches: Batches,
        validator: Validator | None,
        folder: RunFolder,
        fabric: Fabric,
        listener: Listener,
        about: dict[str, Any],
    ) -> None:
        self.recipe, self.stage, self.batches, self.validator = recipe, stage, batches, validator
        self.folder, self.fabric, self.listener, self.about = folder, fabric, listener, about
        pictures = validator.identity if validator else ""
        self.progress = Progress(best_by=best_measure(recipe, about.get("content_scale")), best_on=pictures)
        self.average = MovingAverage(self.generator, recipe.run.ema)
        self._curves: TensorBoardLog | None = None
        self._stop: str | None = None

    @property
    def generator(self) -> nn.Module:
        """The network that trains."""
        return self.stage.networks["generator"]

    def run(self) -> Progress:
        """Trains to the end, or to a signal; returns where it stopped.

        Raises:
            TrainingError: for a value that is not finite, a term without gradient, a disk that is full; the last
                checkpoint is kept.
        """
        run = self.recipe.run
        started, first = time.monotonic() - self.progress.elapsed_s, self.progress.update
        head = self.recipe.head_start
        window, window_start, window_update = Window(self.fabric), time.monotonic(), first
        with self._stop_signals(), self._drawing_curves(first):
            while self.progress.update < run.updates and not self._stop_wanted():
                # one update
                update = self.progress.update + 1
                self._set_learning_rates()
                # where the run, or the generator's part of it, begins: a term that is dead shows in its gradient
                opening = update in (first + 1, head + 1)
                window.note(update, self._step(update, opening))
                self.progress.update = update
                self.progress.elapsed_s = time.monotonic() - started
                if update > head:
                    self.average.update(self.generator, update - head)

                # what is seen of it: nothing is written unless everything up to here was finite
                logging = update % run.log_every == 0 or update == run.updates or opening
                validating = bool(self.validator and run.validate_every and update > head) and (
                    update % run.validate_every == 0 or update == run.updates
                )
                saving = update % run.checkpoint_every == 0 or update == run.updates
                if logging or validating or saving:
                    means, now = window.close(), time.monotonic()
                    self._log(means, (update - window_update) / max(now - window_start, 1e-9))
                    if not opening or update % run.log_every == 0:  # one update's values are chance
                        self._remark(means)
                    window_start, window_update = now, update
                if validating or saving:
                    self._check_finite()
                if validating:
                    saving = self._validate() or saving
                if saving:
                    self._checkpoint()
                if validating or saving:
                    window_start = time.monotonic()
            if self.progress.update < run.updates:
                window.close()
                self._check_finite()
                self._checkpoint()
                self.progress.stopped_by = self._stop or "another process"
                self._tell("stopped", {"signal": self.progress.stopped_by, "update": self.progress.update})
        return self.progress

    def resume(self, before: Recipe) -> bool:
        """Takes up the newest checkpoint of the run folder; False where there is none.

        Args:
            before: the recipe that the run had until now.

        Raises:
            CheckpointError: if it belongs to other networks.
        """
        state = load_checkpoint(self.folder.checkpoints)
        if state is None:
            return False
        try:
            if state["networks"].keys() != self.stage.networks.keys():
                raise ValueError(f"{', '.join(state['networks'])}, not {', '.join(self.stage.networks)}")
            for name, network in self.stage.networks.items():
                network.load_state_dict(state["networks"][name])
            optimisers = self.stage.optimisers
            anew = [k for k in optimisers if not load_optimiser(optimisers[k], state["optimisers"][k])]
            self.average.network.load_state_dict(state["average"])
        except (KeyError, RuntimeError, ValueError) as error:
            why = str(error)
            # torch lists every tensor that does not fit, on a line each; what was changed says it in a few words
            if isinstance(error, RuntimeError) and (changed := changes(before, self.recipe)):
                why = f"give the settings that it had; those that differ are {changed}"
            raise CheckpointError(f"the checkpoint in {self.folder.checkpoints} is of other networks: {why}") from error
        self.batches.load_state_dict(state["sampler"])
        self.stage.memory.update(state.get("memory", {}))  # the first checkpoints had none
        restore_random_state(state["random"])
        # the first checkpoints had no score, and every best was chosen by PSNR
        first = {"best_score": state["progress"]["best_psnr"]} if before.run.best_by == "psnr" else {}
        self.progress = Progress(**{**first, **state["progress"]})
        self._tell("resumed", {"update": self.progress.update})
        newest = checkpoints(self.folder.checkpoints)[-1]
        if newest != checkpoint_path(self.folder.checkpoints, self.progress.update):
            text = f"{newest.name} cannot be read; the run goes on from the newest checkpoint that can"
            self._tell("remark", {"update": self.progress.update, "text": text})
        for name in anew:
            # earlier checkpoints do not say, and the record beside them may be newer than they are
            theirs = state.get("optimiser_kinds", {}).get(name) or optimiser_settings(before, name).kind
            ours = optimiser_settings(self.recipe, name).kind
            text = f"until now the optimiser was {theirs}, now it is {ours}; its running means begin anew"
            self._tell("remark", {"update": self.progress.update, "text": f"{name}: {text}"})
        self._compare_best(self.progress.best_by or best_measure(before, state.get("content_scale")))
        return True

    def write_missing(self) -> None:
        """Writes the newest weights where a run ended between its checkpoint and them: it may have no update left."""
        try:
            written = read_config(self.folder.latest).updates
        except WeightsError:
            written = None
        if written != self._generator_updates:
            self._write_weights(self.folder.latest, {})

    @property
    def _generator_updates(self) -> int:
        return max(self.progress.update - self.recipe.head_start, 0)

    def _compare_best(self, chosen_by: str) -> None:
        """Forgets a best that the scores to come do not compare with, and says so."""
        progress, now = self.progress, best_measure(self.recipe, self.about.get("content_scale"))
        pictures = self.validator.identity if self.validator else progress.best_on
        others = progress.best_on not in ("", pictures) and self.recipe.run.best_by != "newest"
        progress.best_by, progress.best_on = now, pictures
        # earlier versions kept scores by something else, and infinite ones: neither is a PSNR that was reached
        reached = math.isfinite(progress.best_score) and (now != "psnr" or progress.best_score <= progress.best_psnr)
        if math.isinf(progress.best_psnr) or others:
            progress.best_psnr = -math.inf
        if progress.best_score == -math.inf or (chosen_by == now and reached and not others):
            return
        if chosen_by != now:
            why = f"chosen by {chosen_by}, and now it is {now}"
        else:
            why = "chosen on other validation pictures" if others else f"{progress.best_score:g}, no score"
        progress.best_score, progress.best_update = -math.inf, 0
        self._tell("remark", {"update": progress.update, "text": f"the best so far was {why}; it is chosen anew"})

    def _step(self, update: int, opening: bool) -> dict[str, Tensor]:
        every = self.recipe.run.gradients_every
        measure = bool(every) and (update % every == 0 or opening)
        try:
            if update <= self.recipe.head_start:
                return self.stage.prepare(*self.batches.next())
            return self.stage.step(*self.batches.next(), measure=measure)
        except TrainingError as error:
            raise TrainingError(f"update {update}: {error}") from error

    def _set_learning_rates(self) -> None:
        recipe = self.recipe
        rate = recipe.optimiser.learning_rate
        rate *= learning_rate_factor(recipe.schedule, self.progress.update, recipe.run.updates, recipe.head_start)
        for name, optimiser in self.stage.optimisers.items():
            ahead = recipe.discriminator.learning_rate_factor if name == "discriminator" else 1.0
            set_learning_rate(optimiser, rate * ahead)

    def _log(self, means: dict[str, float], speed: float) -> None:
        rates = {
            "learning_rate" if name == "generator" else f"learning_rate_{name}": float(optimiser.param_groups[0]["lr"])
            for name, optimiser in self.stage.optimisers.items()
        }
        event = {
            "update": self.progress.update,
            "updates": self.recipe.run.updates,
            **means,
            **rates,
            "updates_per_s": speed,
            "elapsed_s": self.progress.elapsed_s,
        }
        self._tell("progress", event)

    def _remark(self, means: dict[str, float]) -> None:
        for text in self.stage.remarks(self.progress.update, means):
            self._tell("remark", {"update": self.progress.update, "text": text})

    def _check_finite(self) -> None:
        """Refuses to write what a step has broken: its loss was computed before it.

        Raises:
            TrainingError: naming the tensor.
        """
        networks = {**self.stage.networks, "average": self.average.network}
        broken = find_broken(networks, self.stage.optimisers)
        if any_process(self.fabric, broken is not None):
            raise TrainingError(
                f"{broken or 'something on another process'} is not finite after update {self.progress.update}; the "
                "last good state is kept. A smaller optimiser.learning_rate, or run.precision=fp32, usually helps"
            )

    def _validate(self) -> bool:
        """Scores the average; returns whether it is the best so far."""
        assert self.validator is not None
        found = self.validator.score(self.average.network, self.fabric)
        scores, progress = found.scores, self.progress
        score = {"psnr": scores["psnr_y"], "content": -scores.get("content_loss", 0.0), "newest": progress.update}
        value = float(score[self.recipe.run.best_by])
        best = value > progress.best_score
        progress.best_psnr = max(progress.best_psnr, scores["psnr_y"])
        if best:
            progress.best_score, progress.best_update = value, progress.update
            self._write_weights(self.folder.best, {"valid": scores})
        self._show(found)
        self._tell("validation", {"update": progress.update, **scores, "best": best})
        return best

    def _show(self, found: Validation) -> None:
        for name, sheet in found.sheets if self.fabric.is_global_zero else []:
            self.folder.picture(name, self.progress.update, sheet)
            with self._curves_alone_may_fail():
                if self._curves is not None:
                    self._curves.picture(self.progress.update, name, sheet)

    def _checkpoint(self) -> None:
        if not self.fabric.is_global_zero:
            return
        networks, optimisers = self.stage.networks, self.stage.optimisers
        state = {
            "networks": {name: network.state_dict() for name, network in networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
            "optimiser_kinds": {name: optimiser_settings(self.recipe, name).kind for name in optimisers},
            "average": self.average.network.state_dict(),
            "sampler": self.batches.state_dict(),
            "memory": dict(self.stage.memory),
            "progress": {key: value for key, value in vars(self.progress).items() if key != "stopped_by"},
            "random": random_state(),
            "content_scale": self.about.get("content_scale"),
            "calibrated_for": calibrated_for(self.recipe),
        }
        keep, best = self.recipe.run.keep, self.progress.best_update
        path = save_checkpoint(self.folder.checkpoints, self.progress.update, state, keep=keep, best=best)
        self._write_weights(self.folder.latest, {})
        self._tell("checkpoint", {"update": self.progress.update, "path": str(path)})

    def _write_weights(self, path: Path, scores: dict[str, Any]) -> None:
        if not self.fabric.is_global_zero:
            return
        recipe = self.recipe
        config = WeightsConfig(
            architecture=recipe.network.architecture,
            parameters=recipe.network.parameters,
            name=recipe.name,
            recipe=recipe.portable(),
            updates=self._generator_updates,
            scores=scores,
            **self.about,
        )
        state = self.average.network.state_dict()
        tensors = {k: v.float().cpu().numpy() for k, v in state.items() if not k.endswith("num_batches_tracked")}
        try:
            write_weights(path, config, tensors)
        except WeightsError as error:
            raise TrainingError(f"{error}; the checkpoints are kept. Make room, then go on with --resume") from error

    def _tell(self, kind: str, values: dict[str, Any]) -> None:
        if not self.fabric.is_global_zero:
            return
        self.folder.log(kind, **values)
        if self._curves is not None and kind in ("progress", "validation"):
            group = "training" if kind == "progress" else "validation"
            points = {k: v for k, v in values.items() if k not in ("update", "updates", "elapsed_s")}
            with self._curves_alone_may_fail():
                self._curves.scalars(values["update"], points, group)
        self.listener(kind, values)

    @contextmanager
    def _curves_alone_may_fail(self) -> Iterator[None]:
        """Lets a disk that does not take curves or pictures cost these, not the run."""
        try:
            yield
        except OSError as error:
            if self._curves is not None:
                self._curves.close()
            self._curves = None
            why = f"tensorboard/ cannot be written ({error.strerror or error})"
            text = f"{why}: no more curves; log.jsonl has the same numbers"
            self._tell("remark", {"update": self.progress.update, "text": text})

    @contextmanager
    def _drawing_curves(self, first: int) -> Iterator[None]:
        if self.fabric.is_global_zero:
            with self._curves_alone_may_fail():
                self._curves = TensorBoardLog(self.folder.path / "tensorboard", first)
        try:
            yield
        finally:
            if self._curves is not None:
                self._curves.close()

    def _stop_wanted(self) -> bool:
        if self.fabric.world_size == 1:
            return self._stop is not None
        # on processors an update may take seconds, and whoever stops the processes waits for half a minute at most
        every = 1 if self.fabric.device.type == "cpu" else AGREE_EVERY
        return self.progress.update % every == 0 and any_process(self.fabric, self._stop is not None)

    @contextmanager
    def _stop_signals(self) -> Iterator[None]:
        """Turns Ctrl-C, SIGTERM and a closed terminal into "finish this update, checkpoint, leave".

        A second one leaves at once; but not one that comes with the first: whoever stops a whole job, as SLURM does,
        sends one to every process, and torchrun hands its own on to those that it started.
        """
        asked = 0.0

        def request(number: int, _frame: FrameType | None) -> None:
            nonlocal asked
            if self._stop is None:
                self._stop, asked = signal.Signals(number).name, time.monotonic()
            elif time.monotonic() - asked > SAME_REQUEST_S:
                raise KeyboardInterrupt

        numbers = (signal.SIGINT, signal.SIGTERM, *unless_ignored("SIGHUP"))
        try:
            before = {number: signal.signal(number, request) for number in numbers}
        except ValueError:  # not in the main thread: the caller has its own way to stop
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

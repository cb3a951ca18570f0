"""Training a network whose every recursion is supervised: DRCN (Kim et al. 2016, section 3.2)."""

import torch
from torch import Tensor

from fourfold.training.losses import pixel_loss
from fourfold.training.stage import ContentStage


class RecursiveStage(ContentStage):
    """Training on the final picture and on the prediction of every recursion (Kim et al. 2016, eqs. 7 to 9).

    The loss is ``(1 - alpha)`` times that of the final picture plus ``alpha`` times the mean over the recursions;
    alpha is the recipe's ``loss.recursions``. Supervising each keeps the gradient of the shared convolution from
    vanishing or exploding over sixteen applications.

    Differs from the paper: alpha stays what it is instead of falling while training.
    """

    def step(self, lr: Tensor, hr: Tensor, *, measure: bool = False) -> dict[str, Tensor]:
        """Makes one update of the generator; see :class:`fourfold.training.stage.Stage`."""
        settings = self._recipe.loss
        alpha = settings.recursions
        with self._fabric.autocast():
            *each, final = self._distributed["generator"](lr, True)
        losses = {name: (1.0 - alpha) * value for name, value in self._content(final, hr).items()}
        supervised = torch.stack([pixel_loss(sr, hr, settings) for sr in each]).mean()
        losses["recursions"] = alpha * settings.pixel * supervised
        return self._generator_step(losses, measure)

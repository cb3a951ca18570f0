"""What is said while training: broken numbers, and a discriminator that has won or collapsed."""

import math

import pytest
import torch

from fourfold.errors import TrainingError
from fourfold.training.discriminator_watch import DiscriminatorWatch
from fourfold.training.processes import make_fabric
from fourfold.training.window import Window


def test_a_window_gives_means_and_begins_anew() -> None:
    window = Window(make_fabric("cpu", "fp32"))
    for update, value in enumerate([1.0, 2.0, 6.0], 1):
        window.note(update, {"loss": torch.tensor(value), **({"share": torch.tensor(0.5)} if update == 2 else {})})
    assert window.close() == {"loss": 3.0, "share": 0.5}
    assert window.close() == {}
    window.note(4, {"loss": torch.tensor(5.0)})
    assert window.close() == {"loss": 5.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_broken_term_and_its_update_are_named(bad: float) -> None:
    window = Window(make_fabric("cpu", "fp32"))
    for update in range(1, 9):
        broken = {"loss": update >= 6, "loss_vgg": update == 5}
        window.note(update, {k: torch.tensor(bad if b else 1.0) for k, b in broken.items()})
    with pytest.raises(TrainingError, match="loss_vgg is not finite at update 5"):
        window.close()


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (1.0, 1.0, "nearly always"),
        (0.01, 1.0, "by one name"),
        (1.0, 0.0, "by one name"),
        (0.51, 0.49, "no better than a coin"),
    ],
)
def test_a_lasting_state_is_named_once_and_its_end_too(real: float, fake: float, words: str) -> None:
    watch = DiscriminatorWatch(patience_updates=100)
    said = [watch.look(update, real, fake) for update in range(0, 400, 50)]
    assert [len(s) for s in said] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert words in said[2][0]
    assert len(watch.look(400, 0.8, 0.8)) == 1
    assert watch.look(450, 0.8, 0.8) == []


def test_a_short_state_is_not_named() -> None:
    watch = DiscriminatorWatch(patience_updates=100)
    said = [watch.look(update, *((1.0, 1.0) if update % 100 else (0.9, 0.8))) for update in range(0, 1000, 50)]
    assert not any(said)

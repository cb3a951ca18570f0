"""Names a discriminator that has won or collapsed for long: two ways in which adversarial training dies quietly."""

from typing import Any

#: Above this accuracy on both real and fake, the discriminator knows everything.
WON_ACCURACY = 0.99
#: Below this accuracy on either, it calls everything by one name.
COLLAPSED_ACCURACY = 0.05
#: Both accuracies this near to a coin's: it tells nothing apart.
BLIND_MARGIN = 0.02
#: For so many updates in a row before it is named.
PATIENCE_UPDATES = 1000

_WORDS = {
    "won": (
        "the discriminator tells real from fake nearly always (accuracy {real:.3f} and {fake:.3f}) and has for {long} "
        "updates: its gradient is running dry. A smaller discriminator.width, or a larger loss.adversarial, helps"
    ),
    "collapsed": (
        "the discriminator calls nearly everything by one name (accuracy {real:.3f} on real, {fake:.3f} on fake) and "
        "has for {long} updates. A smaller optimiser.learning_rate usually helps"
    ),
    "blind": (
        "the discriminator tells real from fake no better than a coin (accuracy {real:.3f} and {fake:.3f}) and has "
        "for {long} updates: the generator learns nothing from it"
    ),
}


class DiscriminatorWatch:
    """Looks at the discriminator's accuracies over time and speaks when one state lasts.

    Attributes:
        memory: the state, the update since which it lasts, and whether it was named; plain values, which a checkpoint
            keeps, so that a state lasts over a stop.
    """

    def __init__(self, patience_updates: int = PATIENCE_UPDATES) -> None:
        self._patience = patience_updates
        self.memory: dict[str, Any] = {"state": "fine", "since": 0, "told": False}

    def look(self, update: int, real: float, fake: float) -> list[str]:
        """Returns remarks on the accuracies (0..1) that were logged at an update; mostly none."""
        state, memory = self._judge(real, fake), self.memory
        if state != memory["state"]:
            over = [f"the discriminator is no longer {memory['state']} (update {update})"] if memory["told"] else []
            memory.update(state=state, since=update, told=False)
            return over
        long = update - memory["since"]
        if state == "fine" or memory["told"] or long < self._patience:
            return []
        memory["told"] = True
        return [_WORDS[state].format(real=real, fake=fake, long=long)]

    @staticmethod
    def _judge(real: float, fake: float) -> str:
        if min(real, fake) > WON_ACCURACY:
            return "won"
        if min(real, fake) < COLLAPSED_ACCURACY:
            return "collapsed"
        if max(abs(real - 0.5), abs(fake - 0.5)) < BLIND_MARGIN:
            return "blind"
        return "fine"

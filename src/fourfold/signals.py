"""Which of the signals that ask a program to stop are meant for this one."""

import signal


def unless_ignored(*names: str) -> list[signal.Signals]:
    """Returns the signals of these names that exist here and are not ignored.

    What is ignored stays ignored: nohup has SIGHUP, a closed terminal, ignored.
    """
    there = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    return [number for number in there if signal.getsignal(number) != signal.SIG_IGN]

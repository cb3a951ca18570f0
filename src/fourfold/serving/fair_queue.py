"""The waiting line: clients take turns, so that one with many pictures does not hold up one with a single one."""

from collections import OrderedDict, deque
from collections.abc import Iterator


class FairQueue:
    """Job ids that wait, served round robin over clients and first come, first served within a client."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[str]] = OrderedDict()

    def __len__(self) -> int:
        """Returns how many jobs wait."""
        return sum(len(line) for line in self._lines.values())

    def put(self, client: str, job_id: str, *, front: bool = False) -> None:
        """Adds a job; ``front`` puts it before everything else (a job that lost its worker)."""
        line = self._lines.setdefault(client, deque())
        if front:
            line.appendleft(job_id)
            self._lines.move_to_end(client, last=False)
        else:
            line.append(job_id)

    def take(self) -> str | None:
        """Removes and returns the job whose turn it is, or None if nobody waits."""
        if not self._lines:
            return None
        client, line = self._lines.popitem(last=False)
        job_id = line.popleft()
        if line:
            self._lines[client] = line  # to the back: the next client has its turn
        return job_id

    def remove(self, client: str, job_id: str) -> bool:
        """Takes a job out of the line; returns whether it was there."""
        line = self._lines.get(client)
        if line is None or job_id not in line:
            return False
        line.remove(job_id)
        if not line:
            del self._lines[client]
        return True

    def order(self) -> Iterator[str]:
        """Yields the waiting jobs in the order in which they will be served."""
        lines = [list(line) for line in self._lines.values()]
        for turn in range(max((len(line) for line in lines), default=0)):
            for line in lines:
                if turn < len(line):
                    yield line[turn]

    def position(self, job_id: str) -> int | None:
        """Returns how many jobs are served before this one, or None if it does not wait."""
        return next((place for place, waiting in enumerate(self.order()) if waiting == job_id), None)

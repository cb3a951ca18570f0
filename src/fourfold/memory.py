"""How much memory there is, where a container may allow less than the machine has."""

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def system_memory() -> tuple[int | None, int | None]:
    """Returns all and the available memory, in bytes, as far as the system says; a container's limit counts."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        total, available = values.get("MemTotal"), values.get("MemAvailable")
    except (OSError, ValueError, IndexError):
        return None, None
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text()) - _reclaimable()
    except (OSError, ValueError):
        return total, available
    left = max(0, limit - used)
    return limit if total is None else min(total, limit), left if available is None else min(available, left)


def _reclaimable() -> int:
    """Returns the bytes that a container's files take in memory and that it gives back when asked."""
    lines = (_CGROUP / "memory.stat").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)

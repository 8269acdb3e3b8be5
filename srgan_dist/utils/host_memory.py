"""Free memory of the machine, without loading torch."""

from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def free_host_bytes() -> int:
    """Return how many bytes can be allocated now on the machine and within the limit of its container."""
    available = psutil.virtual_memory().available
    try:
        limit, used = ((_CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return min(available, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or a container without a limit ("max")
        return available
